"""``paycall demo``: starts everything on free ports in a temporary folder, plays a payment, examines it, reports."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from paycall.demo.report import Report, make_report, no_report, search_events, search_files, search_from_here
from paycall.demo.scenario import MODES, Record, Scenario, Tell
from paycall.demo.stack import start_stack
from paycall.domain.errors import PaycallError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--json``, ``--mode`` and ``--keep``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--mode", choices=MODES, default="inband", help="how the caller's keys travel")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave recordings, logs and databases there"
    )


def run(args: argparse.Namespace) -> int:
    """Play and report; gives 0 only if everything holds."""
    try:
        report = _play_in_temporary_folder(args.mode, _silent if args.json else _story(), args.keep)
    except PaycallError as error:
        if args.json:
            print(json.dumps(no_report(args.mode, error.text), indent=2))
        print(f"paycall: {error.text} (--keep FOLDER leaves logs and recordings there)", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(report.data, indent=2))
    else:
        _print_report(report)
    return 0 if report.holds else 1


def _play_in_temporary_folder(mode: str, tell: Tell, keep: Path | None) -> Report:
    with tempfile.TemporaryDirectory(prefix="paycall-demo-") as name:
        try:
            return play(Path(name), mode, tell)
        finally:
            if keep is not None:
                shutil.copytree(name, keep, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)


def play(folder: Path, mode: str, tell: Tell) -> Report:
    """Start a stack in ``folder``, play the scenario on it, stop it, and examine what it left behind.

    Raises
    ------
    PaycallError
        The stack did not start, or a part did not do what the story needs.
    """
    tell("", "starting panel, vault, media cells and an acquirer simulator, all on this machine")
    stack = start_stack(folder / "stack")
    search = search_from_here(stack)
    try:
        recordings = folder / "phones"
        recordings.mkdir()
        record = asyncio.run(Scenario(stack, mode, recordings, tell).play())
        # While it runs: a journal may be gone afterwards.
        search_files(stack, search, _marks(record))
    finally:
        stack.stop()
    tell("", "examining what the operator's phone received, the logs, the databases and the events")
    search_files(stack, search, _marks(record))
    search_events(record, search, _marks(record))
    return make_report(record, search)


def _marks(record: Record) -> list[str]:
    """Identifiers of the payment that have to be found where it left traces."""
    attempts = [str(attempt["id"]) for attempt in record.payment["attempts"]]
    return [str(record.payment["id"]), str(record.call["id"]), *attempts]


def _silent(_who: str, _text: str) -> None:
    """Tells nothing."""


def _story() -> Tell:
    started = time.monotonic()

    def tell(who: str, text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {who:<9} {text}", flush=True)

    return tell


def _print_report(report: Report) -> None:
    print()
    for check in report.checks:
        print(f"  {'yes' if check.holds else 'NO '}  {check.claim}: {check.detail}")
    for finding in report.findings:
        print(f"       {finding.what} in {finding.place}")
    for name, timing in report.data["timings_ms"].items():
        print(
            f"  {name.replace('_', ' ')}: median {timing['p50']} ms, 95 % {timing['p95']} ms, max {timing['max']} ms"
        )
    print()
    print("Everything holds." if report.holds else "Something does not hold.")
