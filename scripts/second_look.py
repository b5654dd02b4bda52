"""Run pytest; look once more, alone, at the few tests of the rooms in real time that failed beside the others.

Three hundred tests have phones, cells and a browser work in real time, three rooms at once on two cores of a machine
that others may share. One in some thousand then fails because a process was not given a core in time. What fails
again with the machine to itself is broken; so is everything else that fails:

- the tests of at most `MOST` files are looked at again, once; more than that are no accident (a stack that starts too
  late fails all tests of its file);
- only the rooms in `REAL_TIME`: a unit test or a property that fails is never asked twice;
- each is named at the end of the run, for somebody to find out why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST = 3
REAL_TIME = ("tests/integration/", "tests/leak/", "tests/browser/")
SOME_TESTS_FAILED = 1


def may_be_asked_again(failed: list[str]) -> bool:
    """Whether these failed tests (pytest's node ids) are of few files and each of them works in real time.

    A file that cannot be imported fails under the file's own name: it is never asked again.
    """
    files = {test.partition("::")[0] for test in failed}
    return 0 < len(files) <= MOST and all(test.startswith(REAL_TIME) and "::" in test for test in failed)


def run(cache: Path, arguments: list[str]) -> int:
    """Pytest's exit code with these arguments, or that of the second look; `cache` is pytest's folder for it."""
    pytest = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}"]
    first = subprocess.run([*pytest, "--cache-clear", *arguments], check=False).returncode
    if first != SOME_TESTS_FAILED:
        return first
    failed = sorted(json.loads((cache / "v/cache/lastfailed").read_text(encoding="utf-8")))
    if not may_be_asked_again(failed):
        return first
    print(
        "\npaycall: a second look, alone, at what failed beside the others:", *failed, sep="\n  ", flush=True
    )
    second = subprocess.run([*pytest, *failed], check=False).returncode
    if second == 0:
        print("\npaycall: FAILED ONCE, passed alone; find out why:", *failed, sep="\n  ", flush=True)
    return second


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]).resolve(), sys.argv[2:]))
