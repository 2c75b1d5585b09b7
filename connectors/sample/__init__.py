"""An invented cloud-telephony operator and an hour of its traffic: for the demonstration, the tests and the benchmarks.

Prefixes are real (from the package `phonenumbers`); clients, providers and all prices are invented.
`operator.py` writes the reference folder, `traffic.py` the event files; `data/` holds CDR files as switches write them.
"""
