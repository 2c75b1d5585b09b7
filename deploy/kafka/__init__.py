"""A real Kafka for development and tests, run from Maven's jars: `python3 deploy/kafka/local.py up`."""
