"""The jobs of the night, in their order. A new one is named here; `backoffice/nightly.py` says what it is made of."""

from backoffice.nightly import Job, ordered
from connectors.nightly.housekeeping import AUDIT, LOCKS, PARTITIONS, SESSIONS
from connectors.nightly.numbers import NCV_DAY, QUARANTINE, UNPAID
from connectors.nightly.work import Work

JOBS: tuple[Job[Work], ...] = ordered((NCV_DAY, QUARANTINE, UNPAID, LOCKS, SESSIONS, PARTITIONS, AUDIT))
