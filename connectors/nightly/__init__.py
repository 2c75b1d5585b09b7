"""Jobs of the night: `backoffice/nightly.py` says what a job is and how to add one; `jobs.py` lists them, `run.py` does
what is due, `watch.py` does it by the clock and on demand."""

from connectors.nightly.run import Busy, Nightly, Result
from connectors.nightly.work import Work

__all__ = ["Busy", "Nightly", "Result", "Work"]
