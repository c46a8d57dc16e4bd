"""How one batch of images is shared among threads.

The compiled kernels of this room release the interpreter lock and are plain serial code; a batch
is cut in chunks and each chunk runs in a thread of its own. Unlike a parallel region inside the
kernel this survives `fork` (data-loader workers) and calls from several threads at once.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


def run_in_chunks(
    work: Callable[[int, int], object], count: int, threads: int | None = None
) -> None:
    """Call `work(start, stop)` on consecutive chunks that cover `range(count)`.

    Parameters
    ----------
    work : function of two ints
        It must release the interpreter lock for the threads to help.
    count : int
    threads : int, optional
        Most threads to use; `torch.get_num_threads()` when not given, which is 1 inside a
        data-loader worker.
    """
    available = _torch_num_threads() if threads is None else threads
    chunks = max(1, min(available, count))
    if chunks == 1:
        work(0, count)
        return
    bounds = [count * chunk // chunks for chunk in range(chunks + 1)]
    with ThreadPoolExecutor(chunks) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))


def _torch_num_threads() -> int:
    import torch  # takes a second, which those who name their threads need not wait

    return int(torch.get_num_threads())


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use that many threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
