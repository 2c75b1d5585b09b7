"""The events of the sample traffic on their way: each waits in a heap until it arrives."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from schemas.codec import encode
from schemas.events import Event

Then = Callable[[], None]
"""What changes, for whoever makes the traffic up, when an event arrives."""


class Arrivals:
    """Takes events with the moment of their arrival (µs) and hands out their lines in that order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._heap: list[tuple[int, int, bytes, Then | None]] = []
        self.count = 0  # of events and ids so far: breaks ties, and makes ids that no other traffic has

    def send(self, event: Event, at_us: int, then: Then | None = None) -> None:
        """Lets an event arrive at a moment; `then` is called when it does."""
        self.send_line(encode(event), at_us, then)

    def send_line(self, line: bytes, at_us: int, then: Then | None = None) -> None:
        """The same with a line that is no event, or one that was sent before."""
        self.count += 1
        heappush(self._heap, (at_us, self.count, line, then))

    def new_id(self, kind: str) -> str:
        """An id that nothing else has."""
        self.count += 1
        return f"{kind}{self._name}-{self.count:08x}"

    def due(self, now_us: int | None) -> Iterator[tuple[int, bytes]]:
        """Arrival and line of all that arrives up to now, or of all that there is; each is handed out once."""
        heap = self._heap
        while heap and (now_us is None or heap[0][0] <= now_us):
            arrival_us, _, line, then = heappop(heap)
            if then is not None:
                then()
            yield arrival_us, line
