"""What the figures of a static page share: when to make one, and how to write data into HTML safely."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from importlib.resources import files


def is_static() -> bool:
    """Return whether figures are made for a page without a kernel (``ETLAB_STATIC=1``)."""
    return os.environ.get("ETLAB_STATIC", "") not in ("", "0")


@cache
def source(name: str) -> str:
    """Text of a JavaScript or CSS file of this package."""
    return (files("etlab.course.widgets") / name).read_text(encoding="utf-8")


def embedded_json(value: object) -> str:
    """Return JSON that may stand inside a ``<script>`` element; bytes become ``{"base64": …}``.

    ``<`` is written as an escape, since the text ``</script`` or ``<!--`` would end the element early.
    """

    def encode(item: object) -> dict[str, str]:
        if isinstance(item, bytes | memoryview):
            return {"base64": base64.b64encode(item).decode("ascii")}
        raise TypeError(
            f"embedded_json: got a {type(item).__name__}, expected text, numbers, lists, dicts or bytes"
        )

    return json.dumps(value, default=encode, ensure_ascii=False).replace("<", "\\u003c")


def data_uri(content: bytes, media_type: str) -> str:
    """Return a ``data:`` address that holds ``content`` itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
