"""Locks: one at a time, waited for with a word, and gone with their process."""

import subprocess
import sys
import threading
import time
from contextlib import contextmanager

from cesped.io.locks import exclusive_lock

HOLD = """
import sys, time
from cesped.io.locks import exclusive_lock
with exclusive_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


class Told:
    def __init__(self, then=lambda: None):
        self.steps, self.then = [], then

    @contextmanager
    def task(self, description, total):
        self.steps.append((description, total))
        self.then()
        yield lambda units: None


def test_one_holder_at_a_time(tmp_path):
    lock, inside, most = tmp_path / "a.lock", [], []

    def work():
        for _ in range(20):
            with exclusive_lock(lock):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert set(most) == {1}
    assert not lock.exists()


def test_a_killed_holder_releases_it_and_the_waiting_one_is_told(tmp_path):
    lock = tmp_path / ".images.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
    with holder:
        holder.stdout.readline()
        told = Told(then=holder.kill)  # held for as long as nobody was told to wait
        with exclusive_lock(lock, told):
            holder.wait()
    assert told.steps == [("Waiting: another process is at work on images", None)]
    with exclusive_lock(lock, told):
        pass
    assert len(told.steps) == 1


def test_what_the_block_raises_releases_it(tmp_path):
    lock = tmp_path / "a.lock"
    for _ in range(2):
        try:
            with exclusive_lock(lock):
                raise KeyError
        except KeyError:
            pass
    assert not lock.exists()
