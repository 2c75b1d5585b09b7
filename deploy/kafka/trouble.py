"""The one error of this folder: something outside the program stands in the way, and here is the remedy."""


class KafkaTrouble(Exception):
    """Kafka cannot be set up, started or stopped. The text names the thing and what to do about it."""
