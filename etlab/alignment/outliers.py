"""Values that cannot belong to the specimen: X-ray hits, and pixels, columns or rows of the camera that do not work.

* A **spot** of up to a few pixels lies far outside the range of the values of the whole series, with nothing in between
  around it. Detail in an image is never that sharp, because a bead, an edge or a column of atoms fades over pixels. A
  bead of two or three pixels may look like it all the same, but it is there in most images: an X-ray hit is not, and a
  defect of the camera stays where it is.
* A **line** is a column or a row that differs from those beside it all along.

Source of the criterion of sharpness: van Dokkum, Publ. Astron. Soc. Pac. 113 (2001) 1420, in a simpler form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

INNER = (1, 99)  # per cent: what lies between counts as the range of the values
BEYOND = 5.0  # ranges on either side that values may lie outside: noise of a few counts reaches two or three
FOLLOWS = 0.4  # share of a single pixel's excess that its neighbours have if they belong to the same detail
SHARP = 0.15  # the same of the weakest pixel of a spot, for its strongest neighbour: beads have 0.2 and more
FEW = 2  # pixels, of which no detail can consist
SPOT = 5  # pixels that a spot is across, at most
CROWD = 0.01  # of an image: what is more is the specimen
RARE = 0.25  # of the images that hold a spot like it, if it is a hit
STUCK = 0.8  # of the images that hold it in the same place, if it is the camera's
LINES = (0.5, 10.0)  # ranges of the values, and typical differences between lines, by which a line differs
BESIDE = 4  # lines on either side from which one is told
RADII = 2, 3, 4  # pixels on either side whose median replaces an outlier: the first where some are sound
MARGIN = RADII[-1]
SAMPLE = 10**6  # values from which a range is estimated
ALONG = 256  # pixels of a line that stand for all
NAMED = 3  # outliers that are named one by one
EIGHT = np.ones((3, 3), bool)  # neighbours, diagonal ones too
NARROWEST = 3  # pixels across: in a lone column of pixels sharp detail of the specimen looks like an outlier


def limits_of(values: np.ndarray) -> tuple[float, float]:
    """Return the (lowest, highest) value that is no outlier, from the range of ``values`` of any shape."""
    values = np.ravel(values)[:: max(1, values.size // SAMPLE)]
    low, middle, high = np.percentile(values, (INNER[0], 50, INNER[1]))
    if low == high:  # hardly anything but vacuum, or single counts
        others = values[values != middle]
        low, high = np.percentile(np.append(others, middle), INNER)
    reach = BEYOND * max(high - low, 1e-6 * max(abs(low), abs(high)))
    return float(low - reach), float(high + reach)


@dataclass(frozen=True, eq=False)
class Spot:
    """Neighbouring pixels (n, 2) of an image far outside its range: their values, and whether the edge is sharp."""

    image: int
    pixels: np.ndarray
    values: np.ndarray
    sharp: bool

    @property
    def box(self) -> tuple:
        """Where in the image it is."""
        return (*self.pixels.min(axis=0), *self.pixels.max(axis=0))


@dataclass(eq=False)
class Search:
    """The search for outliers, image by image: ``add`` each, then ask for what was ``found``."""

    spots: list[Spot] = field(default_factory=list)
    lines: list[Spot] = field(default_factory=list)  # all of an image as one
    samples: list[np.ndarray] = field(default_factory=list)

    def add(self, image: np.ndarray, number: int, every: int = 1) -> None:
        """Take in an image; one of its values in ``every`` stands for the range of the series."""
        image = np.asarray(image, np.float32)
        if min(image.shape) < NARROWEST:
            return
        bad = lines_in(image)
        sound = image[~bad] if bad.any() else image.ravel()
        self.samples.append(sound[number % every :: every].copy())
        if bad.any():
            self.lines.append(Spot(number, np.argwhere(bad), image[bad], sharp=True))
        self.spots += spots_in(image, limits_of(sound), number, bad)

    def found(self, limits: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the (image, row, column) of all outliers, (n, 3), and their values.

        ``limits`` is the range of sound values, by default that of all images.
        """
        if not (self.spots or self.lines):
            return np.empty((0, 3), int), np.empty(0)
        low, high = limits or limits_of(np.concatenate(self.samples))
        far = [one for one in self.spots if ((one.values < low) | (one.values > high)).all()]
        at = Counter(one.box for one in far)
        fixed = {box for box, count in at.items() if count > max(1, STUCK * len(self.samples))}
        moving = [one for one in far if one.box not in fixed and len(one.pixels) > FEW]
        found = [
            one
            for one in far
            if one.sharp and (len(one.pixels) <= FEW or one.box in fixed or self._is_hit(one, moving))
        ]
        found = sorted(self.lines + found, key=lambda one: one.image)
        places = [np.insert(one.pixels, 0, one.image, axis=1) for one in found]
        values = [one.values for one in found]
        return np.concatenate([np.empty((0, 3), int), *places]), np.concatenate([np.empty(0), *values])

    def _is_hit(self, spot: Spot, moving: list[Spot]) -> bool:
        """Tell whether few images hold a spot like this one."""
        like = {one.image for one in moving if np.abs(one.values).max() > np.abs(spot.values).max() / 3}
        return len(like) <= RARE * len(self.samples)


def lines_in(image: np.ndarray) -> np.ndarray:
    """Return where whole columns or rows of an image differ from those beside them, a mask of the image."""
    bad = np.zeros(image.shape, bool)
    for axis in (0, 1):
        some = image.take(np.arange(0, image.shape[axis], max(1, image.shape[axis] // ALONG)), axis)
        profile = np.median(some, axis=axis)
        excess = np.abs(profile - ndimage.median_filter(profile, 2 * BESIDE + 1, mode="mirror"))
        suspect = excess > LINES[1] * np.median(excess)
        if not suspect.any() or suspect.all():
            continue
        low, high = np.percentile(some.compress(~suspect, axis=1 - axis), INNER)
        groups, _ = ndimage.label(suspect & (excess > LINES[0] * (high - low)))
        for (group,) in ndimage.find_objects(groups):
            ring = [n for n in (group.start - 1, group.stop) if 0 <= n < len(excess)]
            thin = group.stop - group.start <= 2
            if thin and ring and excess[ring].max() < SHARP * excess[group].min():
                bad[:, group] |= axis == 0
                bad[group] |= axis == 1
    return bad


def spots_in(image: np.ndarray, limits: tuple[float, float], number: int, without: np.ndarray) -> list[Spot]:
    """Return the spots of an image outside ``limits``, those ``without`` left out."""
    far = ((image < limits[0]) | (image > limits[1])) & ~without
    if not 0 < np.count_nonzero(far) <= max(1, CROWD * image.size):
        return []
    labels, _ = ndimage.label(far, EIGHT)
    found = []
    for n, box in enumerate(ndimage.find_objects(labels), 1):
        if max(side.stop - side.start for side in box) <= SPOT:
            corner = [max(side.start - RADII[0], 0) for side in box]
            part = tuple(slice(first, side.stop + RADII[0]) for first, side in zip(corner, box, strict=True))
            own = labels[part] == n
            values = image[part].astype(np.float64)
            found.append(
                Spot(
                    number,
                    np.argwhere(own) + corner,
                    values[own],
                    _is_sharp(values, own, ~own & ~without[part]),
                )
            )
    return found


def _is_sharp(values: np.ndarray, own: np.ndarray, others: np.ndarray) -> bool:
    """Tell whether a spot stands out at once from the others, what surrounds it."""
    ring = ndimage.binary_dilation(own, EIGHT) & others
    if not ring.any():
        return False
    excess = values - np.median(values[others])
    if np.count_nonzero(own) == 1:
        return bool(abs(excess[ring].mean()) < FOLLOWS * abs(excess[own]).min())
    return bool(abs(excess[ring]).max() < SHARP * abs(excess[own]).min())


def find_outliers(images: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return the places (image, row, column) of outliers in images (n, n_rows, nx), (n_found, 3)."""
    search = Search()
    for number, image in enumerate(images):
        search.add(image, number, max(1, images.size // SAMPLE))
    return search.found(limits)[0]


def replaced(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return images whose values at ``places`` are the medians of the sound pixels around; a copy if any change."""
    if not len(places):
        return images
    sound, bad = images.copy(), np.zeros(images.shape, bool)
    bad[tuple(places.T)] = True
    for radius in RADII:
        places = np.concatenate([_replace(sound, some, bad, radius) for some in _parts(places)])
        if not len(places):
            break
    return sound


def _replace(images, places, bad, radius):
    """Replace what has sound pixels within ``radius``, and return the places that have none."""
    near = np.arange(-radius, radius + 1)
    image, row, column = (one[:, None, None] for one in places.T)
    rows, columns = np.broadcast_arrays(row + near[:, None], column + near)
    inside = (rows >= 0) & (rows < images.shape[1]) & (columns >= 0) & (columns < images.shape[2])
    at = image, rows.clip(0, images.shape[1] - 1), columns.clip(0, images.shape[2] - 1)
    around = np.ma.masked_array(images[at], ~inside | bad[at]).reshape(len(places), -1)
    medians = np.ma.median(around, axis=1)
    known = ~np.ma.getmaskarray(medians)
    images[tuple(places[known].T)] = medians[known]
    return places[~known]


def _parts(places, at_once=10**5):
    return [places[start : start + at_once] for start in range(0, max(1, len(places)), at_once)]


def despiked(images: np.ndarray, limits: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, n_rows, nx) with their outliers replaced by the local median, and the outliers' places.

    ``limits`` is the range of sound values (default: from the images themselves). The images are copied if they change.
    """
    places = find_outliers(images, limits)
    return replaced(images, places), places


def outliers_in_words(places: np.ndarray, values: Sequence | np.ndarray) -> str:
    """Name the columns and rows that stand out, how many other pixels do, and the first of them."""
    places, values = np.asarray(places), np.asarray(values)
    lines, rest = _whole_lines(places)
    said = [f"{name} of {_many(count, 'image')}" for name, count in lines.most_common(NAMED)]
    if len(lines) > NAMED:
        said.append(f"{len(lines) - NAMED} more columns and rows")
    if rest.any():
        pixels = places[rest].tolist()
        kind = "pixel" if _touch(pixels) else "single pixel"
        said.append("a " + kind if len(pixels) == 1 else _many(len(pixels), kind))
    verb = "is" if len(said) == 1 and len(lines) + np.count_nonzero(rest) == 1 else "are"
    named = ", ".join(
        f"image {t}, row {row}, column {column} ({value:.6g})"
        for (t, row, column), value in zip(places[rest][:NAMED], values[rest][:NAMED], strict=True)
    )
    more = f" and {np.count_nonzero(rest) - NAMED} more" if np.count_nonzero(rest) > NAMED else ""
    return f"{' and '.join(said)} {verb} far brighter or darker than the rest" + (
        named and f": {named}{more}"
    )


def _whole_lines(places: np.ndarray) -> tuple[Counter, np.ndarray]:
    """Return in how many images a column or row is bad all along, and which places are on none of them."""
    lines: Counter[str] = Counter()
    rest = np.ones(len(places), bool)
    for axis, name in ((2, "column"), (1, "row")):
        each, which, counts = np.unique(places[:, [0, axis]], axis=0, return_inverse=True, return_counts=True)
        first, last = (np.full(len(each), start) for start in (np.iinfo(int).max, -1))
        np.minimum.at(first, which.ravel(), places[:, 3 - axis])
        np.maximum.at(last, which.ravel(), places[:, 3 - axis])
        whole = (counts > SPOT) & (last - first + 1 == counts)
        rest &= ~whole[which.ravel()]
        lines.update(f"{name} {line}" for line in each[whole, 1])
    return lines, rest


def _touch(pixels: list) -> bool:
    """Tell whether two of these (image, row, column) are neighbours."""
    known = set(map(tuple, pixels))
    later = [(0, 1), (1, -1), (1, 0), (1, 1)]
    return any((t, row + down, column + right) in known for t, row, column in pixels for down, right in later)


def _many(number: int, one: str) -> str:
    return f"{number} {one}" + ("s" if number != 1 else "")
