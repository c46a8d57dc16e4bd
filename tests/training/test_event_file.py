"""Events for TensorBoard: read back by the format's rules, and by TensorBoard where it is."""

import math
import struct

import numpy as np
import pytest

from cesped.training.event_file import EventFile, event_files
from cesped.training.history import HistoryRow, RunLog, read_csv


def crc32c(content):
    """Return the checksum bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    return ((crc >> 15 | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """Return the messages of a record file; every checksum must be right."""
    content, messages = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        message = content[12 : 12 + length]
        assert struct.unpack("<I", content[8:12])[0] == masked(content[:8])
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked(message)
        messages.append(message)
        content = content[16 + length :]
    return messages


def test_checksums_are_those_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def test_records_are_whole_and_in_order(tmp_path):
    events = EventFile(tmp_path)
    events.add(300, {"loss": 1.5})
    events.flush()
    events.add(301, {"loss": -0.25, "rate": 1e-3})
    events.flush()
    version, first, second = records(events.path)
    assert version.endswith(b"brain.Event:2")
    assert first[9:12] == b"\x10\xac\x02"  # field 2, 300 as a varint
    assert b"\x0a\x04loss\x15" + struct.pack("<f", 1.5) in first
    assert b"\x0a\x04rate\x15" + struct.pack("<f", 1e-3) in second


def test_tensorboard_reads_them(tmp_path):
    loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader",
        reason="tensorboard is not installed",
    )
    events = EventFile(tmp_path)
    events.add(300, {"loss": 1.5, "nothing": math.nan})
    events.flush()
    _, event = loader.LegacyEventFileLoader(str(events.path)).Load()
    assert event.step == 300
    first = event.summary.value[0]
    assert (first.tag, first.simple_value) == ("loss", 1.5)


def row(step):
    return HistoryRow(step, step / 2, 1e-3, 2.0 / step, 3.0 / step, 40.0, 30.0, 0.1)


def test_a_round_is_logged_for_programs_and_for_eyes(tmp_path, monkeypatch):
    log = RunLog(tmp_path, "half 0")
    log.write([row(2)], np.array([1.5, 1.25]))
    assert not (tmp_path / "learning_curve.png").exists()
    monkeypatch.setattr("cesped.training.history._BETWEEN_PICTURES_S", 0.0)
    log.write([row(2), row(4)], np.array([0.75, 0.5]))
    assert read_csv(tmp_path / "log.csv") == [row(2), row(4)]
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    (path,) = event_files(tmp_path)
    messages = records(path)[1:]
    assert [message[10] for message in messages] == [1, 2, 2, 3, 4, 4]  # steps, rounds after them
    assert b"train_loss_of_step\x15" + struct.pack("<f", 0.75) in messages[3]
    assert b"val_median_error_deg\x15" + struct.pack("<f", 30.0) in messages[5]


def test_each_process_of_a_run_has_a_file_of_its_own(tmp_path):
    for _ in range(2):
        RunLog(tmp_path, "half 0").write([row(2)], np.array([1.0]))
    assert len(event_files(tmp_path)) == 2
