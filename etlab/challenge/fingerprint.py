"""Fingerprints of code: equal as long as nothing changes that could change a result.

The text itself is hashed, less comments, docstrings and layout. A syntax tree printed by Python would do the same, but
every version of Python prints it differently, so results measured under one would be stale under the next.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

MODEL = ("arrays", "geometry", "kernels", "simd", "projector", "rotation", "blur", "forward", "metrics")
LAYOUT = {tokenize.NL, tokenize.COMMENT, tokenize.ENCODING, tokenize.ENDMARKER}
# Python 3.12 and later take f-strings apart (3.14 t-strings, too).
OPENING = {getattr(tokenize, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(tokenize, name)}
CLOSING = {getattr(tokenize, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(tokenize, name)}


def digest(*parts: str | bytes) -> str:
    """Return the SHA-256, shortened, of several texts or files."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()[:16]


def source(packages: Iterable[str]) -> str:
    """Return the code of the forward model, the simulation and ``packages``, folders of `etlab`.

    Left out are the lists of names that a package offers and `etlab.solvers.methods`, where a row concerns itself only.
    """
    root = files("etlab")
    modules = [root / f"{name}.py" for name in MODEL]
    for package in packages:
        inside = (one for one in (root / package).iterdir() if one.name.endswith(".py"))
        modules += sorted(inside, key=lambda module: module.name)
    modules.append(root / "challenge" / "simulate.py")
    left_out = {"__init__.py", "methods.py"}
    return "".join(code_of(one) for one in modules if one.name not in left_out)


def code_of(module: Path) -> str:
    """Return the code of a file without comments, docstrings and layout."""
    return essence(module.read_text(encoding="utf-8"))


@functools.cache
def essence(text: str) -> str:
    """Return Python code as its logical lines, tokens one space apart, without comments and docstrings."""
    return "\n".join(" ".join(line) for line in _logical_lines(text))


def _logical_lines(text: str) -> Iterator[list[str]]:
    """Yield the tokens of each logical line, but for a text that stands alone (a docstring)."""
    marks, line, texts = [], [], 0
    for token_type, string in _tokens(text):
        if token_type == tokenize.INDENT:
            marks.append("{")
        elif token_type == tokenize.DEDENT:
            marks.append("}")
        elif token_type == tokenize.NEWLINE:
            if len(line) != texts:
                yield marks + line
                marks = []
            line, texts = [], 0
        else:
            line.append(string)
            texts += token_type == tokenize.STRING
    yield marks


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yield type and text of the tokens that matter; a formatted string is one, as it stands in the text."""
    lines = text.splitlines(keepends=True)
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in OPENING:
            start = start if depth else token.start
            depth += 1
        elif token.type in CLOSING:
            depth -= 1
            if not depth:
                yield token.type, _between(lines, start, token.end)
        elif not depth and token.type not in LAYOUT:
            yield token.type, token.string


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one place to another, each a line (from 1) and a column."""
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return lines[first - 1][left:] + "".join(lines[first : last - 1]) + lines[last - 1][:right]
