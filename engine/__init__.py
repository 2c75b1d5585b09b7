"""Call control and rating as a pure, deterministic state machine.

No clock, no I/O, no logging, no configuration: time and settings are arguments, refusals are values, and an assert
that fails is a bug that must stop the worker before it commits.
"""
