"""Faults on the whole record: Kafka, PostgreSQL and every process of the product as real processes, the office at work
meanwhile, and a checker that shares no code with the product beyond decoding.

`python -m tests.faults.record --seconds N --seed S` plays on for a while and tells what is wrong with what was left.
"""
