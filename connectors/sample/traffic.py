"""An hour of the sample operator's traffic as event files: what its switches and its office would have sent.

The files follow one another, and in them the events of all kinds, in the order of their arrival. The traffic is made as
it is written: what has still to come (the CDRs of running calls, above all) waits in a heap. `calls.py`,
`denials.py` and `office.py` make scenarios up; here they are spread over the hour, mixed, and written.
"""

import gzip
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import BinaryIO

from connectors.sample.arrivals import Arrivals
from connectors.sample.calls import QUIRKS, Calls
from connectors.sample.catalogue import Catalogue, Weighted
from connectors.sample.clientele import Clientele
from connectors.sample.denials import Denials
from connectors.sample.office import Office
from connectors.sample.spoiled import spoiled_lines
from schemas.events import FORWARDING
from schemas.times import SECOND_US, to_datetime, to_us

SLICE_SECONDS = 900
_LINES_AT_ONCE = 500  # one call of the compressor for so many lines: fewer costs time, more memory

# What an attempt is, and how many of a thousand.
ATTEMPTS = {
    "outgoing": 480.0,
    "forwarding": 70.0,
    "inbound": 250.0,
    "intra_office": 60.0,
    "emergency": 1.0,
    "of_the_poor": 3.0,
    # Quirks of outgoing calls.
    "extended": 4.0,
    "late": 1.0,
    "lost": 1.0,
    "twice": 3.0,
    "id_reused": 1.0,
    "released": 4.0,
    "through_unknown_provider": 0.5,
    # Denied.
    "bad_number": 3.0,
    "nobodys_number": 60.0,
    "unknown_number": 4.0,
    "held_number": 3.0,
    "unknown_account": 3.0,
    "closed_account": 4.0,
    "blocked_account": 10.0,
    "crowded": 6.0,
    "locked": 8.0,
    "locked_through_the_only_provider": 2.0,
    "no_wholesale_price": 3.0,
    "no_retail_price": 3.0,
    "no_margin": 3.0,
    "no_money": 12.0,
}

# What comes beside the attempts, and how many to a thousand of them.
BESIDE = {
    "payment": 4.0,
    "top_up": 1.0,
    "write_off": 2.0,
    "critical_write_off": 0.3,
    "exhausting_write_off": 0.2,
    "block_and_unblock": 0.6,
    "close": 0.1,
    "payment_of_nobody": 0.1,
    "recording": 20.0,
    "without_attempt": 0.7,
}
_BESIDE_SHARE = sum(BESIDE.values()) / 1000

_BY_CALLS = ("outgoing", "inbound", "intra_office", "emergency", "of_the_poor", "recording")
_BY_OFFICE = tuple(kind for kind in BESIDE if kind not in ("recording", "without_attempt"))


def write_traffic(
    folder: Path,
    reference: Path,
    *,
    seed: int = 1,
    start: str = "2026-11-24T09:00:00.000Z",
    seconds: int = 3600,
    attempts: int = 60_000,
) -> list[Path]:
    """Writes the traffic of `seconds` from `start` on into `folder`, a file for each quarter of an hour.

    `attempts` counts the set-ups; their CDRs, repetitions and commands come on top, about as many again. The last file
    also holds what comes after the end: the CDRs of calls still running then. The accounts, numbers and prices are
    those of the folder `reference`. Returns the files in their order. The same arguments give the same bytes.
    Every scenario occurs at least once if `attempts` is 100 or more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(f"{seed} traffic")
    start_us, length_us = to_us(start), seconds * SECOND_US
    clientele = Clientele(Catalogue(reference, start[:10], rng), rng)
    with _Slices(folder, start_us, start_us + length_us) as slices:
        for arrival_us, line in _events(clientele, str(seed), start_us, length_us, attempts):
            slices.write(arrival_us, line)
    return slices.paths


def _events(
    clientele: Clientele, name: str, start_us: int, length_us: int, attempts: int
) -> Iterator[tuple[int, bytes]]:
    """Arrival and line of each event, in the order of arrival."""
    rng = clientele.rng
    arrivals = Arrivals(name)
    make = _makers(clientele, arrivals)
    certain = _certain(attempts)
    mix, beside = Weighted(list(ATTEMPTS), ATTEMPTS.values()), Weighted(list(BESIDE), BESIDE.values())
    spoiled = deque(spoiled_lines(start_us))
    spoiled_each = max(1, attempts // (len(spoiled) + 1))
    for i in range(attempts):
        # Evenly spread with a jitter: in order of itself, so that nothing needs to be sorted.
        now_us = start_us + int((i + rng.random()) * length_us) // attempts // 1000 * 1000
        yield from arrivals.due(now_us)
        kind = certain.get(i)
        if kind in BESIDE or rng.random() < _BESIDE_SHARE:
            make[kind if kind in BESIDE else beside.draw(rng)](now_us)
        make[kind if kind in ATTEMPTS else mix.draw(rng)](now_us)
        if spoiled and i % spoiled_each == spoiled_each - 1:
            arrivals.send_line(spoiled.popleft(), now_us)
    yield from arrivals.due(None)


def _makers(clientele: Clientele, arrivals: Arrivals) -> dict[str, Callable[[int], None]]:
    """Scenario → what makes it up from a moment (µs) on."""
    rng = clientele.rng
    calls = Calls(clientele, arrivals, rng)
    denials, office = Denials(clientele, calls, arrivals, rng), Office(clientele, arrivals, rng)
    makers: dict[str, Callable[[int], None]] = {"forwarding": partial(calls.outgoing, service=FORWARDING)}
    makers |= {kind: getattr(calls, kind) for kind in _BY_CALLS}
    makers |= {quirk: partial(calls.outgoing, quirk=quirk) for quirk in QUIRKS}
    makers |= {kind: getattr(office, kind) for kind in _BY_OFFICE}
    makers |= {kind: getattr(denials, kind) for kind in ATTEMPTS if kind not in makers}
    return makers


def _certain(attempts: int) -> dict[int, str]:
    """Attempt → scenario that it must be, so that short traffic has everything too."""
    # An account with two calls at once is crowded from the third attempt on, one that it has just filled.
    kinds = [*ATTEMPTS, *["crowded"] * 4, *BESIDE]
    return {i * attempts // len(kinds): kind for i, kind in enumerate(kinds)}


class _Slices:
    """Gzip files of a quarter of an hour each; what comes after the end goes into the last."""

    def __init__(self, folder: Path, start_us: int, end_us: int) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._end_us = end_us
        self._next_us = start_us
        self._lines: list[bytes] = []
        self._raw: BinaryIO | None = None
        self._file: gzip.GzipFile | None = None

    def write(self, arrival_us: int, line: bytes) -> None:
        """Adds a line to the file of its arrival; arrivals never go back."""
        while self._next_us <= arrival_us and self._next_us < self._end_us:
            self._open_next()
        self._lines.append(line)
        if len(self._lines) >= _LINES_AT_ONCE:
            self._flush()

    def _open_next(self) -> None:
        self.close()
        path = self._folder / f"traffic-{to_datetime(self._next_us):%Y%m%dT%H%M%SZ}.jsonl.gz"
        self.paths.append(path)
        # Neither name nor time in the header: the same traffic is the same bytes.
        self._raw = path.open("wb")
        self._file = gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=3, mtime=0)
        self._next_us += SLICE_SECONDS * SECOND_US

    def _flush(self) -> None:
        if self._file is not None and self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()

    def close(self) -> None:
        """Finishes the file that is open."""
        self._flush()
        if self._file is not None and self._raw is not None:
            self._file.close()
            self._raw.close()
            self._file = self._raw = None

    def __enter__(self) -> "_Slices":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
