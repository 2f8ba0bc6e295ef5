"""Measured boards: what is measured, with which code, and how it is shown."""
