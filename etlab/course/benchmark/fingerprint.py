"""Fingerprints of code: equal as long as nothing changes that could change a result.

The text itself is hashed without comments, docstrings and layout. A syntax tree printed by Python would do the same,
but every version of Python prints it differently, so results measured under one would be stale under the next. The
place of a module within `etlab` changes no result: of an import from the package only the imported names count, and
modules are hashed in the order of their code.
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
    modules = [root / f"{name}.py" for name in MODEL] + [root / "course" / "scenes" / "simulation.py"]
    for package in packages:
        modules += [one for one in (root / package).iterdir() if one.name.endswith(".py")]
    left_out = {"__init__.py", "methods.py"}
    return "".join(sorted(code_of(one) for one in modules if one.name not in left_out))


def code_of(module: Path) -> str:
    """Return the code of a file without comments, docstrings and layout."""
    return essence(module.read_text(encoding="utf-8"))


@functools.cache
def essence(text: str) -> str:
    """Return Python code as its logical lines, tokens one space apart, without comments and docstrings.

    Names imported from `etlab` follow at the end, sorted.
    """
    return "\n".join(" ".join(line) for line in _logical_lines(text))


def _logical_lines(text: str) -> Iterator[list[str]]:
    """Yield the tokens of each logical line except for standalone strings (docstrings) and imports from `etlab`."""
    marks, line, texts, imported = [], [], 0, set()
    for token_type, string in _tokens(text):
        if token_type == tokenize.INDENT:
            marks.append("{")
        elif token_type == tokenize.DEDENT:
            marks.append("}")
        elif token_type == tokenize.NEWLINE:
            if line[:2] == ["from", "etlab"]:
                imported.update(_imported(line))
            elif len(line) != texts:
                yield marks + line
                marks = []
            line, texts = [], 0
        else:
            line.append(string)
            texts += token_type == tokenize.STRING
    yield marks
    if imported:
        yield sorted(imported)


def _imported(line: list[str]) -> list[str]:
    """Return what ``from … import a, b as c`` imports: "a" and "b as c"."""
    names = " ".join(token for token in line[line.index("import") + 1 :] if token not in "()")
    return [name.strip() for name in names.split(",") if name.strip()]


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
