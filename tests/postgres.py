"""A private PostgreSQL for the tests: a cluster in a temporary directory, on a Unix socket, nothing left behind.

PostgreSQL refuses to run as root: then the Debian account ``postgres`` runs it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

_BINARIES = "/usr/lib/postgresql"


class PostgresMissing(RuntimeError):
    """There is no PostgreSQL on this machine."""


class Cluster:
    """A running cluster; ``create_database`` gives the URL of an empty database."""

    def __init__(self, folder: Path, binaries: Path, user: str) -> None:
        self._folder, self._binaries, self._user = folder, binaries, user

    def create_database(self) -> str:
        """An empty database of its own, as a SQLAlchemy URL."""
        name = f"test_{token_hex(4)}"
        self._run("createdb", "-h", str(self._folder), name)
        return f"postgresql+psycopg://{self._user}@/{name}?host={self._folder}"

    def stop(self) -> None:
        """Stop at once, as a crash would: what is committed is on the disk all the same."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start, or start again after ``stop``."""
        options = f"-k {self._folder} -c listen_addresses= -c max_connections=40 -c shared_buffers=32MB"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-w", "-t", "60", "-o", options, "start"
        )

    def initialise(self) -> None:
        """Make the cluster's files."""
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *words: str) -> None:
        owner = pwd.getpwnam(self._user)
        as_user = (
            {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        )
        subprocess.run(
            [self._binaries / program, *words],
            check=True,
            cwd=self._folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            timeout=120,
            **as_user,  # type: ignore[call-overload]
        )


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster for the length of the block.

    Raises
    ------
    PostgresMissing
        If PostgreSQL is not installed.
    """
    versions = sorted(Path(_BINARIES).glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions:
        raise PostgresMissing("PostgreSQL is not installed (Debian: apt install postgresql)")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="paycall-pg-", dir="/tmp"))  # a socket's path must be short
    try:
        if os.getuid() == 0:
            shutil.chown(folder, user)
        made = Cluster(folder, versions[-1], user)
        made.initialise()
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
