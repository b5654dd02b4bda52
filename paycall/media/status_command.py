"""``paycall media status``: the cells of this machine's node, their calls, memory and restarts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paycall.media.status import NodeStatus, read_status
from paycall.settings_file import load_settings

_HEAD = ("cell", "port", "state", "calls", "served", "MB", "restarts", "pid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``status`` below ``paycall media``, with its options."""
    actions = parser.add_subparsers(dest="action", metavar="[status]")
    status = actions.add_parser("status", help="the cells of this machine's node")
    status.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    status.add_argument("--socket", type=Path, help="the node's status socket (default: from the settings)")


def run(args: argparse.Namespace) -> int:
    """Print the state; exit code 1 if a cell is not ready.

    Raises
    ------
    LinkError
        If no node answers.
    """
    path = args.socket or load_settings(args.config).media.status_socket
    status = read_status(path)
    sys.stdout.write((status.to_json() if args.json else _table(status)) + "\n")
    return 0 if all(cell.state in ("ready", "draining") for cell in status.cells) else 1


def _table(status: NodeStatus) -> str:
    rows: list[tuple[str, ...]] = [_HEAD]
    for cell in status.cells:
        memory = f"{cell.rss_mb:.0f}"
        numbers = (cell.calls, cell.served, memory, cell.restarts, cell.pid)
        rows.append((cell.cell_id, str(cell.sip_port), cell.state, *map(str, numbers)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    panel = "connected" if status.panel_connected else "not connected"
    draining = ", draining" if status.draining else ""
    trunk = f", trunk {status.trunk}" if status.trunk else ""
    return "\n".join([f"node {status.node_id}, panel {panel}{trunk}{draining}", *lines])
