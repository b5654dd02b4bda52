"""What cells share with their parent: it stays shared when they make things, on Python 3.12 also when they use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from paycall.media.hardening import ENVIRONMENT

_PARENT = """
import json, os, sys
from pathlib import Path
import numpy
from dsp import DtmfDetector, dtmf_string
from paycall.media.sharing import share_with_children

def own_kb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

def read_everything():
    for module in list(sys.modules.values()):
        kept = list(vars(module).items())

def make_something():
    made.extend((bytes(size), [size] * (size % 50)) for size in range(7, 400))

class Freed:
    def __del__(self):
        freed.append(True)

def copied_kb(work):
    reading, writing = os.pipe()
    if os.fork() == 0:
        own_kb()
        before = own_kb()
        work()
        os.write(writing, str(own_kb() - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 100))

freed, made, held = [], [], {"it": Freed()}
immortal = share_with_children() if sys.argv[1] == "share" else False
keys = "".join(event.symbol for event in DtmfDetector().process(dtmf_string("4#", 0.06, 0.05)))
del held["it"]  # what a shared dict holds is freed as ever
copied = {work.__name__: copied_kb(work) for work in (read_everything, make_something)}
print(json.dumps({"immortal": immortal, "keys": keys, "freed": freed, **copied}))
"""


def _parent(way: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _PARENT, way],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | ENVIRONMENT,
    )
    assert not done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["keys"], found["freed"]) == ("4#", [True])
    return found


def test_children_copy_fewer_pages_of_their_parent() -> None:
    """Making things takes pages of their own; reading what was imported copies little where 3.12 counts nothing."""
    plain, shared = _parent("plain"), _parent("share")
    assert shared["make_something"] < 0.75 * plain["make_something"], (plain, shared)
    assert shared["immortal"] == (sys.version_info >= (3, 12))
    if shared["immortal"]:
        assert shared["read_everything"] < plain["read_everything"] / 2, (plain, shared)
