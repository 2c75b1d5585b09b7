"""Plays one seed, or so many from it on: `python -m tests.simulation SEED [NUMBER]`, from the project's root."""

import sys
from collections import Counter

from . import findings, simulate


def main(first: int, number: int) -> int:
    """Prints the findings of each seed that has some, and how often each fault struck; the number of bad seeds."""
    happened: Counter[str] = Counter()
    bad = 0
    for seed in range(first, first + number):
        run = simulate(seed)
        happened += run.happened
        if found := findings(run):
            bad += 1
            print(f"seed {seed}:", *found, sep="\n  ", flush=True)
    print(f"{number} seeds, {bad} with findings")
    print(", ".join(f"{fault} {times}" for fault, times in sorted(happened.items())))
    return bad


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    if not 1 <= len(numbers) <= 2:
        sys.exit(__doc__)
    sys.exit(main(numbers[0], numbers[1] if len(numbers) == 2 else 1) > 0)
