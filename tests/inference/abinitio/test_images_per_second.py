"""The rate beside the bars of `cesped abinitio`, and that long steps show it."""

import torch

from cesped.inference.abinitio import speed
from cesped.inference.abinitio.features import ViewFeatures
from cesped.inference.abinitio.groups import poses_in_one_frame
from cesped.inference.abinitio.speed import ImagesPerSecond
from cesped.models.cryofastar.model import CryoFastAR
from cesped.progress_bars import LineProgress


class Bar:
    def __init__(self):
        self.done, self.said = 0, []

    def __call__(self, units):
        self.done += units

    def say(self, text):
        self.said.append(text)


def test_the_rate_is_that_of_the_last_ten_seconds(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(speed.time, "monotonic", lambda: clock[0])
    bar = Bar()
    advance = ImagesPerSecond(bar)
    for _ in range(10):  # 10 images/s for 20 s, then 1,000 images/s
        clock[0] += 2.0
        advance(20)
    assert bar.said[-1] == "10 images/s"
    for _ in range(6):
        clock[0] += 2.0
        advance(2000)
    assert bar.said[-1] == "1,000 images/s"
    assert bar.done == 200 + 12_000


def test_a_watcher_without_room_and_a_clock_that_stands_still_do_no_harm(monkeypatch):
    monkeypatch.setattr(speed.time, "monotonic", lambda: 5.0)
    seen = []
    ImagesPerSecond(seen.append)(7)
    bar = Bar()
    ImagesPerSecond(bar)(7)
    assert (seen, bar.done, bar.said) == ([7], 7, [])


def test_the_line_of_a_long_step_has_the_rate(capsys):
    import sys

    torch.manual_seed(0)
    features = ViewFeatures(torch.randn(9, 4, 128), 2, 2)
    poses_in_one_frame(
        CryoFastAR("nano").eval(), features, 0, 4, 1, progress=LineProgress(sys.stderr)
    )
    shown = capsys.readouterr().err
    assert shown.startswith("posing particles: done in ")
    assert shown.rstrip().endswith("images/s")
