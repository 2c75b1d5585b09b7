"""Fixtures that every test may ask for."""

pytest_plugins = ["kafka_broker", "postgres"]
