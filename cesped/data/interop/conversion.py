"""`convert`: particles and poses from the files of one program to those of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cesped.data.interop import cryodrgn, cryosparc
from cesped.data.interop.exchange import ExchangedParticles
from cesped.data.interop.relion import from_star, pose_and_defocus, to_tables
from cesped.data.interop.relion_forms import in_form
from cesped.data.star_columns import (
    IMAGE_SIZE,
    OPTICS_GROUP,
    ORIGINS_PX,
    StarColumns,
    open_star_columns,
)
from cesped.errors import EntryExistsError, OptionError
from cesped.io.cs import write_cs
from cesped.io.files import check_writable
from cesped.io.pickles import write_arrays_pickle
from cesped.io.star import write_star
from cesped.progress import SILENT, Progress
from cesped.vocabulary import StarForm

_STAR, _CS, _PICKLE, _STACKS = ".star", ".cs", ".pkl", (".mrcs", ".mrc", ".st")


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote, and what it could not.

    Parameters
    ----------
    written : files
    n_particles : rows in each
    left_out : what the input says and the output cannot hold, a sentence each
    remarks : what whoever uses the output should know, a sentence each
    """

    written: tuple[Path, ...]
    n_particles: int
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def convert(
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    form: str | StarForm = StarForm.RELION_31,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Conversion:
    """Write the particles of `inputs` in the format that the suffix of `out` names.

    Parameters
    ----------
    inputs : one star file; or a `.cs` file and passthrough files of the same job; or pickles of
        cryoDRGN and the particle file that they belong to (a stack, star or `.cs` file)
    out : `.star`, `.cs` or `.pkl`; `NAME.pkl` stands for `NAME.poses.pkl` and `NAME.ctf.pkl`
    root : folder that image names start from, where an image has to be asked for its box
    form : which RELION a star file is for
    overwrite : whether existing files may be replaced; an input never is
    progress : told of the rows of a long star file

    Returns
    -------
    Conversion

    Raises
    ------
    OptionError
        If formats are not known, or the inputs do not make one set of particles.
    EntryExistsError
        If the output exists and may not be replaced, or is one of the inputs.
    CespedError
        Of the reader's kind, if an input is faulty.
    DiskFullError, UnwritableError
        If an output cannot be written; each is there whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "old.star").write_text(
    ...     "data_\\nloop_\\n_rlnImageName\\n_rlnPixelSize\\n_rlnOriginX\\n1@a.mrcs 1.5 2\\n"
    ... )
    >>> done = convert([folder / "old.star"], folder / "new.star")
    >>> (folder / "new.star").read_text().split()[-3:]  # name, group, origin in angstrom
    ['1@a.mrcs', '1', '3.0']
    >>> done.remarks
    ('rlnImageSize, ...
    """
    sources, target = [Path(path) for path in inputs], Path(out)
    wanted = StarForm.parse(form)
    if target.suffix not in (_STAR, _CS, _PICKLE):
        raise OptionError(f"{target}: name a file to write that ends in .star, .cs or .pkl")
    _check_outputs(sources, target, overwrite)
    pickles = [path for path in sources if path.suffix == _PICKLE]
    others = [path for path in sources if path.suffix != _PICKLE]
    particles = _read(pickles, others, target, root)
    if target.suffix == _STAR:
        return _write_star(particles, others, bool(pickles), target, wanted, progress)
    if target.suffix == _CS:
        write_cs(target, cryosparc.to_records(particles))
        noted = particles.noting(remarks=(cryosparc.BRIGHT,))
        return Conversion((target,), len(noted), noted.left_out, noted.remarks)
    return _write_pickles(particles, target)


def _check_outputs(sources: list[Path], target: Path, overwrite: bool) -> None:
    outputs = cryodrgn.pickle_paths(target) if target.suffix == _PICKLE else (target,)
    for path in outputs:
        check_writable(path)
        if path.exists() and any(path.samefile(source) for source in sources if source.exists()):
            raise EntryExistsError(f"{path} is one of the inputs; choose another name to write")
        if path.exists() and not overwrite:
            raise EntryExistsError(f"{path} exists; choose another name, or use --force")


def _read(
    pickles: list[Path],
    others: list[Path],
    target: Path,
    root: str | os.PathLike[str] | None,
) -> ExchangedParticles:
    if not pickles:
        return _read_particles(others, root)
    if not others:
        raise OptionError(
            f"{pickles[0]}: cryoDRGN's pickles do not name their images; give the particle file "
            "that they belong to as well (.mrcs, .star or .cs)"
        )
    found = cryodrgn.read_pickles(*pickles)
    if len(others) == 1 and others[0].suffix in _STACKS:
        start = target.parent if root is None else Path(root).expanduser()
        name = os.path.relpath(others[0], start)
        particles = cryodrgn.images_of_stack(others[0], name, found)
    else:
        particles = _read_particles(others, root)
    return cryodrgn.with_pickles(particles, found)


def _read_particles(sources: list[Path], root: str | os.PathLike[str] | None) -> ExchangedParticles:
    suffixes = {path.suffix for path in sources}
    if suffixes == {_CS}:
        return cryosparc.read_cryosparc(*sources)
    if suffixes == {_STAR} and len(sources) == 1:
        return from_star(sources[0], root)
    raise OptionError(
        f"{', '.join(map(str, sources)) or 'no input'}: give one .star file, or a .cs file with "
        "its passthrough .cs files, or cryoDRGN's .pkl files with one .mrcs, .star or .cs file"
    )


def _write_star(
    particles: ExchangedParticles,
    sources: list[Path],
    has_pickles: bool,
    target: Path,
    form: StarForm,
    progress: Progress,
) -> Conversion:
    columns, left_out = _star_columns(particles, sources, has_pickles)
    tables, lost = in_form(columns, form, particles.box_px)
    write_star(target, tables, progress=progress)
    remarks = particles.remarks
    if form is not StarForm.RELION_30 and IMAGE_SIZE not in tables["optics"]:
        remarks += (
            f"{IMAGE_SIZE}, which RELION needs in the optics table, is not known: the stacks are "
            "not here to be asked; name their folder with --root",
        )
    return Conversion((target,), len(particles), (*left_out, *lost), remarks)


def _star_columns(
    particles: ExchangedParticles, sources: list[Path], has_pickles: bool
) -> tuple[StarColumns, tuple[str, ...]]:
    """Return the tables to write, and what they lack of the input.

    A star file gives its own tables, so that columns which nobody else knows are kept.
    """
    if sources[0].suffix == _STAR:
        columns = open_star_columns(sources[0])
        if not has_pickles:
            return columns, ()
        if columns.has("rlnDefocusU") or particles.ctf is None:
            kept = columns.particles.drop(columns=list(ORIGINS_PX), errors="ignore")
            return replace(columns, particles=kept.assign(**pose_and_defocus(particles))), ()
    tables = to_tables(particles)
    groups = tables["particles"][OPTICS_GROUP].to_numpy(dtype=np.int64)
    made = StarColumns(particles.source, tables["particles"], tables["optics"], groups - 1)
    return made, particles.left_out


def _write_pickles(particles: ExchangedParticles, target: Path) -> Conversion:
    poses, ctf = cryodrgn.to_pickles(particles)
    poses_path, ctf_path = cryodrgn.pickle_paths(target)
    written = [write_arrays_pickle(poses_path, poses)]
    remarks = [f"rows are in the order of {particles.source}: give cryoDRGN that file as particles"]
    if ctf is not None:
        written.append(write_arrays_pickle(ctf_path, ctf))
    else:
        remarks.append(f"{particles.source} has no CTF, so none was written")
    noted = particles.noting(cryodrgn.columns_left_out(particles), remarks)
    return Conversion(tuple(written), len(noted), noted.left_out, noted.remarks)
