"""From a prepared series to a volume in a file: the plan, the slabs, the volume, and what was measured of it."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from etlab.io import check_output, volume_writer
from etlab.io.volumes import VolumeWriter
from etlab.pipeline.assemble import Sections, assemble, half_set_correlation, power_spectrum, residual_curve
from etlab.pipeline.folder import Facts, SlabFolder, code_digest, file_digest, remove_unfinished
from etlab.pipeline.methods import Method
from etlab.pipeline.plan import Plan, Slab, half_of_memory, plan_slabs, size_in_words
from etlab.pipeline.prepare import Prepared
from etlab.pipeline.run import Task, executor, make_slabs, workers_of
from etlab.threads import N_THREADS

AT_LEAST = 4  # tilts, two in each half


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What was measured of a finished volume. Arrays are small, whatever the volume's size.

    Parameters
    ----------
    shape, voxel_nm
        (nz, ny, nx), and the edge of a voxel in nm.
    settings
        All that decided the volume.
    sections
        The planes through its middle.
    power
        Mean power spectrum of slices in the middle, (nz, ny), zero frequency in the middle.
    residuals
        ‖A x − y‖ / ‖y‖ before each iteration, of methods that iterate; GENFIRE's is its R-factor.
    fsc
        (Frequencies in cycles per voxel, correlation) of volumes from even and odd tilts; None if not asked for, or if
        they could not be reconstructed.
    plan
        How it was cut into slabs.
    peak_bytes
        The most memory that one process held.
    tilts_deg
        Tilts in degrees, (n_tilts,).

    Examples
    --------
    See `reconstruct`, which returns one.

    >>> [one for one in Reconstruction.__dataclass_fields__ if one.startswith("s")]
    ['shape', 'settings', 'sections']
    """

    shape: tuple[int, int, int]
    voxel_nm: float
    tilts_deg: np.ndarray
    settings: dict
    sections: Sections
    power: np.ndarray
    residuals: np.ndarray
    fsc: tuple[np.ndarray, np.ndarray] | None
    plan: Plan
    peak_bytes: float


def reconstruct(
    images: Prepared,
    out: str | os.PathLike,
    method: Method,
    *,
    thickness: int | None = None,
    width: int | None = None,
    columns: tuple[int, int] | None = None,
    overlap: int | None = None,
    voxel_nm: float | None = None,
    memory: float | None = None,
    workers: int | None = None,
    processes: bool = False,
    scheduler: str | None = None,
    fsc: bool = True,
    overwrite: bool = False,
    begin: Callable[[Plan, int], object] | None = None,
    finish: Callable[[Reconstruction], object] | None = None,
    progress: bool = False,
) -> Reconstruction:
    """Reconstruct a series, which may be larger than memory, into the file ``out``: .mrc, .h5 or .zarr.

    Slabs along the tilt axis are reconstructed in parallel and kept beside ``out`` until all are finished. A run that
    was interrupted resumes when it is started again with the same settings. ``out`` appears whole or not at all.

    Parameters
    ----------
    images
        The series. A change of its file, ``images.series.path``, is noticed.
    out
        The file to write.
    method
        The solver and its options.
    thickness
        nz of the volume; default: as many as rows.
    width
        ny of the volume; default: the number of rows. A film that reaches beyond the field needs more, for what the
        rays of high tilts meet outside it.
    columns
        Half-open range (first, stop) of the slices to make; default: all.
    overlap
        Slices beside a slab, for a method that couples all slices ("tv", "diffusion"): an approximation. Without it
        such a method takes the whole volume at once. Other methods know what they need.
    voxel_nm
        Edge of a voxel; default: what the series says.
    memory
        Bytes for this process and its threads or ``processes`` together; with a ``scheduler``, for each slab that its
        workers make. Default: half of what there is; of a dask worker's limit, 60 %.
    workers
        Slabs at a time; default: one for each core. With a scheduler, as many as it has threads.
    processes, scheduler
        Processes of this machine in place of threads; or the workers of a dask cluster, by its address.
    fsc
        Also reconstruct the slab in the middle from even and from odd tilts, for their correlation.
    begin
        Called with the plan and the number of slabs that exist already.
    finish
        Called with the result when the volume is written, before the final rename.

    overwrite
        Replace an existing file.
    progress
        Show a progress bar.

    Returns
    -------
    Reconstruction
        What was measured on the way; the volume itself is in the file.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and what the method raises.
    MemoryError
        If not one slab fits.
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    OSError
        If the disk is too small or full.
    SlabError
        If another run works on ``out``, or dask is missing.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import Projector, TiltGeometry, linear_tilts, open_series, read_volume, write_mrc
    >>> tilts, x = linear_tilts(60, 10), np.zeros((16, 16, 4), np.float32)
    >>> x[5:11, 5:11] = 1
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_mrc(folder / "series.mrc", Projector(TiltGeometry(tilts, x.shape))(x), voxel_nm=2)
    >>> series = open_series(folder / "series.mrc", tilts=tilts)
    >>> done = reconstruct(Prepared(series), folder / "volume.mrc", Method("sirt", {"n_iter": 5}))
    >>> done.shape, read_volume(folder / "volume.mrc")[0].shape, len(done.residuals)
    ((16, 16, 4), (16, 16, 4), 5)
    """
    out = Path(out).absolute()
    check_output(out, overwrite=overwrite)
    voxel_nm, shape = _checked(images, voxel_nm, thickness, width)
    by, workers, memory = _resources(processes, scheduler, workers, memory)
    settings = settings_of(images, method, shape, columns, overlap)
    folder = SlabFolder.beside(out, settings, shape)
    plan_for = partial(
        plan_slabs,
        images,
        shape,
        method,
        memory=memory,
        workers=workers,
        columns=columns,
        overlap=overlap,
        by=by,
    )
    plan_for()  # errors are raised before a folder is made
    with folder.held():
        plan = plan_for(width=folder.width())
        folder.width(plan.width)
        remove_unfinished(out)
        n_threads = max(1, N_THREADS // plan.at_once) if by == "threads" else 1
        task = Task(images, method, plan.overlap, folder, code_digest(), n_threads)
        slabs = plan.slabs + (plan.halves if fsc and images.shape[0] >= AT_LEAST else [])
        there = {slab: known for slab in slabs if (known := folder.facts(slab))}
        whole = (*shape, plan.columns[1] - plan.columns[0])
        _check_disk(out, 4.0 * math.prod(whole) * (2 - len(there) / len(slabs)))
        if begin:
            begin(plan, len(there))
        with executor(plan.at_once, processes=processes, scheduler=scheduler) as pool:
            facts = make_slabs(task, slabs, pool, there=there, progress=progress)
        about = {"etlab": version("etlab"), "method": str(method), "series": Path(images.series.path).name}
        with volume_writer(out, whole, voxel_nm, about, overwrite=overwrite) as writer:
            result = _measured(task, plan, facts, writer, voxel_nm, settings)
            if finish:
                finish(result)
        folder.remove()
    return result


def _measured(
    task: Task,
    plan: Plan,
    facts: dict[Slab, Facts],
    writer: VolumeWriter,
    voxel_nm: float,
    settings: dict,
) -> Reconstruction:
    """Write the volume, and return what is measured of it on the way."""
    folder = task.folder
    return Reconstruction(
        shape=writer.shape,
        voxel_nm=voxel_nm,
        tilts_deg=task.images.tilts_deg,
        settings=settings,
        sections=assemble(folder, plan.slabs, writer.write),
        power=power_spectrum(folder, plan.slabs[len(plan.slabs) // 2]),
        residuals=residual_curve([facts[slab] for slab in plan.slabs]),
        fsc=half_set_correlation(folder, plan.halves) if set(plan.halves) <= set(facts) else None,
        plan=plan,
        peak_bytes=max(one.peak_bytes for one in facts.values()),
    )


def _checked(
    images: Prepared, voxel_nm: float | None, thickness: int | None, width: int | None
) -> tuple[float, tuple[int, int]]:
    """Return the edge of a voxel in nm and (nz, ny), or raise ValueError."""
    voxel_nm = voxel_nm or images.pixel_nm
    if voxel_nm is None:
        raise ValueError(
            f"voxel_nm: {images.series.path} does not record the size of its pixels; pass it (--pixel-nm)"
        )
    for name, length in {"thickness": thickness, "width": width}.items():
        if length is not None and length < 1:
            raise ValueError(f"{name}: got {length}, expected a positive number of voxels")
    n_rows = images.shape[1]
    return voxel_nm, (thickness or n_rows, width or n_rows)


def _resources(
    processes: bool, scheduler: str | None, workers: int | None, memory: float | None
) -> tuple[str, int, float]:
    """Return who makes the slabs, how many at a time, and the limit of memory in bytes."""
    by = "processes" if processes else "threads"
    if scheduler is not None:
        by = "cluster"
        workers, most = workers_of(scheduler)
        memory = memory or most
    return by, workers or N_THREADS, memory or half_of_memory()


def digest_of(places: np.ndarray) -> str:
    """Return the number of places and their SHA-256."""
    return f"{len(places)}: {hashlib.sha256(np.ascontiguousarray(places, '<i8').data).hexdigest()}"


def settings_of(
    images: Prepared,
    method: Method,
    shape: tuple[int, int],
    columns: tuple[int, int] | None,
    overlap: int | None,
) -> dict:
    """Return everything that decides a slab except the code, as JSON can hold it."""
    alignment = images.alignment
    return {
        "series": file_digest(images.series.path),
        "axis": getattr(images.series, "axis", "x"),
        "shape of the series": list(images.series.shape),
        "tilts": np.asarray(images.tilts_deg, float).tolist(),
        "rows": images.rows,
        "binning": images.binning,
        "background": float(images.background),
        "bright field": images.bright_field,
        "outliers": None if images.outliers is None else digest_of(images.outliers),
        "alignment": alignment
        and {
            "shifts": alignment.shifts.tolist(),
            "tilt axis": float(alignment.tilt_axis_deg),
            "offset": float(alignment.tilt_axis_offset),
            "smooth": images.smooth,
        },
        "volume": list(shape),
        "columns": columns,
        "method": method.name,
        "options": {name: str(value) for name, value in method.options.items()},
        "weights": file_digest(method.options["weights"]) if method.options.get("weights") else None,
        "overlap": overlap,
    }


def _check_disk(out: Path, needed: float) -> None:
    """Raise OSError, before hours of computing, if the disk has no room for slabs and volume."""
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise OSError(
            f"{out.parent}: slabs and volume together need {size_in_words(needed)} more, the disk has "
            f"{size_in_words(free)} free"
        )
