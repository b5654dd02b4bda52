"""``paycall certs``: a site's own certificate authorities, one a role, and the certificates that they sign.

``init`` makes what is missing: the authorities ``server``, ``cell`` and ``panel`` (ten years) and a certificate
for each of ``vault``, ``hub`` (both from ``server``), ``cell`` and ``panel`` (397 days). ``renew`` signs new ones
under the same authorities; running processes take them for their next connection. ``status`` tells what ends when.
Keys are ECDSA P-256, files of mode 0600. The authorities' keys (``ca-*.key``) are only needed here: keep them off
the machines.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paycall.domain.errors import SettingsError
from paycall.settings_file import load_settings

CA_DAYS, LEAF_DAYS, WARNING_DAYS = 3650, 397, 30
AUTHORITIES = ("server", "cell", "panel")
# certificate -> the authority that signs it
LEAVES = {"vault": "server", "hub": "server", "cell": "cell", "panel": "panel"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    parser.add_argument("--folder", type=Path, help="where the files are (default: site.certificates)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, text in (("init", "make what is missing"), ("renew", "sign new certificates")):
        action = actions.add_parser(name, help=text)
        action.add_argument(
            "--host",
            action="append",
            default=[],
            help="a name or address under which vault and panel are reached (again for more)",
        )
    actions.add_parser("status", help="which certificate ends when; exit code 1 within 30 days")


def run(args: argparse.Namespace) -> int:
    """Carry out one subcommand; gives the exit code."""
    folder = args.folder or load_settings(args.config).site.certificates
    if args.action == "status":
        return _status(folder)
    issue(folder, args.host or ["localhost", "127.0.0.1"], renew=args.action == "renew")
    return _status(folder)


def issue(folder: Path, hosts: list[str], *, renew: bool = False) -> None:
    """Make authorities and certificates that are missing; with ``renew`` all certificates anew.

    Raises
    ------
    SettingsError
        If an authority's files are damaged, or its key is not here and something has to be signed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in AUTHORITIES:
        if not (folder / f"ca-{name}.pem").exists():
            _write_pair(folder / f"ca-{name}", *_authority(name))
    for name, authority in LEAVES.items():
        if renew or not (folder / f"{name}.pem").exists():
            _write_pair(folder / name, *_leaf(folder, name, authority, hosts))


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"paycall {name} CA")])
    builder = (
        _builder(subject, subject, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _leaf(
    folder: Path, name: str, authority: str, hosts: list[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    ca, ca_key = _read_authority(folder, authority)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"paycall {name}")])
    is_server = authority == "server"
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    names = (
        [_general_name(host) for host in hosts] if is_server else [x509.DNSName(f"{name}.paycall.invalid")]
    )
    builder = (
        _builder(subject, ca.subject, key, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    return builder.sign(ca_key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ a little
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _read_authority(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"ca-{name}.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / f"ca-{name}.key").read_bytes(), None)
    except (OSError, ValueError):
        raise SettingsError(f"the certificate authority ca-{name} (.pem, .key) cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"the key of the certificate authority ca-{name} is of another kind")
    return certificate, key


def _write_pair(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    for suffix, content in ((".key", secret), (".pem", certificate.public_bytes(serialization.Encoding.PEM))):
        neighbour = stem.with_name(f".{stem.name}{suffix}.new")
        with os.fdopen(os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        neighbour.replace(stem.with_name(stem.name + suffix))


def _status(folder: Path) -> int:
    soon = 0
    for name in (*(f"ca-{name}" for name in AUTHORITIES), *LEAVES):
        try:
            certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        except (OSError, ValueError):
            sys.stdout.write(f"{name:10} is missing or damaged\n")
            soon = 1
            continue
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        note = "" if left > timedelta(days=WARNING_DAYS) else "  renew now: paycall certs renew"
        soon |= bool(note)
        sys.stdout.write(
            f"{name:10} until {certificate.not_valid_after_utc:%Y-%m-%d} ({left.days} days){note}\n"
        )
    return soon
