"""``paycall scan PATH…``: find card numbers in files and databases, and print them masked.

For a site that wants to know that nothing slipped out, and for the tests. Exit code 0: nothing found; 1: found;
2: something could not be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from paycall.domain.card import brand_of
from paycall.scan.files import Finding, scan_file, scan_path
from paycall.vault.sandbox_cards import is_test_number

__all__ = ["Finding", "add_arguments", "run", "scan_file", "scan_path"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The paths, and how to report."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="files, or directories with all below"
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--ignore-test-numbers", action="store_true", help="leave published test numbers out")


def run(args: argparse.Namespace) -> int:
    """Scan; gives the exit code."""
    unreadable: list[Path] = []
    files = found = 0
    for start in args.paths:
        if not start.exists():
            unreadable.append(start)
            continue
        for path, findings in scan_path(start, unreadable.append):
            files += 1
            for finding in findings:
                if args.ignore_test_numbers and is_test_number(finding.digits):
                    continue
                found += 1
                _print(finding, args.json, path)
    for path in unreadable:
        sys.stderr.write(f"paycall: {path} cannot be read\n")
    sys.stderr.write(f"{files} files, {found} card numbers\n")
    return 1 if found else 2 if unreadable else 0


def _print(finding: Finding, as_json: bool, path: Path) -> None:
    brand = brand_of(finding.digits)
    shown = {
        "path": str(path),
        "where": finding.where,
        "how": finding.how,
        "number": finding.masked,
        "brand": brand.value if brand else None,
        "test_number": is_test_number(finding.digits),
    }
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        test = ", a test number" if shown["test_number"] else ""
        sys.stdout.write(
            f"{path}: {finding.where}: {finding.masked} ({shown['brand']}, {finding.how}{test})\n"
        )
