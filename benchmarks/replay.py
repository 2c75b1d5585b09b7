"""The whole replay on one core: lines of JSON in, through the broker and the worker, files of JSON out."""

import tempfile
from pathlib import Path

from benchmarks import decks
from benchmarks.measure import peak_mb, timed
from connectors.replay import replay
from engine.settings import EngineSettings
from schemas.codec import encode
from schemas.times import to_us

ATTEMPTS = 100_000


def run(prices: int, accounts: int, runs: int) -> dict[str, object]:
    """Events per second, half of them attempts and half their CDRs, in the order of their times."""
    tables, pool = decks.reference(prices, accounts)
    attempts = decks.attempts(ATTEMPTS, accounts, pool)
    lines = [(to_us(attempt.at), encode(attempt)) for attempt in attempts]
    lines += [(to_us(cdr.ended_at), encode(cdr)) for cdr in decks.cdrs(attempts)]
    lines.sort(key=lambda pair: pair[0])
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        events.write_bytes(b"".join(line + b"\n" for _, line in lines))

        def whole() -> None:
            summary = replay(EngineSettings(), tables, [events], Path(folder) / "out")
            assert summary.decisions["allowed"] == ATTEMPTS, summary.decisions
            assert summary.rated == ATTEMPTS, summary.rejected

        timing = timed(whole, runs)
    return {
        "prices": prices,
        "accounts": accounts,
        "events": timing.as_dict(len(lines)),
        "peak_mb": round(peak_mb()),
    }
