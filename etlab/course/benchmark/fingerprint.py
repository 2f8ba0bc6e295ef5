"""Fingerprints of code: equal as long as nothing changes that could change a result.

The text itself is hashed without comments, docstrings, annotations and layout. A syntax tree printed by Python would
do the same, but every version of Python prints it differently, so results measured under one would be stale under the
next. The place of a module within `etlab` changes no result: of an import from the package only the names count that
are used, and modules are hashed in the order of their code.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

MODEL = ("arrays", "geometry", "kernels", "simd", "projector", "rotation", "blur", "forward", "metrics")
Place = tuple[int, int]  # line and column
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
    root = Path(str(files("etlab")))
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
    """Return Python code as its logical lines, tokens one space apart, without comments, docstrings and annotations.

    Names that are imported from somewhere, and used, follow at the end, sorted.
    """
    lines: list[list[str]] = []
    imported: dict[str, str] = {}
    for line in _logical_lines(text):
        if line[:1] == ["from"]:
            imported |= _imported(line)
        else:
            lines.append(line)
    used = {token for line in lines for token in line}
    named = sorted(said for name, said in imported.items() if name in used)
    return "\n".join([" ".join(line) for line in lines] + named)


def _logical_lines(text: str) -> Iterator[list[str]]:
    """Yield the tokens of each logical line except for standalone strings (docstrings)."""
    marks: list[str] = []
    line: list[str] = []
    texts = 0
    for token_type, string in _tokens(text):
        if token_type == tokenize.INDENT:
            marks.append("{")
        elif token_type == tokenize.DEDENT:
            marks.append("}")
        elif token_type == tokenize.NEWLINE:
            if line[:1] == ["from"]:
                yield line
            elif len(line) != texts:
                yield marks + line
                marks = []
            line, texts = [], 0
        else:
            line.append(string)
            texts += token_type == tokenize.STRING
    yield marks


def _imported(line: list[str]) -> dict[str, str]:
    """Return what ``from package import a, b as c`` imports, by the names it gets: {"a": "package a", …}."""
    at = line.index("import")
    package = "" if line[1] == "etlab" else "".join(line[1:at])
    names = " ".join(token for token in line[at + 1 :] if token not in "()").split(",")
    return {name.split()[-1]: f"{package} {name.strip()}" for name in names if name.strip()}


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yield type and text of the tokens that matter; a formatted string is one, as it stands in the text."""
    lines, notes = text.splitlines(keepends=True), _annotations(text)
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if any(first <= token.start < last for first, last in notes.get(token.start[0], ())):
            continue
        if token.type in OPENING:
            start = start if depth else token.start
            depth += 1
        elif token.type in CLOSING:
            depth -= 1
            if not depth:
                yield token.type, _between(lines, start, token.end)
        elif not depth and token.type not in LAYOUT and token.string != "->":
            yield token.type, token.string


def _annotations(text: str) -> dict[int, list[tuple[Place, Place]]]:
    """Return the stretches of annotations, their colons among them, by the lines that they touch."""
    lines = text.splitlines(keepends=True)

    def place(line: int | None, column: int | None) -> Place:  # the syntax tree counts bytes
        assert line is not None and column is not None  # of a text that was parsed
        return line, len(lines[line - 1].encode()[:column].decode())

    found: dict[int, list[tuple[Place, Place]]] = {}
    for node in ast.walk(ast.parse(text)):
        note = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if not isinstance(note, ast.expr):
            continue
        if isinstance(node, ast.arg):
            begin = place(node.lineno, node.col_offset + len(node.arg.encode()))
        elif isinstance(node, ast.AnnAssign):
            begin = place(node.target.end_lineno, node.target.end_col_offset)
        else:
            begin = place(note.lineno, note.col_offset)
        end = place(note.end_lineno, note.end_col_offset)
        for line in range(begin[0], end[0] + 1):
            found.setdefault(line, []).append((begin, end))
    return found


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one place to another, each a line (from 1) and a column."""
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return lines[first - 1][left:] + "".join(lines[first : last - 1]) + lines[last - 1][:right]
