"""Old names of modules, which keep working until the next version."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGES = {  # old name: where its modules are now; the first that has a name gives it
    "etlab.align": ("etlab.alignment",),
    "etlab.calibrate": ("etlab.calibration", "etlab.course"),
    "etlab.challenge": (
        "etlab.course.challenge",
        "etlab.course.scenes",
        "etlab.course.benchmark",
        "etlab.course",
    ),
    "etlab.challenge.sandbox": ("etlab.course.sandbox",),
    "etlab.grading": ("etlab.course.grading",),
    "etlab.slabs": ("etlab.pipeline",),
    "etlab.widgets": ("etlab.course.widgets",),
}
MODULES = {
    "etlab.align.align": "etlab.alignment.automatic",
    "etlab.archives": "etlab.pipeline.archives",
    "etlab.calibrate.calibrate": "etlab.calibration.combined",
    "etlab.challenge.simulate": "etlab.course.scenes.simulation",
    "etlab.challenge.warm": "etlab.course.sandbox.warm",
    "etlab.describe": "etlab.pipeline.describe",
    "etlab.report": "etlab.pipeline.report",
    "etlab.slabs.reconstruct": "etlab.pipeline.reconstruction",
}
RENAMED = {
    "density_in": "estimate_density",
    "estimated": "estimate_alignment",
    "planned": "plan_slabs",
}


class Moved(MetaPathFinder, Loader):
    """Finds modules by their old names."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """See `MetaPathFinder.find_spec`."""
        if fullname not in MODULES and not any(
            fullname == old or fullname.startswith(f"{old}.") for old in PACKAGES
        ):
            return None
        return ModuleSpec(fullname, self, is_package=fullname in PACKAGES)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module that takes its names from the new one."""
        return Old(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Find out at once whether there is such a module."""
        new = homes(module.__name__)[0].__name__
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)


class Old(ModuleType):
    """A module by its old name; called, it is the function of that name, as in ``etlab.align(…)``."""

    def __getattr__(self, name: str) -> object:
        name = RENAMED.get(name, name)
        own = name.startswith("__")  # such as __path__, which must not be that of the new package
        for home in () if own else homes(self.__name__):
            if hasattr(home, name):
                return getattr(home, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __call__(self, *args, **kwargs):
        """Call what `etlab` offers under this name."""
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def homes(old: str) -> list[ModuleType]:
    """Return the modules that have the names of an old one. Raises ModuleNotFoundError if there is none."""
    package, _, name = old.rpartition(".")
    alone = (MODULES[old],) if old in MODULES else PACKAGES.get(old)
    found = []
    for new in alone or [f"{new}.{name}" for new in PACKAGES[package]]:
        try:
            found.append(importlib.import_module(new))
        except ModuleNotFoundError as error:
            if error.name != new:
                raise
    if not found:
        raise ModuleNotFoundError(f"No module named {old!r}", name=old)
    return found


def find_moved() -> None:
    """Have Python find modules by their old names."""
    if not any(isinstance(finder, Moved) for finder in sys.meta_path):
        # first, because a pull leaves folders of the old names behind, which Python takes for packages
        sys.meta_path.insert(0, Moved())
