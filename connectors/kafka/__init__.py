"""Apache Kafka: the broker of a deployment."""
