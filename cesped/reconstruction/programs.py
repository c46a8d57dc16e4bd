"""Finding and running external programs, and telling why they failed."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ProgramError, ProgramNotFoundError

_LOG_TAIL_LINES = 20
#: How long an interrupted program may take to end by itself [s].
_PATIENCE_S = 10.0


def find_program(name: str, folder: str | os.PathLike[str] | None, remedy: str) -> str:
    """Return the path of a program in `folder`, or on PATH when that is None.

    Raises
    ------
    ProgramNotFoundError
        If it is not there; `remedy` ends the message.
    """
    where = None if folder is None else os.fspath(Path(folder).expanduser())
    found = shutil.which(name, path=where)
    if found is None:
        place = "on PATH" if where is None else f"in {where}"
        raise ProgramNotFoundError(f"the program {name} is not {place}; {remedy}")
    return os.path.abspath(found)


def run_program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command in a folder and return what it wrote.

    If this process is interrupted, the command and all that it started are ended first.

    Raises
    ------
    ProgramError
        If the command cannot be started or fails; the message holds the end of its log.
    """
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(
                f"{command[0]} cannot be started: {error}; check that it is a program for this "
                "machine"
            ) from error
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
    text = log.read_bytes().decode("utf-8", errors="replace")
    if status:
        raise ProgramError(failure_message(command, _how_it_ended(status), text))
    return text


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, kindly first."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(_PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _how_it_ended(status: int) -> str:
    """Return what an exit status means; a launcher tells a killed program as 128 + signal."""
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"ended with status {status}"
    if number == signal.SIGKILL:
        return f"was killed ({name}): by someone, or by the system when memory ran out"
    return f"was ended by signal {name}"


def failure_message(command: Sequence[str], what: str, log: str) -> str:
    """Return a message with the command, what went wrong, and the last lines of the log."""
    # RELION draws its progress bars with carriage returns: only their last state is of use
    lines = [line.rstrip().rpartition("\r")[2] for line in log.split("\n")]
    tail = [line for line in lines if line][-_LOG_TAIL_LINES:]
    return "\n".join(
        [f"{Path(command[0]).name} {what}", f"command: {' '.join(command)}", "its last words:"]
        + [f"    {line}" for line in tail or ["(none)"]]
    )
