"""``paycall scan PATH…``: find card numbers in files and databases, and print them masked.

For a site that wants to know that nothing slipped out, and for the tests. Numbers that are published for tests are
printed as test cards and raise no alarm; a site names further numbers of its own in a file (``--test-cards``), and
counts all of them as well where none may be (``--count-test-cards``). Exit code 0: no alarm; 1: card numbers were
found; 2: something could not be read. The last lines tell how many files of each path held any.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from paycall.domain.card import brand_of
from paycall.domain.errors import SettingsError
from paycall.scan.files import Finding, scan_file, scan_path
from paycall.vault.sandbox_cards import is_test_number

__all__ = ["Finding", "add_arguments", "run", "scan_file", "scan_path"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The paths, and how to report."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="files, or directories with all below"
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument(
        "--test-cards", type=Path, metavar="FILE", help="further numbers that are no cards here, one a line"
    )
    parser.add_argument("--count-test-cards", action="store_true", help="test cards are alarms as well")


def run(args: argparse.Namespace) -> int:
    """Scan; gives the exit code."""
    declared = _declared(args.test_cards)
    unreadable: list[Path] = []
    alarms = 0
    for start in args.paths:
        if not start.exists():
            unreadable.append(start)
            continue
        files, with_alarm, with_test_card = 0, 0, 0
        for path, findings in scan_path(start, unreadable.append):
            files += 1
            tests = [one for one in findings if is_test_number(one.digits) or one.digits in declared]
            for finding in findings:
                _print(finding, args.json, path, test_card=finding in tests)
            with_alarm += len(tests) < len(findings)
            with_test_card += bool(tests)
        sys.stderr.write(
            f"{start}: {files} files, card numbers in {with_alarm}, test cards in {with_test_card}\n"
        )
        alarms += with_alarm + (with_test_card if args.count_test_cards else 0)
    for path in unreadable:
        sys.stderr.write(f"paycall: {path} cannot be read\n")
    return 1 if alarms else 2 if unreadable else 0


def _declared(path: Path | None) -> frozenset[str]:
    """The first word of each line that has one; ``#`` begins a remark."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"the list of test cards {path} cannot be read") from None
    return frozenset(words[0] for line in lines if (words := line.partition("#")[0].split()))


def _print(finding: Finding, as_json: bool, path: Path, *, test_card: bool) -> None:
    brand = brand_of(finding.digits)
    shown = {
        "path": str(path),
        "where": finding.where,
        "how": finding.how,
        "number": finding.masked,
        "brand": brand.value if brand else None,
        "test_card": test_card,
    }
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        test = ", a test card" if test_card else ""
        sys.stdout.write(
            f"{path}: {finding.where}: {finding.masked} ({shown['brand']}, {finding.how}{test})\n"
        )
