"""Every key provider keeps the same promises: SoftHSM2 for real, transit as a fake of its documents, KMS as moto."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from paycall import keys_command
from paycall.domain.errors import (
    InputError,
    NotFoundError,
    SettingsError,
    StateError,
    TamperedError,
    VaultUnavailableError,
)
from paycall.settings import VaultSettings
from paycall.vault.keys import KeyRing, create_key_file, open_provider
from paycall.vault.providers.base import KeyProvider, WrappedKey
from paycall.vault.providers.shares import create_shared, read_share
from tests.fakes.transit import TOKEN, Transit
from tests.fakes.vault_harness import VaultHarness

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def secret(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SoftHSM2 with a token for the run: its library reads its configuration once a process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "conf")
    words = ["--init-token", "--free", "--label", "paycall", "--pin", "1234", "--so-pin", "4321"]
    subprocess.run(["softhsm2-util", *words], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(params=["file", "shares", "pkcs11", "hashicorp", "aws-kms"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VaultSettings]:
    """Each provider in turn, with one version."""
    name = request.param
    key_file = tmp_path / "keys.json"
    if name == "file":
        create_key_file(key_file)
        yield VaultSettings(key_file=key_file)
    elif name == "shares":
        files = tuple(Path(secret(tmp_path / f"share{n}", s)) for n, s in enumerate(create_shared(key_file)))
        yield VaultSettings(key_file=key_file, key_provider="shares", share_files=files)
    elif name == "pkcs11":
        folder = request.getfixturevalue("softhsm")
        options = {
            "module": str(SOFTHSM),
            "token_label": "paycall",
            "pin_file": secret(folder / "pin", "1234"),
            "prefix": tmp_path.name,
        }
        yield _with_first_key(VaultSettings(key_provider="pkcs11", key_options=options))
    elif name == "hashicorp":
        server = Transit()
        options = {"url": server.url, "token_file": secret(tmp_path / "token", TOKEN)}
        try:
            yield _with_first_key(VaultSettings(key_provider="hashicorp", key_options=options))
        finally:
            server.stop()
    else:
        with mock_aws():
            made = VaultSettings(key_provider="aws-kms", key_options={"region": "eu-central-1"})
            yield _with_first_key(made)


def _with_first_key(settings: VaultSettings) -> VaultSettings:
    provider = open_provider(settings)
    with pytest.raises((VaultUnavailableError, NotFoundError)):
        provider.wrap(b"k" * 32, b"c")
    assert provider.rotate() == 1
    provider.close()
    return settings


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(TamperedError):
        call()


def test_a_provider_wraps_rotates_retires_and_refuses_what_was_changed(settings: VaultSettings) -> None:
    provider: KeyProvider = open_provider(settings)
    old = provider.wrap(b"k" * 32, b"context")
    assert (old.version, provider.unwrap(old, b"context")) == (1, b"k" * 32)
    assert b"k" * 32 not in old.blob and provider.wrap(b"k" * 32, b"context").blob != old.blob
    refused(lambda: provider.unwrap(old, b"other context"))
    refused(lambda: provider.unwrap(WrappedKey(1, old.blob[:-1] + bytes([old.blob[-1] ^ 1])), b"context"))
    refused(lambda: provider.unwrap(WrappedKey(1, b""), b"context"))
    assert provider.rotate() == 2
    new = provider.wrap(b"n" * 32, b"context")
    assert new.version == 2 and [(v.version, v.active) for v in provider.versions()] == [
        (1, False),
        (2, True),
    ]
    assert provider.unwrap(old, b"context") == b"k" * 32
    with pytest.raises((TamperedError, VaultUnavailableError)):
        provider.unwrap(WrappedKey(1, new.blob), b"context")
    with pytest.raises((TamperedError, VaultUnavailableError)):  # KMS says "access denied"
        provider.unwrap(WrappedKey(2, old.blob), b"context")
    refused(lambda: provider.unwrap(WrappedKey(9, old.blob), b"context"))
    with pytest.raises(StateError):
        provider.destroy(2)
    with pytest.raises(NotFoundError):
        provider.destroy(9)
    provider.destroy(1)
    assert [v.version for v in provider.versions()] == [2]
    refused(lambda: provider.unwrap(old, b"context"))
    provider.close()
    again = open_provider(settings)
    assert again.unwrap(new, b"context") == b"n" * 32
    again.close()


def test_a_payment_with_every_provider(settings: VaultSettings, tmp_path: Path) -> None:
    vault = VaultHarness(tmp_path / "site")
    names = ("key_provider", "key_options", "share_files", "key_file")
    vault.changes = {name: getattr(settings, name) for name in names}

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            await asyncio.to_thread(client.apps.services.ring.provider.rotate)
            while await asyncio.to_thread(client.apps.services.renew_keys):
                pass
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_a_retired_key_is_refused_by_the_module_itself(softhsm: Path) -> None:
    from pkcs11 import Attribute

    from paycall.vault.providers.pkcs11 import Pkcs11Keys

    keys = Pkcs11Keys(SOFTHSM, "paycall", "1234", prefix="by-itself")
    keys.rotate()
    keys.rotate()
    retired = keys._keys()[0][2]
    assert retired[Attribute.EXTRACTABLE] is False and retired[Attribute.SENSITIVE] is True
    assert retired[Attribute.ENCRYPT] is False and retired[Attribute.DECRYPT] is True
    keys.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library's own finaliser
def test_a_session_that_broke_is_opened_anew(softhsm: Path) -> None:
    from paycall.vault.providers.pkcs11 import Pkcs11Keys

    keys = Pkcs11Keys(SOFTHSM, "paycall", "1234", prefix="broken")
    keys.rotate()
    wrapped = keys.wrap(b"k" * 32, b"c")
    keys._session.close()
    with pytest.raises(VaultUnavailableError):
        keys.unwrap(wrapped, b"c")
    assert keys.unwrap(wrapped, b"c") == b"k" * 32
    keys.close()


def test_a_transit_server_that_is_down_refuses_or_has_another_token_is_unavailable(tmp_path: Path) -> None:
    server = Transit()
    from paycall.vault.providers.hashicorp import HashicorpKeys

    keys = HashicorpKeys(server.url, TOKEN)
    keys.rotate()
    wrapped = keys.wrap(b"k" * 32, b"c")
    with pytest.raises(VaultUnavailableError):
        HashicorpKeys(server.url, "another").unwrap(wrapped, b"c")
    server.stop()
    with pytest.raises(VaultUnavailableError):
        keys.unwrap(wrapped, b"c")
    keys.close()


def test_two_custodians_are_needed_and_typing_mistakes_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (tmp_path / "first", tmp_path / "second")
    config = tmp_path / "paycall.toml"
    config.write_text(f'[vault]\nkey_provider = "shares"\nkey_file = "{tmp_path}/keys.json"\n')
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=config)
    keys_command.add_arguments(parser)
    assert keys_command.run(parser.parse_args(["shares", *map(str, files)])) == 0
    assert files[0].stat().st_mode & 0o777 == 0o600
    first = files[0].read_text().strip()
    assert first not in capsys.readouterr().out and first not in (tmp_path / "keys.json").read_text()
    with pytest.raises(StateError):
        keys_command.run(parser.parse_args(["shares", *map(str, files)]))

    def opened(*shares: Path) -> KeyProvider:
        return open_provider(
            VaultSettings(key_file=tmp_path / "keys.json", key_provider="shares", share_files=shares)
        )

    ring = KeyRing(opened(*files), "site")
    assert KeyRing(opened(*reversed(files)), "site").open(ring.new("tok").wrapped, "tok")
    with pytest.raises(SettingsError, match="do not belong"):
        opened(files[0], files[0])
    with pytest.raises(SettingsError, match="name two files"):
        opened(files[0])
    with pytest.raises(SettingsError):  # without the master key it is no key file
        open_provider(VaultSettings(key_file=tmp_path / "keys.json"))
    assert read_share(first.lower().replace("-", " ")) == read_share(first)
    swapped = first[1] + first[0] + first[2:] if first[0] != first[1] else "A" + first[1:]
    for wrong in ("", first[:-1], swapped, first + "A", "0" + first[1:]):
        with pytest.raises(InputError):
            read_share(wrong)
    files[1].chmod(0o644)
    with pytest.raises(SettingsError, match="0600"):
        opened(*files)


@pytest.mark.parametrize(
    ("provider", "options", "named"),
    [
        ("pkcs11", {}, "module"),
        (
            "pkcs11",
            {"module": "/nonexistent.so", "token_label": "x", "pin_file": "PIN"},
            "module or token_label",
        ),
        (
            "pkcs11",
            {"module": str(SOFTHSM), "token_label": "none", "pin_file": "PIN"},
            "module or token_label",
        ),
        ("pkcs11", {"module": str(SOFTHSM), "token_label": "paycall", "pin_file": "PIN"}, "pin is wrong"),
        (
            "hashicorp",
            {"url": "http://127.0.0.1:1", "token_file": "/nonexistent"},
            "token_file cannot be read",
        ),
        ("aws-kms", {"region": "eu-central-1", "regoin": "x"}, "regoin"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(
    softhsm: Path, tmp_path: Path, provider: str, options: dict[str, str], named: str
) -> None:
    pin = secret(tmp_path / "pin", "9999")
    filled = {name: pin if value == "PIN" else value for name, value in options.items()}
    with pytest.raises(SettingsError, match=named):
        open_provider(VaultSettings.model_validate({"key_provider": provider, "key_options": filled}))
