"""Drawing in a process beside: the same answers, and no new way to fail."""

import os
import subprocess
import sys
import time

import pytest
from synthetic_result import synthetic_result

from cesped.report import artists, html
from cesped.report.artists import Artist, artist_beside


@pytest.fixture
def artist():
    hired = Artist()
    yield hired
    hired.dismiss()


def test_an_artist_answers_from_a_process_of_its_own(artist):
    assert artist.ask(os.getpid)() == artist._process.pid != os.getpid()
    assert artist.ask(divmod, 7, 3)() == (2, 1)


def test_the_page_is_the_same_whoever_draws_it(artist, tmp_path):
    result = synthetic_result(tmp_path)
    alone = html.write_report(result, tmp_path / "alone.html").read_text("utf-8")
    together = html.write_report(result, tmp_path / "both.html", artist=artist)
    assert together.read_text("utf-8") == alone


def test_what_fails_there_fails_here_and_says_why(artist):
    answer = artist.ask(int, "five")
    with pytest.raises(ValueError, match="five"):
        answer()
    assert artist.ask(int, "5")() == 5  # the artist is well


def test_an_artist_that_is_killed_is_not_missed(artist):
    artist.ask(os.getpid)()
    process = artist._process
    answer = artist.ask(time.sleep, 0)
    process.kill()
    process.wait()
    assert answer() is None
    assert artist.ask(os.getpid)() == os.getpid()
    assert artist._process is None


def test_questions_that_cannot_be_told_are_answered_here(artist):
    assert artist.ask(lambda: os.getpid())() == os.getpid()


def test_without_processes_everything_is_done_here(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no more processes")

    monkeypatch.setattr(artists.subprocess, "Popen", refuse)
    assert Artist().ask(os.getpid)() == os.getpid()


def test_a_dismissed_artist_is_gone(artist):
    process = artist._process
    artist.dismiss()
    assert process.returncode is not None
    artist.dismiss()


@pytest.mark.parametrize(
    ("threads", "loaded", "size", "is_lent"),
    [(2, "", "1", True), (1, "", "1", False), (2, "json", "1", False), (2, "", "4", False)],
)
def test_artists_are_lent_where_they_help(threads, loaded, size, is_lent):
    code = (
        "import os, sys\n"
        "os.sched_getaffinity = lambda pid: {0, 1}\n"
        f"if {loaded!r}: sys.modules['matplotlib.figure'] = sys\n"
        "from cesped.report.artists import artist_beside\n"
        f"with artist_beside({threads}) as artist: print(artist is not None)\n"
    )
    environment = {**os.environ, "WORLD_SIZE": size}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_lent)


def test_no_artist_where_drawing_is_loaded():
    import matplotlib.figure  # noqa: F401

    with artist_beside(2) as hired:
        assert hired is None
