"""Faults on a real Kafka: real worker processes that are killed, frozen and cut off, and a checker without an engine.

`python -m tests.faults --seconds N --seed S` plays on for a while and tells what is wrong with what was left behind.
"""
