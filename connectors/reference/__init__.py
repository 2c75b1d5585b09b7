"""Reference data on the compacted topic `reference`: published from a folder or one by one, followed by each worker.

`keys`, `records` and `chunks` say how things stand on the topic, `publisher` writes them, `reader` keeps an engine's
reference data up to them.
"""
