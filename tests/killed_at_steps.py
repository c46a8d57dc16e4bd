"""A process that kills itself just before one of its steps on the disk, or at one of its calls."""

import os
import signal
import sys

#: Events of the interpreter that change something below a folder; `open` if it is to write.
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR


def watch(folder, kill_at=0, steps=STEPS):
    """Count the steps below `folder`, and kill this process before one of them (from 1).

    The count is the one item of the list that is returned. A watch cannot be taken off: use it in
    a process of its own.
    """
    seen = [0]

    def hook(event, arguments):
        if event not in steps or not str(arguments[0]).startswith(str(folder)):
            return
        if event != "open" or arguments[2] & _WRITING:
            seen[0] += 1
            if seen[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def watch_calls(kill_at=0):
    """Count what this thread calls and returns from, and kill the process at one of these (from 1).

    As many places to die at as a clock would find, and the same ones on every machine. The count
    is the one item of the list that is returned.
    """
    seen = [0]

    def hook(frame, event, argument):
        seen[0] += 1
        if seen[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(hook)
    return seen
