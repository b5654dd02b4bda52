"""What Kamailio needs of a site, as text: addresses and limits, the list of cells, carriers, phones, TLS.

The two configurations themselves lie in ``config/kamailio``; they are copied, never changed. Rules: text out of
settings and node states only, no I/O but ``read_phones`` and ``write_folder``; a phone's password is never kept,
only its HA1 (RFC 7616, section 3.4.2), which is worth the same to a thief: the folder is for its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paycall.domain.errors import SettingsError
from paycall.settings import KamailioSettings, MediaSettings, Settings

CONFIGURATIONS = Path(__file__).parent.parent / "config" / "kamailio"
INSTANCES = ("carrier", "operators")
_PHONES_HEAD = "name(string) ha1(string)"
_MAX_SOCKET_PATH_BYTES = 107


def find_program(name: str) -> str | None:
    """The path of ``kamailio`` or ``kamcmd``; Debian keeps them where a user's PATH does not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def listening(settings: KamailioSettings, media: MediaSettings, instance: str) -> tuple[str, int]:
    """Address and port (UDP and TCP) of an instance."""
    if instance == "carrier":
        return settings.carrier_address or media.address, settings.carrier_port
    return settings.operators_address or media.address, settings.operators_port


def usable(settings: Settings) -> tuple[str, ...]:
    """The instances that ``paycall serve`` puts in front, their files written: none without Kamailio.

    The operators' one only where a phone has a password (``paycall kamailio --phone``).
    """
    section = settings.kamailio
    if not section.enabled or find_program("kamailio") is None or not CONFIGURATIONS.is_dir():
        return ()
    folder = write_folder(section, settings.media, cells_text(cells_of(settings.media)))
    wanted = INSTANCES if read_phones(folder) else INSTANCES[:1]
    return tuple(instance for instance in wanted if accepts(folder, instance))


def environment(settings: Settings, in_front: Sequence[str]) -> dict[str, str]:
    """What cells behind these instances have to know of them, as settings beside the site's own.

    Whose calls are operators' (the operators' instance asks each phone for its password), and where a registrar sends
    its calls.
    """
    media, known = settings.media, {}
    if "operators" in in_front:
        address, port = listening(settings.kamailio, media, "operators")
        known["PAYCALL_MEDIA__OPERATOR_NETWORKS"] = ",".join(
            {**dict.fromkeys(media.operator_networks), f"{address}:{port}": None}
        )
    if "carrier" in in_front and media.trunk.registrar is not None and media.trunk.contact is None:
        address, port = listening(settings.kamailio, media, "carrier")
        known["PAYCALL_MEDIA__TRUNK__CONTACT"] = f"sip:{media.trunk.username or 'paycall'}@{address}:{port}"
    return known


def command(folder: Path, instance: str) -> list[str]:
    """The command line of an instance: in the foreground, its words on stderr.

    Raises
    ------
    SettingsError
        If Kamailio is not installed.
    """
    program = find_program("kamailio")
    if program is None:
        raise SettingsError("Kamailio is not installed on this machine")
    memory = ["-m", "64", "-M", "8"]  # MB shared and of each process; TLS refuses to work with half of it
    places = ["-Y", str(folder), "-w", str(folder), "-f", str(folder / f"{instance}.cfg")]
    return [program, "-DD", "-E", *memory, *places]


def accepts(folder: Path, instance: str) -> bool:
    """Whether Kamailio reads the instance's configuration without complaint (modules that lack are one)."""
    checking = [*command(folder, instance), "-c"]
    return subprocess.run(checking, capture_output=True, timeout=30, check=False).returncode == 0


def site_text(settings: KamailioSettings, media: MediaSettings, folder: Path) -> str:
    """``site.cfg``: what this site defines for both instances.

    Raises
    ------
    SettingsError
        If the folder's path is too long for a socket in it.
    """
    if len(os.fsencode(folder)) + len("/operators.sock") > _MAX_SOCKET_PATH_BYTES:
        raise SettingsError("setting kamailio.folder: the path is too long for the sockets in it")
    defines = {
        "CELLS_FILE": _quoted(folder / "cells.list"),
        "PHONES_FOLDER": f'"text://{folder}/phones"',
        "REALM": f'"{settings.realm}"',
        "OPERATOR_HEADER": f'"{media.operator_header}"',
        "FLOOD_REQUESTS": str(settings.requests_per_source),
        "CELL_RATE": f'"{settings.new_calls_per_cell_s}"',
        "WORKERS": str(settings.workers),
    }
    for instance in INSTANCES:
        address, port = listening(settings, media, instance)
        name = instance.upper()
        defines[f"{name}_LISTEN"] = f"udp:{address}:{port}"
        defines[f"{name}_LISTEN_TCP"] = f"tcp:{address}:{port}"
        defines[f"{name}_CTL"] = f'"unix:{folder}/{instance}.sock"'
        if settings.tls_certificate is not None:
            defines[f"{name}_LISTEN_TLS"] = f"tls:{address}:{port + 1}"
    if settings.tls_certificate is not None:
        defines["TLS_CONFIG"] = _quoted(folder / "tls.cfg")
    if settings.carriers:
        defines["CARRIERS_FILE"] = _quoted(folder / "carriers.list")
    head = (
        "# Written by `paycall kamailio` from paycall's settings: changes here are lost, make them there.\n"
    )
    return head + "".join(f"#!define {name} {value}\n" for name, value in defines.items())


def cells_text(cells: Iterable[tuple[str, int]]) -> str:
    """The dispatcher's list. ``cells`` are address and SIP port; each is listed once."""
    return "".join(
        f"1 sip:{address}:{port} 0 0 duid={address}_{port}\n" for address, port in sorted(set(cells))
    )


def cells_of(media: MediaSettings) -> list[tuple[str, int]]:
    """Address and SIP port of every cell that a node with these settings has."""
    return [(media.address, media.first_sip_port + index) for index in range(media.cells)]


def carriers_text(networks: Iterable[str]) -> str:
    """Who may call in: a line for each network (``permissions``' address file)."""
    lines = []
    for network in networks:
        address, _, bits = network.partition("/")
        lines.append(f"1 {address} {bits or 32}\n")
    return "".join(lines)


def tls_text(settings: KamailioSettings) -> str:
    """``tls.cfg``: the certificate that is shown; who is called over TLS must show one of ``tls_ca``."""
    certificate, key = settings.tls_certificate, settings.tls_key
    assert certificate is not None  # noqa: S101
    own = f"certificate = {certificate.absolute()}\nprivate_key = {(key or certificate).absolute()}\n"
    # Each process of Kamailio's reads these: all authorities of the system cost 15 s at the start.
    trusted = f"ca_list = {settings.tls_ca.absolute()}\n" if settings.tls_ca is not None else ""
    return (
        f"[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n{own}\n"
        f"[client:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n"
        f"{trusted}{own}"
    )


def ha1(name: str, realm: str, password: str) -> str:
    """What a registrar keeps of a password (RFC 7616, section 3.4.2). MD5 is what phones' digests use."""
    return hashlib.md5(f"{name}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


def phones_text(phones: Mapping[str, str]) -> str:
    """The table of phones (``db_text``): name and HA1."""
    return "\n".join([_PHONES_HEAD, *(f"{name}:{value}" for name, value in sorted(phones.items()))]) + "\n"


def read_phones(folder: Path) -> dict[str, str]:
    """The phones of a folder: name -> HA1."""
    try:
        lines = (folder / "phones" / "phones").read_text("ascii").splitlines()
    except FileNotFoundError:
        return {}
    return {name: value for name, _, value in (line.partition(":") for line in lines[1:]) if value}


def write_phones(folder: Path, phones: Mapping[str, str]) -> None:
    """Replace the table of phones; a running Kamailio reads it at ``htable.reload phones``.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    path = folder / "phones" / "phones"
    before_s = int(path.stat().st_mtime) if path.exists() else 0
    write_file(path, phones_text(phones))
    # Kamailio compares whole seconds: a second change within one would not be seen.
    modified_s = max(int(path.stat().st_mtime), before_s + 1)
    os.utime(path, (modified_s, modified_s))


def write_folder(settings: KamailioSettings, media: MediaSettings, cells: str | None) -> Path:
    """Write everything that both instances read; a file is replaced as a whole or not at all.

    Parameters
    ----------
    settings
        Kamailio's section; its ``folder`` is where.
    media
        The node's section.
    cells
        The list of cells; None keeps the one that is there.

    Raises
    ------
    SettingsError
        If the folder cannot be written, or the configurations are not where paycall was installed.
    """
    folder = settings.folder.absolute()
    files = {
        "site.cfg": site_text(settings, media, folder),
        "carriers.list": carriers_text(settings.carriers),
    }
    if settings.tls_certificate is not None:
        files["tls.cfg"] = tls_text(settings)
    if cells is not None:
        files["cells.list"] = cells
    if not (folder / "phones" / "phones").exists():
        files["phones/phones"] = phones_text({})
    try:
        for name in ("common", *INSTANCES):
            files[f"{name}.cfg"] = (CONFIGURATIONS / f"{name}.cfg").read_text("utf-8")
    except OSError:
        raise SettingsError(f"Kamailio's configurations are not in {CONFIGURATIONS}") from None
    for name, text in files.items():
        write_file(folder / name, text)
    return folder


def write_file(path: Path, text: str) -> None:
    """Replace a file at once: whoever reads it sees the old one or the new one.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        raise SettingsError(f"setting kamailio.folder: {path} cannot be written") from None


def _quoted(path: Path) -> str:
    return f'"{path}"'
