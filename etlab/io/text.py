"""Text from any editor (byte-order marks, UTF-16, line endings), and printable names of files."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

MARKS = (  # the marks of UTF-32 begin as those of UTF-16 do, so they come first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | os.PathLike) -> str:
    """Read a text with ``\\n`` between its lines; bytes that cannot be decoded become U+FFFD.

    A byte-order mark decides the encoding. Without one it is UTF-16 if every other byte is zero, as PowerShell and
    LabVIEW may write it, else UTF-8.
    """
    content = Path(path).read_bytes()
    text = content.decode(_encoding(content), errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def printable(text: str) -> str:
    """Return a text that every file and font can hold: unprintable characters become U+FFFD."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _encoding(content: bytes) -> str:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    start = content[:256]
    if len(start) > 1 and len(start) % 2 == 0:
        if not any(start[1::2]) and all(start[::2]):
            return "utf-16-le"
        if not any(start[::2]) and all(start[1::2]):
            return "utf-16-be"
    return "utf-8"
