"""``paycall keys``: the versions of the vault's key-encrypting key.

``rotate`` makes a new version; the one before is retired at once: it decrypts, never encrypts. The running vault
brings every stored row under the new version in the background. ``retire`` removes a retired version for good,
once no row needs it any more. ``shares`` makes the key file of the provider ``shares``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from paycall.audit import Entry
from paycall.domain.errors import StateError
from paycall.settings_file import load_settings
from paycall.vault.database import make_engine, migrate
from paycall.vault.keys import open_provider
from paycall.vault.providers.base import KeyProvider
from paycall.vault.providers.shares import create_shared
from paycall.vault.store import Store

# A vault that was writing a row under the old version when it was retired has finished by then.
_SETTLED = timedelta(seconds=60)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    status = actions.add_parser("status", help="versions, their states and how many rows each holds")
    status.add_argument("--json", action="store_true", help="print one object")
    actions.add_parser("rotate", help="make a new version; the vault re-encrypts in the background")
    shares = actions.add_parser("shares", help="make a key file for two custodians, and their two shares")
    shares.add_argument("files", nargs=2, type=Path, metavar="FILE", help="where each share is written")
    retire = actions.add_parser("retire", help="remove a retired version that no row needs any more")
    retire.add_argument("version", type=int)


def run(args: argparse.Namespace) -> int:
    """Carry out one subcommand; gives the exit code."""
    settings = load_settings(args.config).vault
    if args.action == "shares":
        return _make_shares(settings.key_file, args.files)
    store = Store(make_engine(settings.database_url.get_secret_value()))
    migrate(store.engine)
    provider = open_provider(settings)
    try:
        if args.action == "status":
            _print_status(store, provider, args.json)
        elif args.action == "rotate":
            version = provider.rotate()
            _note(store, "rotate key", version)
            _say(f"version {version} is active; the running vault re-encrypts in the background")
        else:
            _retire(store, provider, args.version)
    finally:
        provider.close()
        store.engine.dispose()
    return 0


def _make_shares(key_file: Path, files: list[Path]) -> int:
    taken = [path for path in files if path.exists()]
    if taken:
        raise StateError(f"{taken[0]} exists already")
    for path, share in zip(files, create_shared(key_file), strict=True):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(share + "\n")
    _say(f"{key_file} can be opened with both shares only; give each to its custodian and delete it here")
    return 0


def _print_status(store: Store, provider: KeyProvider, as_json: bool) -> None:
    with store.begin() as connection:
        rows = store.versions_in_use(connection)
    versions = [
        {
            "version": v.version,
            "state": "active" if v.active else "retired",
            "created_at": v.created_at.isoformat(timespec="seconds"),
            "rows": rows.pop(v.version, 0),
        }
        for v in provider.versions()
    ]
    if as_json:
        _say(
            json.dumps(
                {"provider": provider.name, "versions": versions, "rows_without_key": sum(rows.values())}
            )
        )
        return
    _say(f"provider {provider.name}")
    for v in versions:
        _say(f"version {v['version']}  {v['state']:8}  made {v['created_at']}  {v['rows']} rows")
    for version, count in sorted(rows.items()):
        _say(f"version {version}  MISSING   {count} rows cannot be decrypted")


def _retire(store: Store, provider: KeyProvider, version: int) -> None:
    newest = next(v for v in provider.versions() if v.active)
    if version != newest.version and datetime.now(UTC) - newest.created_at < _SETTLED:
        raise StateError("the key was rotated less than a minute ago; wait until the vault has settled")
    with store.begin() as connection:
        rows = store.versions_in_use(connection).get(version, 0)
    if rows:
        raise StateError(f"{rows} rows are still under this version; the running vault is re-encrypting them")
    provider.destroy(version)
    _note(store, "retire key", version)
    _say(f"version {version} is gone for good; database backups made under it cannot be read any more")


def _note(store: Store, action: str, version: int) -> None:
    entry = Entry(f"cli uid={os.getuid()}", action, f"key version {version}", "done", f"pid={os.getpid()}")
    with store.begin() as connection:
        store.note(connection, entry, datetime.now(UTC))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
