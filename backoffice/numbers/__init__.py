"""DID numbers: their life between capacity, sale, use and quarantine (the guide's 1.4 and 3.4).

`states` moves a number and a subscriber from one state to the next; `availability` says what may be sold and in which
colour; `quarantine` who may leave it and when; `forcing` the way of a number that is not for sale and is wanted all the
same; `sale` who gets one; `search` how they are looked for. The sign itself is the engine's (`engine/ncv.py`).
"""
