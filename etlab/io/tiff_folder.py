"""A folder of TIFF files with one image each, as cameras write them: a series in the order of their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etlab.io.stack import ALL, Stack
from etlab.io.tiff import open_tiff

ENDINGS = (".tif", ".tiff")
NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class FolderStack(Stack):
    """Images of one size and type, each alone in one of ``files``."""

    files: tuple[Path, ...]

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        for file in self.files:
            yield from open_tiff(file).blocks(rows, columns)


def tiffs_in(path: Path) -> list[Path]:
    """Return the TIFF files in a folder, by their names; hidden ones are left out."""
    return sorted(
        one for one in path.iterdir() if one.suffix.lower() in ENDINGS and not one.name.startswith(".")
    )


def open_tiff_folder(path: Path) -> FolderStack:
    """Open all TIFF files of a folder as one series, in the order of the numbers in their names.

    Raises ValueError if one is damaged or holds several images, if they differ in size or type, or if their names do
    not tell the order.
    """
    found = tiffs_in(path)
    try:
        files = in_order(found)
        stacks = [open_tiff(file) for file in files]
        for file, stack in zip(files, stacks, strict=True):
            if stack.shape != (1, *stacks[0].shape[1:]) or stack.dtype != stacks[0].dtype:
                raise ValueError(
                    f"{file.name} has shape {stack.shape} and type {stack.dtype}, expected a single image like the "
                    f"first, {stacks[0].shape[1:]} and {stacks[0].dtype}"
                )
    except ValueError as error:
        raise ValueError(
            f"{path}: a folder of {len(found)} TIFF files, not read as a series: {error}"
        ) from error
    first = stacks[0]
    note = f"a folder of {len(files)} TIFF files, in the order {files[0].name} … {files[-1].name}"
    shape = (len(files), *first.shape[1:])
    return FolderStack(
        path, shape, first.dtype, first.pixel_nm, None, tuple(files), notes=(note, *first.notes)
    )


def in_order(files: list[Path]) -> list[Path]:
    """Return files in the order of the numbers in their names, which must not differ otherwise."""
    names = [NUMBER.split(file.stem) for file in files]
    if len({tuple(name[::2]) for name in names}) > 1:
        raise ValueError(
            f"the names {files[0].name} and {files[-1].name} differ by more than numbers, which tell the order; "
            "rename the files, or join them in one"
        )
    values = [_values([name[n] for name in names]) for n in range(1, len(names[0]), 2)]
    return (
        [file for _, file in sorted(zip(zip(*values, strict=True), files, strict=True))] if values else files
    )


def _values(texts: list[str]) -> list:
    """Return one number from each name; a hyphen before all is no minus, and 1.9 and 1.10 are two numbers each."""
    if all(text.startswith("-") for text in texts):
        texts = [text[1:] for text in texts]
    n_decimals = {len(text.partition(".")[2]) for text in texts} - {0}
    if len(n_decimals) > 1 and not any(text[0] in "-+" for text in texts):
        return [tuple(map(int, text.split("."))) for text in texts]
    return [float(text) for text in texts]
