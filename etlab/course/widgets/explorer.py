"""``explore(draw, tilt_deg=[…], cut=[…], alt=…)``: sliders under any function that draws a figure.

With a kernel the sliders are ipywidgets and the figure is drawn on demand. In a static page every frame is
drawn beforehand and the sliders choose among them, so the product of the sliders' lengths is the price.
"""

from __future__ import annotations

import html
import io
import itertools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image

from etlab.course.widgets.page import data_uri, embedded_json, is_static, source

MAX_FRAMES = 40  # at 15 to 25 KB each, what keeps a page under 1 MB
FRAME_DPI = 120
COLOURS = 64  # palette of a frame
CSS_PIXELS_PER_INCH = 116  # a figure of 6 inches fills the text column, its 10 pt text matches the page's

Frame = Callable[[tuple[int, ...]], tuple[bytes, int, str]]  # indices: picture (PNG), width, alternative text
_UNITS = {"_deg": "°", "_nm": " nm", "_px": " px"}


@dataclass(frozen=True)
class Slider:
    """One slider: the argument it sets, the values it steps through, the one it starts at."""

    name: str
    values: tuple
    start: int

    @property
    def label(self) -> str:
        """Return the name without its unit, for people."""
        return self._split()[0].replace("_", " ")

    @property
    def texts(self) -> list[str]:
        """Return each value with its unit, for people."""
        unit = self._split()[1]
        return [_text(value) + unit for value in self.values]

    def _split(self) -> tuple[str, str]:
        for suffix, unit in _UNITS.items():
            if self.name.endswith(suffix) and self.name != suffix:
                return self.name.removesuffix(suffix), unit
        return self.name, ""


def explore(
    draw: Callable[..., Figure],
    *,
    alt: str | Callable[..., str],
    caption: str | None = None,
    start: dict[str, object] | None = None,
    **sliders: Sequence,
) -> ipywidgets.Widget | HTML:
    """Put one slider per keyword under the figure that ``draw(**values)`` returns.

    Parameters
    ----------
    draw
        Called with one value of each slider; returns a matplotlib figure, new or the same one updated.
    alt
        What is seen: a text, or ``alt(**values) -> text``.
    caption
        Text under the figure.
    start
        Values to start at; the first of each slider where not given.
    sliders
        Argument of ``draw`` = values to choose from. The endings ``_deg``, ``_nm`` and ``_px`` become units.

    Returns
    -------
    ipywidgets.VBox or IPython.display.HTML
        Sliders that a kernel answers or, in a static page, pictures drawn beforehand.

    Raises
    ------
    ValueError
        No slider, an empty one, a start value that is not on it; in a static page, more than 40 frames.
    TypeError
        ``draw`` did not return a figure.

    Examples
    --------
    >>> def draw(tilt_deg):
    ...     figure, ax = plt.subplots()
    ...     _ = ax.set_title(f"{tilt_deg}°")
    ...     return figure
    >>> shown = explore(draw, tilt_deg=[0, 30], alt="an empty plot")
    >>> type(shown).__name__ in ("VBox", "HTML")
    True
    """
    rows = _sliders(sliders, start or {})

    def frame(indices: tuple[int, ...]) -> tuple[bytes, int, str]:
        values = {row.name: row.values[i] for row, i in zip(rows, indices, strict=True)}
        return *_png(draw(**values)), alt(**values) if callable(alt) else alt

    return _static(frame, rows, caption) if is_static() else _live(frame, rows, caption)


def _sliders(sliders: Mapping[str, Sequence], start: Mapping[str, object]) -> list[Slider]:
    """Check the sliders and where they start."""
    if not sliders:
        raise ValueError(
            "explore: got no slider, expected at least one keyword with the values to choose from"
        )
    if unknown := set(start) - set(sliders):
        raise ValueError(f"start: got {sorted(unknown)}, expected names among {sorted(sliders)}")
    rows = []
    for name, values in sliders.items():
        values = tuple(values)
        if not values:
            raise ValueError(f"{name}: got no values, expected at least one to choose from")
        if name in start and start[name] not in values:
            raise ValueError(f"start: got {name}={start[name]!r}, expected one of {list(values)}")
        rows.append(Slider(name, values, values.index(start[name]) if name in start else 0))
    return rows


def _static(frame: Frame, rows: list[Slider], caption: str | None) -> HTML:
    n_frames = math.prod(len(row.values) for row in rows)
    if n_frames > MAX_FRAMES:
        sizes = " × ".join(f"{row.name} {len(row.values)}" for row in rows)
        raise ValueError(
            f"explore: got {n_frames} frames ({sizes}), expected at most {MAX_FRAMES}: "
            "each is drawn beforehand and more would make the page over 1 MB; give fewer values"
        )
    pictures: dict[bytes, int] = {}  # frames that look the same are stored once
    numbers, alts = [], []
    for indices in itertools.product(*(range(len(row.values)) for row in rows)):
        png, width, alt = frame(indices)
        numbers.append(pictures.setdefault(_with_palette(png), len(pictures)))
        alts.append(alt)
    # row-major number of the frame that the sliders start at
    first = 0
    for row in rows:
        first = first * len(row.values) + row.start
    addresses = [data_uri(png, "image/png") for png in pictures]
    picture = addresses[numbers[first]]
    others = [None if one == picture else one for one in addresses]  # it is in the <img> already
    state = {"pictures": others, "frames": numbers, "alts": alts, "texts": [row.texts for row in rows]}
    controls = "".join(
        f"<label><span>{html.escape(row.label)}</span>"
        f'<input type="range" min="0" max="{len(row.values) - 1}" step="1" value="{row.start}" '
        f'aria-label="{html.escape(row.label)}" aria-valuetext="{html.escape(row.texts[row.start])}">'
        f"<output>{html.escape(row.texts[row.start])}</output></label>"
        for row in rows
    )
    return HTML(
        '<figure data-etlab-figure="explore">'
        f"<style>{source('widgets.css')}</style>"
        f"{_img(picture, width, alts[first])}"
        f'<div class="etlab-controls" hidden>{controls}</div>'
        f"{_figcaption(caption)}"
        f'<script type="application/json">{embedded_json(state)}</script>'
        f"<script>{source('explore.js')}</script></figure>"
    )


def _live(frame: Frame, rows: list[Slider], caption: str | None) -> ipywidgets.VBox:
    drawn: dict[tuple[int, ...], str] = {}
    picture = ipywidgets.HTML()
    sliders = [
        ipywidgets.SelectionSlider(
            options=[(text, i) for i, text in enumerate(row.texts)], index=row.start, description=row.label
        )
        for row in rows
    ]

    def show(_change: object = None) -> None:
        indices = tuple(slider.index for slider in sliders)
        if indices not in drawn:
            png, width, alt = frame(indices)
            drawn[indices] = _img(data_uri(png, "image/png"), width, alt)
        picture.value = (
            f'<figure data-etlab-figure="explore"><style>{source("widgets.css")}</style>'
            f"{drawn[indices]}{_figcaption(caption)}</figure>"
        )

    for slider in sliders:
        slider.observe(show, names="index")
    show()
    return ipywidgets.VBox([*sliders, picture])


def _png(figure: Figure) -> tuple[bytes, int]:
    """Return the figure as PNG, and how wide it should stand on the page in CSS pixels."""
    if not isinstance(figure, Figure):
        raise TypeError(f"draw: returned a {type(figure).__name__}, expected a matplotlib Figure")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FRAME_DPI, transparent=True)
    plt.close(figure)  # or the notebook would show it once more under the sliders
    return buffer.getvalue(), round(figure.get_figwidth() * CSS_PIXELS_PER_INCH)


def _with_palette(png: bytes) -> bytes:
    """Return the same picture in few colours, about a quarter of the size."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        palette = picture.convert("RGBA").quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
        palette.save(small, "PNG", optimize=True)
    return small.getvalue()


def _img(address: str, width: int, alt: str) -> str:
    return f'<img src="{address}" width="{width}" alt="{html.escape(alt)}" class="dark-light">'


def _figcaption(caption: str | None) -> str:
    return f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""


def _text(value: object) -> str:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return f"{value:g}".replace("-", "−")
    return str(value)
