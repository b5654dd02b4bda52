"""How a process starts quickly: Python's search for unreachable cycles waits until everything is there.

Importing and building make some hundred thousand objects that stay for good. Each search meanwhile, the one at the
interpreter's end and every full one while the process works would look at all of them.
"""

from __future__ import annotations

import gc


def begin() -> None:
    """Search for no garbage until ``done``."""
    gc.disable()


def done() -> None:
    """What is there now is never looked at again; what comes from now on is searched as ever."""
    gc.freeze()
    gc.enable()
