"""metrics.json: a schema that bites, every format readable for ever, stamps of the data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cesped.errors import MetadataError
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import (
    METRICS_FORMAT,
    METRICS_NAME,
    read_metrics,
    read_result,
    result_to_json,
)
from cesped.evaluation.results import METRIC_VERSION
from cesped.evaluation.stamps import sha256_of_file

ARCHIVE = Path(__file__).parent / "archive"


@pytest.fixture(scope="module")
def evaluated(tiny_dir, tmp_path_factory):
    """Return the result and the folder of an evaluation of the truth by noise maps."""
    from tiny_entries import StubReconstructor

    folder = tmp_path_factory.mktemp("evaluated")
    stars = [tiny_dir / "TINY" / f"particles_{half}.star" for half in (0, 1)]
    result = evaluate_entry(
        "TINY", *stars, "SO3", benchmark_dir=tiny_dir, outdir=folder,
        reconstructor=StubReconstructor(),
    )  # fmt: skip
    return result, folder


@pytest.mark.parametrize("path", sorted(ARCHIVE.glob("*.json")), ids=lambda path: path.stem)
def test_files_of_every_earlier_format_stay_readable(path):
    result = read_metrics(path)
    assert result.metrics_of("prediction")["mean_angular_error_deg"] > 0
    assert len(result.table()) == len(result.rows) + len(result.reference_rows) > 50
    assert result.stamps["metric_version"] >= 1
    assert set(result.table()["half"]) == {"0", "1", "all"}


def test_the_archive_holds_a_file_of_each_earlier_format():
    """Before the format is raised, a file of the present one goes to the archive."""
    formats = [
        json.loads(path.read_text())["cesped"].get("format", 1) for path in ARCHIVE.glob("*.json")
    ]
    assert set(formats) >= set(range(1, METRICS_FORMAT))


def test_a_new_file_follows_the_schema_and_holds_all_but_particles_and_maps(evaluated):
    result, folder = evaluated
    alone = read_metrics(folder / METRICS_NAME)
    beside = read_result(folder)
    pd.testing.assert_frame_equal(alone.table(), beside.table())
    assert alone.stamps == beside.stamps
    assert set(alone.fsc_curves) == set(result.fsc_curves) != set()
    for name, curve in alone.fsc_curves.items():
        np.testing.assert_allclose(
            curve.correlation, result.fsc_curves[name].correlation, atol=1e-6
        )
        np.testing.assert_allclose(
            curve.frequency_per_angst, result.fsc_curves[name].frequency_per_angst
        )
    assert alone.particles.empty


def test_a_row_and_a_curve_stay_on_their_line(evaluated):
    lines = (evaluated[1] / METRICS_NAME).read_text().splitlines()
    result, _ = evaluated
    rows = [json.loads(line.strip().rstrip(",")) for line in lines if '"metric":' in line]
    assert len(rows) == len(result.rows) + len(result.reference_rows)
    (curve,) = [line for line in lines if '"prediction_halves":' in line]
    assert curve.count(",") >= len(result.fsc_curves["prediction_halves"].correlation) - 1


def test_the_long_table_has_the_columns_it_is_said_to_have(evaluated):
    columns = {"entry", "half", "metric", "masked", "value", "interval", "unit", "direction"}
    assert columns < set(evaluated[0].table().columns)


def test_intervals_are_kept(evaluated, tmp_path):
    result, _ = evaluated
    rows = (replace(result.rows[0], interval=(1.0, np.float64(2.5))), *result.rows[1:])
    path = tmp_path / METRICS_NAME
    path.write_text(result_to_json(replace(result, rows=rows), tmp_path))
    back = read_metrics(path)
    assert back.rows[0].interval == (1.0, 2.5)
    assert all(row.interval is None for row in back.rows if row.metric.startswith("pcc_"))
    assert back.table().loc[0, "interval"] == (1.0, 2.5)


def test_the_stamps_name_all_that_determines_the_figures(evaluated, tiny_dir):
    stamps = evaluated[0].stamps
    for key, files in {
        "entry_files": [f"particles_{half}.star" for half in (0, 1)],
        "image_files": [f"particles_{half}.mrcs" for half in (0, 1)],
        "prediction_files": [f"particles_{half}.star" for half in (0, 1)],
    }.items():
        expected = [(name, sha256_of_file(tiny_dir / "TINY" / name)) for name in files]
        assert [(stamp["name"], stamp["checksum"]) for stamp in stamps[key]] == expected
    assert stamps["metric_version"] == METRIC_VERSION
    assert stamps["published_records"] == []
    assert {"backend", "backend_options", "seed", "time", "hardware", "package_version"} < set(
        stamps
    )


def test_a_verified_download_is_stamped_with_the_checksums_of_its_record(tmp_path):
    from cesped.data.download.entry_files import HalfPaths
    from cesped.data.download.record import Record, RemoteFile, write_record
    from cesped.data.registry import published_entries
    from cesped.data.store import EntryHalf
    from cesped.evaluation.stamps import records_stamp

    entry = published_entries()["10280"]
    paths = HalfPaths(entry, 1, tmp_path)
    paths.folder.mkdir()
    for path in (paths.star, paths.info, paths.stack):
        path.write_text("x")
    remote = RemoteFile("particles_1.star", "https://zenodo.org/x", "0" * 32, 1)
    write_record(paths.record, Record(paths.record_number, (remote,)))
    half = EntryHalf("10280", 1, paths.star, paths.folder, "C2", None)
    assert records_stamp([half]) == []  # here, but never verified
    paths.mark_complete()
    (stamp,) = records_stamp([half])
    assert stamp == {
        "half": 1,
        "record": paths.record_number,
        "checksums": {"particles_1.star": "md5:" + "0" * 32},
    }


def only_shells(document, frequencies):
    """Give the curves these frequencies, and as many values."""
    stored = document["cesped"]["fsc"]
    stored["frequency_per_angst"] = frequencies
    stored["curves"] = {name: [1.0] * len(frequencies) for name in stored["curves"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["cesped"].pop("rows"), 'cesped lacks "rows"'),
        (lambda d: d["cesped"].update(target=7), "cesped.target is 7"),
        (lambda d: d["cesped"]["rows"][0].update(direction="up"), r"rows\[0\].direction"),
        (lambda d: d["cesped"]["rows"][0].update(value="1"), r"rows\[0\].value"),
        (lambda d: d["cesped"]["rows"][0].update(metric="<b>"), r"rows\[0\].metric"),
        (lambda d: d["cesped"]["stamps"].update(metric_version="1"), "metric_version"),
        (lambda d: d["cesped"]["stamps"]["entry_files"].pop(), "entry_files has 1 items"),
        (lambda d: d["cesped"].update(format=3), "format is 3"),
        (lambda d: d["cesped"]["fsc"]["frequency_per_angst"].pop(), "shells"),
        (lambda d: only_shells(d, [0.0] * 17), "do not rise from 0"),
        (lambda d: only_shells(d, [0.1, 0.2]), "do not rise from 0"),
        (lambda d: only_shells(d, [0.0]), "do not rise from 0"),
        (lambda d: only_shells(d, []), "do not rise from 0"),
        (lambda d: d.update(meanAngularError="low"), "meanAngularError"),
        (lambda d: d.pop("cesped"), 'lacks "cesped"'),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_is_refused_in_words(evaluated, tmp_path, change, said):
    document = json.loads((evaluated[1] / METRICS_NAME).read_text())
    change(document)
    path = tmp_path / METRICS_NAME
    path.write_text(json.dumps(document))
    with pytest.raises(MetadataError, match=said):
        read_metrics(path)
