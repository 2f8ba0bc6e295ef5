"""Files: your own tilt series and their angles in, volumes in and out.

Axis order. A series in a file is (section, row, column), one image per section. With the tilt axis along the
rows of an image (``axis="x"``, horizontal) that is already our ``images[tilt, row, x]``. IMOD and SerialEM
keep the tilt axis vertical: ``axis="y"`` exchanges rows and columns on reading. A volume reconstructed from
such a series has the file's x as its y and the reverse; ``np.swapaxes(volume, 1, 2)`` puts it back into the
file's frame.

Row 0 is the bottom of an image in MRC files, as in our figures. From projections alone a volume and its
mirror image cannot be told apart: the sense in which a microscope counts its tilt angle has to be known from
elsewhere.

One module reads (and writes) one format: `etlab.io.mrc`, `etlab.io.hdf5`, `etlab.io.tiff`,
`etlab.io.ome_zarr`. Files from others are not trusted: the size that a header announces is compared with the
size of the file before any memory is reserved for it.
"""

from etlab.io.angles import read_tilts
from etlab.io.series import Series, SeriesFile, open_series, open_stack, read_series, read_volume
from etlab.io.volumes import check_output, volume_writer, write_mrc

__all__ = [
    "Series",
    "SeriesFile",
    "check_output",
    "open_series",
    "open_stack",
    "read_series",
    "read_tilts",
    "read_volume",
    "volume_writer",
    "write_mrc",
]
