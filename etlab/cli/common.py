"""What every command does alike: say in one line what the user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What the user can mend is said in one line, without a traceback."""
    from etlab.challenge.evaluate_all import DaskError
    from etlab.challenge.sandbox import SandboxError
    from etlab.data import DataError
    from etlab.slabs import SlabError
    from etlab.solvers.learned import WeightsError

    try:
        yield
    except (
        ValueError,
        OSError,
        MemoryError,
        WeightsError,
        SandboxError,
        DaskError,
        SlabError,
        DataError,
    ) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
