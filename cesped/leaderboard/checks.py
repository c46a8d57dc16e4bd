"""What is wrong with a submission, in words."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from ..data.conventions import read_particle_table, read_predictions
from ..data.registry import embedded_names, published_entries
from ..data.store import EntryHalf, EntryStore
from ..errors import CespedError, EntryNotFoundError
from ..evaluation.half_sets import PredictedHalf, pair_predictions
from ..evaluation.outputs import read_metrics
from ..evaluation.results import METRIC_VERSION, EvaluationResult
from ..evaluation.stamps import sha256_of_file
from ..geometry.symmetry import point_group
from ..vocabulary import Severity, Track
from .contradictions import complaints_about_result, errors_beside, unknown_version
from .leaks import sign_in_ids, signs_in_half_maps, signs_in_poses, signs_in_provenance
from .manifest import TO_FILL_IN, EntrySubmission, Manifest, read_manifest
from .plain_text import plain, safe_link
from .submission import RESCORED_DIR, complaints_about_files, inside

_ROW_BYTES = 8192  # of a star file with every column that RELION knows
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """One thing to know about a submission.

    Parameters
    ----------
    severity : whether it is a fault
    where : the entry or file that it is about
    what : a sentence of printable text
    """

    severity: Severity
    where: str
    what: str


@dataclass(frozen=True)
class CheckReport:
    """All that was found.

    Parameters
    ----------
    folder : of the submission
    manifest : what it says of itself; None if that cannot be read
    findings : faults first
    """

    folder: Path
    manifest: Manifest | None
    findings: tuple[Finding, ...]

    @property
    def is_acceptable(self) -> bool:
        """Whether nothing is wrong; what is suspicious needs somebody's eyes still."""
        return all(finding.severity is not Severity.FAULT for finding in self.findings)


def check_submission(
    folder: str | os.PathLike[str], benchmark_dir: str | os.PathLike[str] | None = None
) -> CheckReport:
    """Look at every file of a submission, and return what is wrong.

    Entries that are in the benchmark folder are compared with the predictions; nothing is
    downloaded. No file is believed, followed out of the folder, or run.

    Parameters
    ----------
    folder : of the submission
    benchmark_dir : folder of entries; see `cesped.data.store.default_benchmark_dir` when None
    """
    check = _Check(Path(folder), EntryStore(benchmark_dir))
    manifest = check.run()
    order = list(Severity)
    findings = sorted(check.findings, key=lambda finding: order.index(finding.severity))
    return CheckReport(Path(folder), manifest, tuple(findings))


class _Check:
    """Collects findings; a fault of one entry does not hide those of the next."""

    def __init__(self, folder: Path, store: EntryStore):
        self.folder = folder
        self.store = store
        self.findings: list[Finding] = []

    def run(self) -> Manifest | None:
        if not self.folder.is_dir():
            self._note(Severity.FAULT, self.folder.name, "is not a folder; check the path")
            return None
        for complaint in complaints_about_files(self.folder):
            self._note(Severity.FAULT, "files", complaint)
        manifest = self._try("manifest", lambda: read_manifest(self.folder))
        if manifest is not None:
            self._look_at_texts(manifest)
            for entry in manifest.entries:
                self._look_at_entry(manifest, entry)
        return manifest

    def _note(self, severity: Severity, where: str, what: str) -> None:
        self.findings.append(Finding(severity, plain(where), plain(what)))

    def _try(self, where: str, act: Callable[[], _T]) -> _T | None:
        """Return what `act` returns; what it complains about becomes a fault."""
        try:
            return act()
        except (CespedError, OSError, MemoryError) as error:
            self._note(Severity.FAULT, where, str(error) or "there is not enough memory for it")
            return None

    def _look_at_texts(self, manifest: Manifest) -> None:
        method, training = manifest.method, manifest.training
        texts = {
            "method.name": method.name,
            "method.description": method.description,
            "training.data": training.data,
            "training.hardware": training.hardware,
            "contact": manifest.contact or "",
        }
        for name, text in texts.items():
            if TO_FILL_IN in text:
                self._note(Severity.FAULT, "manifest", f"{name} is still to be filled in")
            elif text and not plain(text, len(text)):
                self._note(Severity.FAULT, "manifest", f"{name} holds no readable text")
        for name, link in {"paper": method.paper, "code": method.code}.items():
            if link is not None and safe_link(link) is None:
                self._note(
                    Severity.FAULT,
                    "manifest",
                    f"method.{name} is {link!r}; give a web address (https://...) or a DOI",
                )
        if method.paper is None and method.code is None:
            self._note(Severity.NOTE, "manifest", "names neither a paper nor code")

    def _look_at_entry(self, manifest: Manifest, entry: EntrySubmission) -> None:
        halves = self._locate(entry.name)
        self._look_at_training(manifest, entry, halves)
        files = self._prediction_files(entry, halves)
        result = self._result(manifest, entry, halves)
        self._look_at_rescored(entry)
        if files is not None:
            self._look_at_predictions(manifest, entry, files, halves)
        if result is not None:
            for sign in signs_in_half_maps(result.fsc_curves):
                self._note(Severity.SUSPICIOUS, entry.name, sign)

    def _look_at_rescored(self, entry: EntrySubmission) -> None:
        """Point at a score that claims to be of those who keep the leaderboard."""
        name = f"{RESCORED_DIR}/{entry.name}.json"
        if (self.folder / name).exists():
            what = (
                f"{name} is shown as scored by whoever keeps the leaderboard; if it came with the "
                "submission, make it anew with `cesped submit score --record`"
            )
            self._note(Severity.NOTE, entry.name, what)

    def _locate(self, target: str) -> tuple[EntryHalf, EntryHalf] | None:
        try:
            return self.store.locate(target, 0), self.store.locate(target, 1)
        except EntryNotFoundError:
            pass
        except CespedError as error:
            self._note(Severity.FAULT, target, str(error))
            return None
        known = target in published_entries() or target in embedded_names()
        hint = (
            f"`cesped download -t {target}` fetches it"
            if target in published_entries()
            else "`cesped submit score` makes it"
            if known
            else "and no published entry has that name: is it spelled right?"
        )
        self._note(
            Severity.NOTE,
            target,
            f"the entry is not in {self.store.benchmark_dir}, so particles were not compared with "
            f"it ({hint})",
        )
        return None

    def _look_at_training(
        self, manifest: Manifest, entry: EntrySubmission, halves: tuple[EntryHalf, EntryHalf] | None
    ) -> None:
        if manifest.track is Track.SUPERVISED and entry.learned_on is None:
            self._note(
                Severity.FAULT,
                entry.name,
                "the manifest does not say on which half the models learned: `learned_on = [1, 0]` "
                "if each half was predicted by the model of the other",
            )
        sums = None if halves is None else [sha256_of_file(half.star_path) for half in halves]
        for sign in signs_in_provenance(entry, sums):
            self._note(Severity.FAULT, entry.name, sign)

    def _prediction_files(
        self, entry: EntrySubmission, halves: tuple[EntryHalf, EntryHalf] | None
    ) -> tuple[Path, Path] | None:
        if entry.predictions is None:
            self._look_at_source(entry)
            return None
        found = []
        for half in (0, 1):
            name, checksum = entry.predictions[half], entry.checksums[half]
            path = self._try(entry.name, partial(inside, self.folder, name))
            if path is None:
                continue
            most = None if halves is None else halves[half].star_path.stat().st_size
            if most is not None and path.stat().st_size > 4 * most + _ROW_BYTES:
                self._note(
                    Severity.FAULT,
                    entry.name,
                    f"{name} has {path.stat().st_size:,} bytes, and the entry's own star file "
                    f"{most:,}; give the columns of poses only",
                )
            elif sha256_of_file(path) != checksum:
                self._note(
                    Severity.FAULT,
                    entry.name,
                    f"{name} is not the file of the manifest: its checksum is "
                    f"{sha256_of_file(path)}",
                )
            else:
                found.append(path)
        return (found[0], found[1]) if len(found) == 2 else None

    def _look_at_source(self, entry: EntrySubmission) -> None:
        """Check that predictions which are not in the folder can be had."""
        if entry.doi is not None:
            what = f"the predictions are elsewhere (doi:{entry.doi}) and were not looked at"
            self._note(Severity.NOTE, entry.name, what)
        elif entry.command is not None and entry.name in embedded_names():
            what = f"the predictions are made by `{entry.command}` and were not looked at"
            self._note(Severity.NOTE, entry.name, what)
        else:
            self._note(
                Severity.FAULT,
                entry.name,
                "there are no predictions: put the star files into the folder (`predictions`), or "
                "publish them and give their `doi`",
            )

    def _look_at_predictions(
        self,
        manifest: Manifest,
        entry: EntrySubmission,
        files: tuple[Path, Path],
        halves: tuple[EntryHalf, EntryHalf] | None,
    ) -> None:
        if entry.checksums[0] == entry.checksums[1]:
            self._note(Severity.FAULT, entry.name, "the files of both halves are the same")
            return
        if halves is None:
            self._look_at_ids(entry, files)
            return
        paired = self._try(
            entry.name,
            lambda: pair_predictions(
                (
                    read_particle_table(halves[0].star_path, check_images=False),
                    read_particle_table(halves[1].star_path, check_images=False),
                ),
                (str(files[0]), str(files[1])),
                manifest.prediction_type,
            ),
        )
        if paired is not None:
            self._look_for_leaks(manifest, entry, paired, halves[0].symmetry)

    def _look_at_ids(self, entry: EntrySubmission, files: tuple[Path, Path]) -> None:
        """Check what can be checked of predictions whose entry is not here."""
        read = [self._try(entry.name, partial(read_predictions, path)) for path in files]
        ids = [pd.Index(found[0]) for found in read if found is not None]
        for half, names in enumerate(ids):
            doubled = names[names.duplicated()]
            if len(doubled):
                what = f"half {half} lists {len(doubled)} particles twice, such as {doubled[0]!r}"
                self._note(Severity.FAULT, entry.name, what)
        if len(ids) == 2 and len(shared := ids[0].intersection(ids[1])):
            what = f"{len(shared)} particles are in both halves, such as {shared[0]!r}"
            self._note(Severity.FAULT, entry.name, what)

    def _look_for_leaks(
        self,
        manifest: Manifest,
        entry: EntrySubmission,
        paired: tuple[PredictedHalf, PredictedHalf],
        symmetry: str,
    ) -> None:
        group = point_group(symmetry)
        for half, predicted in enumerate(paired):
            if manifest.track is Track.SUPERVISED:  # others have a frame of their own
                for sign in signs_in_poses(half, predicted, manifest.prediction_type, group):
                    self._note(Severity.SUSPICIOUS, entry.name, sign)
            if entry.learned_ids is None:
                continue
            name = entry.learned_ids[half]
            learned = self._try(entry.name, partial(self._lines, name)) or []
            for sign in sign_in_ids(half, learned, list(predicted.table.ids)):
                self._note(Severity.FAULT, entry.name, sign)

    def _lines(self, name: str) -> list[str]:
        text = inside(self.folder, name).read_text("utf-8", "replace")
        return [line.strip() for line in text.splitlines()]

    def _result(
        self,
        manifest: Manifest,
        entry: EntrySubmission,
        halves: tuple[EntryHalf, EntryHalf] | None,
    ) -> EvaluationResult | None:
        name = entry.result
        if name is None:
            what = "has no score yet; `cesped submit score` makes one"
            self._note(Severity.NOTE, entry.name, what)
            return None
        result = self._try(entry.name, lambda: read_metrics(inside(self.folder, name)))
        if result is None:
            return None
        unknown = unknown_version(result)
        if unknown is not None:
            self._note(Severity.FAULT, entry.name, f"{name} {unknown}")
            return None
        for complaint in complaints_about_result(result, manifest, entry):
            self._note(Severity.FAULT, entry.name, f"{name} {complaint}")
        self._try(entry.name, lambda: errors_beside(self.folder, name, result))
        if result.stamps["metric_version"] != METRIC_VERSION:
            what = (
                f"{name} has figures of metric version {result.stamps['metric_version']}, this "
                f"program those of {METRIC_VERSION}: they are never ranked together"
            )
            self._note(Severity.NOTE, entry.name, what)
        stamped = [file["checksum"] for file in result.stamps["entry_files"]]
        if halves is not None and stamped != [sha256_of_file(half.star_path) for half in halves]:
            what = f"{name} was made from other particles than those of the entry here"
            self._note(Severity.FAULT, entry.name, what)
        return result
