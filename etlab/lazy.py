"""Packages whose names come on first use, so that importing one of their modules does not import all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def getter(package: str, homes: Mapping[str, Collection[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package; ``homes`` lists the names that each of its modules offers."""

    def get(name: str) -> Any:
        for module, names in homes.items():
            if name in (module, *names):
                found = importlib.import_module(f"{package}.{module}")
                return found if name == module else getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
