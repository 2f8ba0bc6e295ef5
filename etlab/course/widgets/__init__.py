"""Sliders and showpieces that work with a kernel and, unchanged, in the static pages of the book.

`explore` puts sliders under any function that draws a figure. `StaticWidget` is the base of the showpieces,
whose pictures the browser itself computes. The environment variable ``ETLAB_STATIC``, which the book's build
sets to 1, asks for the form that needs no kernel.
"""

try:
    import anywidget  # noqa: F401
    import ipywidgets  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'etlab.course.widgets needs {missing.name}: pip install "etlab[book]"'
    ) from missing

from etlab.course.widgets.explorer import explore
from etlab.course.widgets.film import TiltSeriesFilm
from etlab.course.widgets.gridding import GriddingExplorer
from etlab.course.widgets.radon import RadonExplorer
from etlab.course.widgets.reconstruction import FilterExplorer, SirtExplorer, WedgeExplorer
from etlab.course.widgets.scheme import SchemeExplorer
from etlab.course.widgets.static import StaticWidget
from etlab.course.widgets.variation import VariationExplorer

__all__ = [
    "FilterExplorer",
    "GriddingExplorer",
    "RadonExplorer",
    "SchemeExplorer",
    "SirtExplorer",
    "StaticWidget",
    "TiltSeriesFilm",
    "VariationExplorer",
    "WedgeExplorer",
    "explore",
]
