"""Acquirers, one folder each: `adapter.py` makes the calls, `wire.py` maps to and from the wire."""
