"""The broker in memory."""

from connectors.memory.broker import MemoryBroker
from connectors.memory.cluster import POINTS, Hook

__all__ = ["POINTS", "Hook", "MemoryBroker"]
