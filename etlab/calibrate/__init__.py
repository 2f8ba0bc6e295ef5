"""Finding the mismatch from the tilt series alone."""
