"""``paycall serve``: prepares ``var/`` on the first start, then runs every process under one supervisor."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from paycall import kamailio, startup
from paycall.domain.errors import SettingsError
from paycall.free_addresses import check_addresses, check_kamailio
from paycall.health import NAMES, is_ready, sip_answers
from paycall.logs import configure_logs
from paycall.media import hardening as media_hardening
from paycall.settings import Settings
from paycall.settings_file import load_settings
from paycall.supervisor import Child, Supervisor
from paycall.vault import hardening as vault_hardening

START_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``paycall serve`` takes nothing but ``--config``; ``paycall prepare`` the processes of this machine."""
    if parser.prog.endswith(" prepare"):
        parser.add_argument(
            "processes",
            nargs="*",
            metavar="process",
            help=f"{', '.join(NAMES)}: what these need (default: all, and certificates)",
        )


def run(args: argparse.Namespace) -> int:
    """Run everything until Ctrl-C; gives the exit code."""
    settings = load_settings(args.config)
    with _alone(settings.site.var):
        check_addresses(settings)
        return _serve(settings, args.config)


def _serve(settings: Settings, config: Path | None) -> int:
    _say(f"preparing {settings.site.var}/")
    startup.begin()  # what prepares is loaded here
    sign_in = prepare(settings)
    startup.done()
    in_front = kamailio.usable(settings)
    check_kamailio(settings, in_front)
    with (settings.site.var / "log" / "supervisor.log").open("a") as stream:
        configure_logs(settings.site.log_level, stream)
        supervisor = Supervisor(
            [*_in_front(settings, config, in_front), *_children(settings, config, in_front)]
        )
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: supervisor.request_stop())
        os.environ["PAYCALL_SUPERVISED"] = "1"
        try:
            if status := supervisor.start(START_S, _say):
                return status
            _welcome(settings, sign_in, in_front)
            supervisor.watch()
        finally:
            _say("stopping")
            supervisor.stop()
        _say("stopped; everything is kept in " + str(settings.site.var) + "/")
    return 0


@contextlib.contextmanager
def _alone(var: Path) -> Iterator[None]:
    """Hold the folder's lock: a second ``serve`` in it would take the first one's sockets away."""
    _make_folder(var, var)
    try:
        fd = os.open(var / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        raise SettingsError(f"setting site.var: nothing can be written in {var}") from None
    with os.fdopen(fd, "r+") as lock:  # it is kept: removing it would let two processes lock two files
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip()
            raise SettingsError(f"paycall is running already in {var}/ (process {holder})") from None
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _make_folder(folder: Path, var: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        raise SettingsError(f"setting site.var: the folder {var} cannot be made") from None


def run_prepare(args: argparse.Namespace) -> int:
    """``paycall prepare``: the first start's preparations alone, for processes that are started one by one."""
    settings = load_settings(args.config)
    if unknown := set(args.processes) - set(NAMES):
        raise SettingsError(f"there is no process {min(unknown)}: name {', '.join(NAMES)}")
    if not args.processes:
        _say(prepare(settings))
        return 0
    _make_folders(settings.site.var)
    for name in args.processes:
        _say(_PREPARATIONS[name](settings))
    return 0


def prepare(settings: Settings) -> str:
    """Make directories, first keys, certificates, the simulator's API key, the first operator; keeps what is there.

    Returns the line that says how to sign in.
    """
    from paycall.certs_command import issue

    _make_folders(settings.site.var)
    issue(settings.site.certificates, ["localhost", "127.0.0.1"])
    for name in ("vault", "media", "sandbox"):
        _PREPARATIONS[name](settings)
    return _prepare_panel(settings)


def _make_folders(var: Path) -> None:
    os.umask(0o077)
    for folder in ("", "run", "log", "panel", "vault", "sandbox"):
        _make_folder(var / folder, var)
    if len(str(var.absolute())) > 80:
        raise SettingsError("setting site.var: the path is too long for the sockets in it (80 characters)")


def _prepare_vault(settings: Settings) -> str:
    from paycall.vault.keys import create_key_file

    file = settings.vault.key_file
    if settings.vault.key_provider != "file":
        return f"the vault's keys are with {settings.vault.key_provider}"
    try:
        if not file.exists():
            create_key_file(file)
    except OSError:
        raise SettingsError("setting vault.key_file: the file cannot be made") from None
    return f"the vault's keys are in {file}"


def _prepare_media(settings: Settings) -> str:
    from paycall.media.recording import create_keys

    recording = settings.media.recording
    create_keys(recording.private_key, recording.public_key)
    return f"recordings are sealed with {recording.public_key}"


def _prepare_sandbox(settings: Settings) -> str:
    file = settings.sandbox.api_key_file
    if not file.exists():
        write_secret(file, secrets.token_urlsafe(24))
    return f"the simulator's API key is in {file}"


def _prepare_panel(settings: Settings) -> str:
    from paycall.panel.first_operator import create_first_operator
    from paycall.store.database import open_database

    var = settings.site.var
    database = open_database(settings.panel.database_url.get_secret_value())
    try:
        created = create_first_operator(database, settings.site.language)
    finally:
        database.dispose()
    note = var / "first-operator.txt"
    if created is not None:
        write_secret(note, f"{created[0]} {created[1]}")
        return (
            f'sign in as "{created[0]}" with the password {created[1]} (kept in {note} until you delete it)'
        )
    return f"sign in as before (the first account is in {note})" if note.exists() else "sign in as before"


_PREPARATIONS = {
    "vault": _prepare_vault,
    "media": _prepare_media,
    "sandbox": _prepare_sandbox,
    "panel": _prepare_panel,
}


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only this user can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def _children(settings: Settings, config: Path | None, in_front: Sequence[str]) -> list[Child]:
    names = [name for name in NAMES if name != "sandbox" or settings.sandbox.enabled]
    return [
        Child(
            name=name,
            command=[sys.executable, "-m", "paycall", name, *(["--config", str(config)] if config else [])],
            log_path=settings.site.var / "log" / f"{name}.log",
            ready=partial(is_ready, name, settings),
            environment=_environment(name, settings, in_front),
        )
        for name in names
    ]


def _environment(name: str, settings: Settings, in_front: Sequence[str]) -> dict[str, str]:
    """What a process is given at once; it would start again with what its interpreter has to read at its start."""
    if name == "vault":
        return vault_hardening.ENVIRONMENT
    if name == "media":
        return media_hardening.ENVIRONMENT | kamailio.environment(settings, in_front)
    return {}


def _in_front(settings: Settings, config: Path | None, instances: Sequence[str]) -> list[Child]:
    """Kamailio's instances: started before the cells, stopped after them."""
    own = ["--config", str(config)] if config else []
    return [
        Child(
            name=f"kamailio-{instance}",
            command=[sys.executable, "-m", "paycall", "kamailio", "--run", instance, *own],
            log_path=settings.site.var / "log" / f"kamailio-{instance}.log",
            ready=partial(sip_answers, *kamailio.listening(settings.kamailio, settings.media, instance)),
            outlives=True,
        )
        for instance in instances
    ]


def _welcome(settings: Settings, sign_in: str, in_front: Sequence[str]) -> None:
    media, panel = settings.media, settings.panel
    ports = [media.first_sip_port + n for n in range(media.cells)]
    _say("")
    _say(f"  panel      http://{panel.host}:{panel.port}/   {sign_in}")
    if "carrier" in in_front:
        address, port = kamailio.listening(settings.kamailio, media, "carrier")
        _say(f"  callers    sip:anything@{address}:{port}   (Kamailio, in front of {media.cells} cells)")
    else:
        _say(
            f"  callers    sip:anything@{media.address}:{ports[0]}"
            + (f" to :{ports[-1]}" if len(ports) > 1 else "")
        )
    if "operators" in in_front:
        address, port = kamailio.listening(settings.kamailio, media, "operators")
        _say(f"  phones     operators' phones register at {address}:{port}")
    _say(f"  operator   paycall rings {media.agent_uri}")
    _say("  no phone?  the panel has a button that makes a test call")
    if settings.sandbox.enabled:
        _say(
            "  acquirer   the built-in simulator: 4242 4242 4242 4242 is approved, 4000 0000 0000 9995 declined"
        )
    _say(f"  logs       {settings.site.var}/log/      Ctrl-C stops everything")
    _say("")


def _say(text: str) -> None:
    sys.stdout.write((f"paycall: {text}" if text and not text.startswith("  ") else text) + "\n")
    sys.stdout.flush()
