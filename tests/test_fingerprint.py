"""Fingerprints of code: blind to comments, docstrings and layout, on every Python, and to nothing else."""

import pytest

from etlab.course.benchmark.fingerprint import code_of, digest, essence

CODE = '''"""What it is."""
import math

def area(radius, *, unit="nm"):
    """Return the area."""
    if radius < 0:  # a radius has no sign
        raise ValueError(f"radius: got {radius!r:>{8}} {{{unit}}}, expected ≥ 0")
    return math.pi * radius**2
'''


def test_every_python_gives_the_same():
    """The value is written down, and the package's tests run on every supported version."""
    assert digest(essence(CODE)) == "c21fc495402a4b5a"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # a radius has no sign", ""),
        ('    """Return the area."""\n', ""),
        ('"""What it is."""', '"""What\n\nit was."""'),
        ("math.pi * radius**2", "(math.pi  *  radius ** 2)".strip("()")),
        ('(radius, *, unit="nm")', '(\n    radius, *,  # in nm\n    unit="nm"\n)'),
        ("    return", "\n\n    # the end\n    return"),
        ('radius, *, unit="nm")', 'radius: float, *, unit: dict[\n    str, int] = "nm") -> list[float]'),
        ("import math\n", "import math\nfrom typing import Any\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new):
    changed = CODE.replace(old, new)
    assert changed != CODE and essence(changed) == essence(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius**2", "radius**3"),
        ("    return", "        return"),
        ('unit="nm"', 'unit="Å"'),
        ("{radius!r:>{8}}", "{radius!r:>{9}}"),
        (" {{{unit}}}", "  {{{unit}}}"),
        ("import math\n", "import math\n\nNAME = 'a'\n"),
    ],
)
def test_everything_else_counts(old, new):
    changed = CODE.replace(old, new)
    assert changed != CODE and essence(changed) != essence(CODE)


def test_where_a_module_lies_does_not_count_but_what_is_imported_does():
    used = "x = Mismatch(c)\n"
    here = "from etlab.forward import (\n    Mismatch,\n    Optics,\n)\nfrom etlab.a import b as c\n\n" + used
    there = "from etlab.course.b import b as c\nfrom etlab.mismatch import Mismatch\n" + used
    assert essence(here) == essence(there)
    for old, new in (
        ("b as c", "d as c"),
        ("from etlab.a", "from numpy.a"),
        ("Mismatch(c)", "c"),
    ):
        assert essence(here.replace(old, new)) != essence(here)


def test_a_class_that_is_only_described_is_still_a_class():
    assert essence('class A:\n    """Nothing."""\n') != essence("")


def test_a_file_is_read_as_utf8(tmp_path):
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    assert code_of(tmp_path / "code.py") == essence(CODE)
