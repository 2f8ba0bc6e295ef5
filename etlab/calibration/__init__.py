"""Finding the mismatch from the tilt series alone, with gold beads or without, and what can be known at all."""

from etlab.calibration.combined import Calibration, CalibrationWarning, Std, Step, calibrate

__all__ = ["Calibration", "CalibrationWarning", "Std", "Step", "calibrate"]
