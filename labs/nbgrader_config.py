"""Settings of nbgrader for every lab, read by tools/release_labs.py and tools/grade_labs.py."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "electron-tomography"
# seconds a cell, for those who use nbgrader itself; its own 30 are too few for a loop over voxels on a slow machine
c.Execute.timeout = 120
