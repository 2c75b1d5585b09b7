"""What a benchmark fails with."""


class BenchmarkFailed(Exception):
    """A benchmark could not be taken, or what it saw was wrong. Names the thing and the remedy."""
