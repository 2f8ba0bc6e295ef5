"""Chapter 1's showpiece: a tilt series to scrub through."""

from __future__ import annotations

import io
import math

import numpy as np
import traitlets
from PIL import Image

from etlab.course.widgets.static import StaticWidget

MAX_SIZE = 256  # pixels along a frame's edge
QUALITY = 80  # of the WebP sprite
SHOWN_PERCENTILES = (0.5, 99.8)  # grey values of the whole series that become black and white


class TiltSeriesFilm(StaticWidget):
    """Scrub through a tilt series by dragging the picture, tilting the drawn holder, or with a slider.

    Parameters
    ----------
    images
        Tilt series, shape (n_tilts, n, n), tilt axis last. Shown with rows upwards, one grey scale for all.
    tilts_deg
        Tilt of each image in degrees.
    alt
        What is seen.
    caption
        Text under the figure; a standing explanation if not given.
    pixel_nm
        Edge of a pixel in nm, to say how wide the field is.

    Raises
    ------
    ValueError
        The images are not three-dimensional and square, not finite, or not as many as the tilts.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((3, 16, 16))
    >>> film = TiltSeriesFilm(images, np.array([-60, 0, 60]), alt="noise", pixel_nm=2.0)
    >>> film.tilts_deg, film.field_nm
    ([-60.0, 0.0, 60.0], 32)
    """

    module = "film.js"
    frames = traitlets.Bytes().tag(sync=True)
    frame_size = traitlets.Int().tag(sync=True)
    frames_per_line = traitlets.Int().tag(sync=True)
    tilts_deg = traitlets.List(traitlets.Float()).tag(sync=True)
    field_nm = traitlets.Int(None, allow_none=True).tag(sync=True)

    CAPTION = (
        "Drag across the image, or tilt the holder. The film runs from the lowest to the highest tilt; what "
        "lies on the side of the beam's source moves up with positive tilt."
    )

    def __init__(
        self,
        images: np.ndarray,
        tilts_deg: np.ndarray,
        *,
        alt: str,
        caption: str = CAPTION,
        pixel_nm: float | None = None,
    ) -> None:
        """Pack the frames; see the class for the arguments."""
        images, tilts_deg = np.asarray(images), np.asarray(tilts_deg, dtype=float)
        if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
            raise ValueError(f"images: got shape {images.shape}, expected (n_tilts, n, n)")
        if not np.isfinite(images).all():
            raise ValueError(
                f"images: got {np.sum(~np.isfinite(images))} NaN or infinite values, expected finite ones"
            )
        if tilts_deg.shape != images.shape[:1]:
            raise ValueError(
                f"tilts_deg: got shape {tilts_deg.shape}, expected {images.shape[:1]}, one per image"
            )
        order = np.argsort(tilts_deg, kind="stable")
        size = min(MAX_SIZE, images.shape[1])
        per_line = math.ceil(math.sqrt(len(images)))
        super().__init__(
            frames=_sprite(images[order], size, per_line),
            frame_size=size,
            frames_per_line=per_line,
            tilts_deg=tilts_deg[order].tolist(),
            field_nm=None if pixel_nm is None else round(pixel_nm * images.shape[2]),
            alt=alt,
            caption=caption,
        )


def _sprite(images: np.ndarray, size: int, per_line: int) -> bytes:
    """Return all frames side by side in one WebP picture, in lines of ``per_line``, rows upwards."""
    black, white = np.percentile(images, SHOWN_PERCENTILES)
    grey = np.clip(255 * (images - black) / ((white - black) or 1), 0, 255).astype(np.uint8)
    sprite = Image.new("L", (per_line * size, math.ceil(len(images) / per_line) * size))
    for i, image in enumerate(grey):
        frame = Image.fromarray(image[::-1]).resize((size, size), Image.Resampling.LANCZOS)
        sprite.paste(frame, (i % per_line * size, i // per_line * size))
    buffer = io.BytesIO()
    sprite.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()
