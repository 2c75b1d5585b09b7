"""The trade's words: every event, reference record, reason and charge as a frozen Struct.

Nothing here decides anything. Start with `topics.py`: it names each topic, its key and what it carries.
"""
