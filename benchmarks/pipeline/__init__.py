"""The pipeline over a real Kafka: throughput, latency, restoring, and what they are compared with."""
