"""Sliders and showpieces that work with a kernel and, unchanged, in the static pages of the book.

`explore` puts sliders under any function that draws a figure. `StaticWidget` is the base of the showpieces,
whose pictures the browser itself computes. The environment variable ``ETLAB_STATIC``, which the book's build
sets to 1, asks for the form that needs no kernel.
"""

try:
    import anywidget  # noqa: F401
    import ipywidgets  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(f'etlab.widgets needs {missing.name}: pip install "etlab[book]"') from missing

from etlab.widgets.explore import explore
from etlab.widgets.film import TiltSeriesFilm
from etlab.widgets.gridding import GriddingExplorer
from etlab.widgets.radon import RadonExplorer
from etlab.widgets.reconstruction import FilterExplorer, SirtExplorer, WedgeExplorer
from etlab.widgets.scheme import SchemeExplorer
from etlab.widgets.static import StaticWidget
from etlab.widgets.variation import VariationExplorer

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
