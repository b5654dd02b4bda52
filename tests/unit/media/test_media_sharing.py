"""What cells share with their parent: on Python 3.12 it is not written to when it is used."""

from __future__ import annotations

import json
import subprocess
import sys

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
        for name, value in list(vars(module).items()):
            kept = [value, getattr(value, "__doc__", None), getattr(value, "__code__", None)]

class Freed:
    def __del__(self):
        freed.append(True)

freed, held = [], {"it": Freed()}
share = share_with_children() if sys.argv[1] == "share" else False
keys = "".join(event.symbol for event in DtmfDetector().process(dtmf_string("4#", 0.06, 0.05)))
del held["it"]  # what a shared dict holds is freed as ever
print(json.dumps([share, keys, freed]), flush=True)
if os.fork() == 0:
    before = own_kb()
    read_everything()
    print(own_kb() - before, flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""


def _child(way: str) -> tuple[bool, str, list[bool], int]:
    out = subprocess.run(
        [sys.executable, "-c", _PARENT, way], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    share, keys, freed = json.loads(out[0])
    return share, keys, freed, int(out[1])


def test_using_what_was_imported_copies_fewer_pages_where_python_has_immortal_objects() -> None:
    """3.12: the child that reads every imported name writes to next to nothing of it; 3.11 counts as ever."""
    plain, shared = _child("plain"), _child("share")
    assert plain[1:3] == shared[1:3] == ("4#", [True])
    if sys.version_info >= (3, 12):
        assert shared[0] and shared[3] < plain[3] / 2, (plain[3], shared[3])
    else:
        assert not shared[0]
