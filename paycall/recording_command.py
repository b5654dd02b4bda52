"""``paycall recording list|export|delete``: the recordings of this machine's calls.

Rules: who opens or deletes a recording stands in the panel's audit log before it happens; where the panel cannot be
told, it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from paycall.control.messages import RecordingHandled
from paycall.control.tell import tell
from paycall.domain.errors import NotFoundError, PaycallError
from paycall.domain.ids import is_id
from paycall.media.recording import (
    SUFFIX,
    RecordingError,
    Summary,
    export_wav,
    read_private_key,
    recordings,
    summary,
)
from paycall.media.retention import host_name
from paycall.settings import MediaSettings, RecordingSettings
from paycall.settings_file import load_settings
from paycall.tls import cell_tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which recording."""
    what = parser.add_subparsers(dest="what", required=True, metavar="what")
    what.add_parser("list", help="every recording: when, how long, of which call, whether it was ended")
    export = what.add_parser(
        "export", help="decrypt one into a stereo WAV file: operator left, what was heard right"
    )
    export.add_argument("recording_id")
    export.add_argument("target", type=Path, help="the WAV file, which must not be there")
    export.add_argument("--key", type=Path, help="the private key (default: from the settings)")
    delete = what.add_parser("delete", help="delete recordings for good")
    delete.add_argument("recording_ids", nargs="+", metavar="recording_id")


def run(args: argparse.Namespace) -> int:
    """Carry it out; exit code 1 if a recording is not there or is damaged, or the panel could not be told."""
    settings = load_settings(args.config).media
    if args.what == "list":
        return _list(settings.recording)
    if args.what == "delete":
        return _delete(settings, args.recording_ids)
    return _export(settings, args.recording_id, args.target, args.key or settings.recording.private_key)


def _list(settings: RecordingSettings) -> int:
    print(f"{'recording':26}  {'began':16}  {'length':>8}  {'state':8}  call")
    for one in recordings(settings.folder):
        began = datetime.fromtimestamp(one.header.started_at, UTC).strftime("%Y-%m-%d %H:%M")
        minutes, seconds = divmod(round(one.seconds), 60)
        state = "ended" if one.complete else "open"
        print(
            f"{one.header.recording_id:26}  {began:16}  {minutes:5}:{seconds:02}  {state:8}  {one.header.call_id}"
        )
    return 0


def _delete(settings: MediaSettings, recording_ids: list[str]) -> int:
    found = [_find(settings.recording, recording_id) for recording_id in recording_ids]
    for one in found:
        _tell(settings, one, "deleted")
        try:
            one.path.unlink()
        except OSError:
            _tell(settings, one, "deleted", "failed")
            raise PaycallError(f"{one.path} cannot be deleted") from None
        print(f"deleted {one.header.recording_id}")
    return 0


def _export(settings: MediaSettings, recording_id: str, target: Path, key: Path) -> int:
    found = _find(settings.recording, recording_id)
    private = read_private_key(key)
    try:
        file = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError:
        raise PaycallError(f"{target} is there already, or cannot be written") from None
    try:
        with file:
            _tell(settings, found, "exported")
            export_wav(found.path, private, file)
    except PaycallError as error:
        with contextlib.suppress(OSError):
            target.unlink()  # a damaged recording is not to be taken for a whole one
        if isinstance(error, RecordingError):
            _tell(settings, found, "exported", "failed")
        raise
    print(f"{target}: {found.seconds:.1f} s" + ("" if found.complete else "; it broke off, or goes on"))
    return 0


def _tell(
    settings: MediaSettings,
    one: Summary,
    action: Literal["exported", "deleted"],
    result: Literal["done", "failed"] = "done",
) -> None:
    event = RecordingHandled(
        recording_id=one.header.recording_id,
        action=action,
        result=result,
        by=f"cli uid={os.getuid()}",
        host=host_name(),
    )
    asyncio.run(tell(settings.control_address, event, cell_tls(settings)))


def _find(settings: RecordingSettings, recording_id: str) -> Summary:
    path = settings.folder / f"{recording_id}{SUFFIX}"
    if not is_id(recording_id, "rec") or not path.is_file():
        raise NotFoundError("there is no such recording")
    found = summary(path)
    if found.header.recording_id != recording_id:
        raise RecordingError("the file has the name of another recording")
    return found
