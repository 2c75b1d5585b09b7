"""The jobs of the night, in their order. A new one is named here; `backoffice/nightly.py` says what it is made of."""

from backoffice.nightly import Job, ordered
from connectors.nightly.housekeeping import AUDIT, LOCKS, PARTITIONS, SESSIONS
from connectors.nightly.work import Work

JOBS: tuple[Job[Work], ...] = ordered((LOCKS, SESSIONS, PARTITIONS, AUDIT))
