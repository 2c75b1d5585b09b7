"""What a step of a job works with."""

from dataclasses import dataclass

from backoffice.numbers.settings import NumbersSettings
from connectors.postgres.change import Change
from connectors.postgres.database import Pool
from connectors.settings import NightlySettings
from engine.settings import EngineSettings


@dataclass(frozen=True)
class Work:
    """`tx` is the step's transaction, in which all that it changes must happen, in the name of the system."""

    tx: Change
    pool: Pool
    """Other connections, for reading what is as it was before the step."""
    engine: EngineSettings
    nightly: NightlySettings
    numbers: NumbersSettings
