"""Rewrites what the golden replays expect, after a change that is meant: `python tests/golden/update.py [NAME…]`.

`--draw` also takes new traffic for `busy_half_hour` from the sample operator. Read the difference before committing it.
"""

import argparse
import csv
import gzip
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from connectors.files.reference_folder import read_reference_folder
from connectors.replay import replay
from connectors.sample.operator import write_reference
from connectors.sample.traffic import write_traffic
from engine.reference import Reference
from engine.settings import EngineSettings

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.parent.name for path in FOLDER.glob("*/events.jsonl")))
EVENTS = Path("events.jsonl")
"""Relative, since rejected events name the file as it was given."""


def load(folder: Path) -> Reference:
    """The reference data of a golden replay."""
    settings = EngineSettings()
    found = read_reference_folder(
        folder / "reference",
        business_time_zone=settings.business_time_zone,
        emergency_numbers=settings.emergency_numbers,
    )
    return Reference(
        accounts=found.accounts.values(),
        providers=found.providers.values(),
        plans=found.tariff_plans.values(),
        price_lists=found.price_lists.values(),
        prices=found.prices,
        bands=found.bands.values(),
        locks=found.locks.values(),
        numbers=found.numbers.values(),
        discounts=found.discounts,
    )


def update(folder: Path) -> None:
    """Makes what comes out now the expected."""
    os.chdir(folder)
    replay(EngineSettings(), load(folder), [EVENTS], folder / "expected")


def draw(folder: Path) -> None:
    """New traffic: half an hour of the sample operator with 40 accounts."""
    reference = folder / "reference"
    write_reference(reference, accounts=40)
    with TemporaryDirectory() as traffic:
        files = write_traffic(Path(traffic), reference, attempts=400, seconds=1800)
        events = b"".join(gzip.decompress(file.read_bytes()) for file in files)
    (folder / EVENTS).write_bytes(events)
    _keep_prices(reference / "prices.csv", _called(events))


def _called(events: bytes) -> set[str]:
    head = msgspec.defstruct("Head", [("called", str, "")])
    numbers = set()
    for line in events.splitlines():
        try:
            numbers.add(msgspec.json.decode(line, type=head).called)  # type: ignore[attr-defined]
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # the spoiled lines
    return numbers


def _keep_prices(file: Path, called: set[str]) -> None:
    """Drops the prices that none of the numbers can match: they are most of the sample's, and show nothing here."""
    prefixes = {number[:length] for number in called for length in range(len(number) + 1)}
    with file.open(encoding="utf-8", newline="") as source:
        header, *rows = csv.reader(source)
    place = header.index("prefix")
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(row for row in rows if row[place] in prefixes)


def main() -> int:
    """Updates the golden replays that the arguments name, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if left out")
    parser.add_argument("--draw", action="store_true", help="new traffic for busy_half_hour")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no golden replay is named {', '.join(sorted(unknown))}")
    if asked.draw:
        draw(FOLDER / "busy_half_hour")
    for name in asked.names or NAMES:
        update(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
