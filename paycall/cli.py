"""``paycall …``: the command line. Each command is loaded when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from paycall import startup
from paycall.domain.errors import PaycallError, SettingsError

# The processes, which bootstrap puts together ...
PROCESSES: dict[str, str] = {
    "panel": "start the panel alone",
    "vault": "start the vault alone",
    "media": "start a media node alone; `media status` shows its cells",
    "sandbox": "start the acquirer simulator alone",
}
# ... and the tools: name -> (module, what it does). A module has add_arguments and run (or run_<name>).
TOOLS: dict[str, tuple[str, str]] = {
    "serve": ("paycall.serve", "start panel, vault, media node and acquirer simulator on this machine"),
    "demo": ("paycall.demo.command", "a scripted payment from end to end, with a report"),
    "prepare": ("paycall.serve", "make keys, secrets and the first operator; keeps what is there"),
    "health": ("paycall.health", "whether a process answers (exit code)"),
    "operator": ("paycall.operator_command", "add, lock, reset or list the panel's accounts"),
    "keys": ("paycall.keys_command", "status, rotation and retirement of the vault's keys"),
    "certs": ("paycall.certs_command", "the site's own certificates: make, renew, status"),
    "kamailio": ("paycall.kamailio_command", "write what Kamailio in front of cells and phones reads"),
    "recording": ("paycall.recording_command", "list, export or delete recordings of calls"),
    "audit": ("paycall.audit_command", "verify or export an audit log"),
    "scan": ("paycall.scan", "find card numbers in files and databases, and print them masked"),
    "acquirer": ("paycall.acquirer_command", "write the skeleton of a new acquirer's adapter"),
    "dtmf": ("paycall.dtmf_command", "print the keys in a sound file, or mask them"),
}


def _config_parser() -> argparse.ArgumentParser:
    """``--config`` alone: it may stand anywhere, before a command, behind it, behind what a command does."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="settings file (default: paycall.toml, if it is there)")
    return parser


def _parser(called: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paycall", description="Card payments in the middle of a phone call."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    helps = {name: text for name, (_, text) in TOOLS.items()} | PROCESSES
    for command, text in helps.items():
        sub = commands.add_parser(
            command,
            help=text,
            description=text,
            epilog="--config FILE: settings (default: paycall.toml, if it is there)",
        )
        if command == called and command in TOOLS:
            importlib.import_module(TOOLS[command][0]).add_arguments(sub)
        elif command == called == "media":
            importlib.import_module("paycall.media.status_command").add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the process's exit code (2: wrong usage or setting)."""
    startup.begin()
    try:
        return _run(argv)
    finally:
        startup.done()


def _run(argv: Sequence[str] | None) -> int:
    named, arguments = _config_parser().parse_known_args(argv)
    called = arguments[0] if arguments else None
    args = _parser(called).parse_args(arguments, named)
    try:
        if args.command == "media" and args.action == "status":
            return int(importlib.import_module("paycall.media.status_command").run(args))
        if args.command in PROCESSES:
            run = getattr(importlib.import_module("paycall.bootstrap"), f"run_{args.command}")
            return int(run(args.config))
        module = importlib.import_module(TOOLS[args.command][0])
        startup.done()
        return int(getattr(module, f"run_{args.command.replace('-', '_')}", module.run)(args))
    except SettingsError as error:
        print(f"paycall: {error.text}", file=sys.stderr)
        return 2
    except PaycallError as error:
        print(f"paycall: {error.text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
