"""How much one asker may ask: token buckets, in this process's memory, for a bounded number of askers."""

import math
from collections import OrderedDict

REMEMBERED = 20_000
"""Askers; whoever asked longest ago is forgotten first, and then has a full bucket again."""


class Buckets:
    """A bucket for each key: `burst` at once, refilled by `per_second`."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> int:
        """Takes one; 0, or how many seconds later there will be one. `now` is monotonic, in seconds."""
        left, at = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        wait = 0
        if left >= 1:
            left -= 1
        else:
            wait = max(1, math.ceil((1 - left) / self._per_second))
        self._left[key] = left, now
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return wait

    def empty(self, key: str, now: float) -> int:
        """What `take` would say, without taking."""
        left, at = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / self._per_second))
