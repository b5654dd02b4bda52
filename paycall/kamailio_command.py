"""``paycall kamailio``: writes what Kamailio reads (``docs/connecting.md``), has it read anew, keeps the phones.

Cells are listed as their nodes see them now: all but those of a node that drains. A list is replaced as a whole,
and never by an empty one.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

from paycall import kamailio
from paycall.domain.errors import LinkError, NotFoundError, SettingsError
from paycall.media.status import NodeStatus, parse_status, read_status
from paycall.process import end_with_parent
from paycall.settings import KamailioSettings, Settings
from paycall.settings_file import load_settings

_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,39}$")
_RELOADS = {
    "carrier": (("dispatcher.reload",), ("permissions.addressReload",)),
    "operators": (("dispatcher.reload",), ("htable.reload", "phones")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--node",
        type=Path,
        action="append",
        metavar="PATH",
        help="a node's status socket, or a file with what `paycall media status --json` printed there; "
        "several for several nodes (default: this machine's node)",
    )
    parser.add_argument("--reload", action="store_true", help="have the running Kamailio read the lists anew")
    parser.add_argument(
        "--phone", metavar="NAME", help="give an operator's phone a new password, and print it"
    )
    parser.add_argument("--remove-phone", metavar="NAME", help="let a phone register no more")
    parser.add_argument("--run", choices=kamailio.INSTANCES, help="become this instance of Kamailio")


def run(args: argparse.Namespace) -> int:
    """Do what the options say; exit code 1 if a running Kamailio could not be reached.

    Raises
    ------
    SettingsError, LinkError, NotFoundError
        A wrong setting or folder; a node that does not answer; no such phone.
    """
    settings = load_settings(args.config)
    if args.run:
        return _become(settings, args.run)
    if args.phone or args.remove_phone:
        _change_phones(settings.kamailio, args.phone, args.remove_phone)
    else:
        _write(settings, args.node or [settings.media.status_socket])
    return _reload(settings.kamailio.folder.absolute()) if args.reload else 0


def _write(settings: Settings, nodes: list[Path]) -> None:
    states = [_state(path) for path in nodes]
    cells = [(state.address, cell.sip_port) for state in states if not state.draining for cell in state.cells]
    if not cells:
        raise LinkError("every node drains: the list of cells is left as it is")
    folder = kamailio.write_folder(settings.kamailio, settings.media, kamailio.cells_text(cells))
    _say(f"{len(set(cells))} cells of {len(states)} nodes are listed in {folder}/cells.list")
    for instance in kamailio.INSTANCES:
        address, port = kamailio.listening(settings.kamailio, settings.media, instance)
        _say(f"start    kamailio -f {folder}/{instance}.cfg      ({instance}: {address}:{port})")
    for instance in kamailio.INSTANCES:
        _say(f"reload   kamcmd -s unix:{folder}/{instance}.sock dispatcher.reload")


def _state(path: Path) -> NodeStatus:
    if path.is_socket() or not path.exists():
        return read_status(path)
    try:
        return parse_status(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise LinkError("a file given with --node is not what `paycall media status --json` prints") from None


def _change_phones(settings: KamailioSettings, added: str | None, removed: str | None) -> None:
    folder = settings.folder.absolute()
    phones = kamailio.read_phones(folder)
    if removed is not None and phones.pop(removed, None) is None:
        raise NotFoundError("there is no phone of that name")
    if added is not None:
        if not _NAME.match(added):
            raise SettingsError("a phone's name has 1 to 40 of a-z, 0-9, dot, dash and underscore")
        password = secrets.token_urlsafe(12)
        phones[added] = kamailio.ha1(added, settings.realm, password)
    kamailio.write_phones(folder, phones)
    if added is not None:
        _say(f'phone "{added}", realm "{settings.realm}", password {password} (shown this once)')


def _reload(folder: Path) -> int:
    program = kamailio.find_program("kamcmd")
    reached = 0
    for instance in kamailio.INSTANCES:
        socket = folder / f"{instance}.sock"
        if program is None or not socket.is_socket():
            continue
        answers = [_rpc([program, "-s", f"unix:{socket}", *command]) for command in _RELOADS[instance]]
        reached += answers[0]
    _say(
        f"{reached} running instances of Kamailio have read the lists" if reached else "no Kamailio runs here"
    )
    return 0 if reached else 1


def _rpc(command: list[str]) -> bool:
    """Whether Kamailio carried it out; kamcmd tells an error in words, not by its exit code."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.returncode == 0 and not done.stdout.startswith("error")


def _become(settings: Settings, instance: str) -> int:
    """Write the folder with every cell of these settings, and be Kamailio; ends with its parent."""
    os.umask(0o077)
    cells = kamailio.cells_text(kamailio.cells_of(settings.media))
    folder = kamailio.write_folder(settings.kamailio, settings.media, cells)
    end_with_parent()
    command = kamailio.command(folder, instance)
    os.execv(command[0], command)  # noqa: S606


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
