"""Seeded simulation of the production worker on the in-memory broker, with faults at every point, and its checks.

`python -m tests.simulation SEED` plays one seed again and tells what is wrong with it.
"""

from .checks import findings
from .world import Run, simulate

__all__ = ["Run", "findings", "simulate"]
