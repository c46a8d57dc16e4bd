"""How many images a second a long step does, shown beside its bar while it goes on."""

import time
from collections import deque

from ...progress import Advance, say

#: The rate is that of the last so many seconds, so that a slow start is soon forgotten.
_MEMORY_S = 10.0


class ImagesPerSecond:
    """Tells a bar how far it is, and beside it how fast.

    Parameters
    ----------
    advance : of the open step, which counts images

    Examples
    --------
    >>> done = []
    >>> advance = ImagesPerSecond(done.append)
    >>> advance(128)
    >>> done
    [128]
    """

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._done = 0
        self._seen = deque([(time.monotonic(), 0)])

    def __call__(self, images: int) -> None:
        """Count images that are done."""
        self._advance(images)
        self._done += images
        now = time.monotonic()
        self._seen.append((now, self._done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _MEMORY_S:
            self._seen.popleft()
        (start, before), (stop, after) = self._seen[0], self._seen[-1]
        if stop > start:
            say(self._advance, f"{(after - before) / (stop - start):,.0f} images/s")
