"""What only the course needs: scenes, benchmark, challenge, sandbox, grading of labs, and the sliders of the book."""
