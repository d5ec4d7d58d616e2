"""How fast a copy reads: all streams together keep to one limit, and to less of it while the original has more to do than usual.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

from __future__ import annotations

import threading
import time

CREDIT = 0.25  # seconds of the limit that may be made up for after a moment of reading less
LEAST = 1 / 8  # of the limit; an original that is always busy must be copied too


class Pace:
    """Holds all streams together to one limit.

    Attributes:
        asked: bytes a second, 0 for none; may be changed at any time.
        share: the part of it that is used.
    """

    def __init__(self, asked: float) -> None:
        self.asked, self.share = asked, 1.0
        self.due = time.monotonic()
        self.lock = threading.Lock()

    def after(self, count: int) -> float:
        """Seconds to wait now that `count` more bytes have been read; 0 or less for none."""
        with self.lock:
            if not self.asked:
                return 0.0
            now = time.monotonic()
            self.due = max(self.due, now - CREDIT) + count / (self.asked * self.share)
            return self.due - now

    def heed(self, running: float, usual: float) -> None:
        """Half as fast when more than twice as many statements as usual, and two, run; else a quarter faster."""
        self.share = max(LEAST, self.share / 2) if running > 2 * usual + 2 else min(1.0, self.share * 1.25)
