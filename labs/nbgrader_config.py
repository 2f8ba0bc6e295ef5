"""Settings of nbgrader for every lab, read by tools/release_labs.py and tools/grade_labs.py."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "electron-tomography"
# seconds a cell; nbgrader's own 30 s are too few for a loop over voxels on a slow machine
c.Execute.timeout = 120
