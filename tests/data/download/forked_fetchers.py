"""Run as a program: fetches in children that cost no import, for tests that kill them.

Reads lines of JSON. `{"url": URL, "bench": DIR, "half": 0, "log": FILE}` starts a child
and answers with its pid; with `"kill_before": N` it kills itself before the N-th thing it does to a
file, and half of the block is written if that is a write. `{"wait": PID}` answers with its status.
"""

import json
import os
import signal
import sys

import cesped.data.download.entry_fetch as entry_fetch
from cesped.data.download.retries import Patience
from cesped.progress_bars import LineProgress
from cesped.vocabulary import OFFLINE_VARIABLE, RECORDS_URL_VARIABLE

PATIENCE = Patience(attempts=4, first_pause_s=0.001, longest_pause_s=0.002, stall_s=60)
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.symlink", "os.link"}


class Steps:
    """Counts what is done to files below a folder, and kills the process at one of them."""

    def __init__(self, folder, kill_before):
        self.folder, self.kill_before, self.done = folder, kill_before, 0
        sys.addaudithook(self.on_event)
        pwrite = os.pwrite

        def torn_pwrite(descriptor, block, position):
            if self.done + 1 == self.kill_before:
                pwrite(descriptor, block[: len(block) // 2], position)
            self.count()
            return pwrite(descriptor, block, position)

        # a killed process loses nothing that it wrote: to wait for the disk would only take time
        os.pwrite, os.fsync = torn_pwrite, lambda descriptor: self.count()

    def on_event(self, event, arguments):
        if event in WATCHED and str(arguments[0]).startswith(self.folder):
            self.count()

    def count(self):
        self.done += 1
        if self.done == self.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)


def fetch(job):
    os.environ[RECORDS_URL_VARIABLE] = job["url"]
    os.environ.pop(OFFLINE_VARIABLE, None)
    steps = Steps(job["bench"], job.get("kill_before", -1))
    with open(job["log"], "a", buffering=1) as log:
        try:
            progress = LineProgress(log, interval_s=0.1)
            entry_fetch.fetch_half(
                job.get("target", "10280"), job["half"], job["bench"], progress, patience=PATIENCE
            )
            print(f"steps {steps.done}", file=log)
            return 0
        except Exception as error:  # told through the log
            print(f"{type(error).__name__}: {error}", file=log)
            return 1


def main():
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = os.waitpid(job["wait"], 0)[1]
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(fetch(job))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
