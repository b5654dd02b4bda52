"""Whatever is changed, moved or swapped in the card table is noticed before anything is sent."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from base64 import b64encode
from pathlib import Path

import pytest

from paycall.domain.errors import NotFoundError, SettingsError, StateError, TamperedError
from paycall.vault import crypto
from paycall.vault.keys import KeyRing, create_key_file
from paycall.vault.providers.base import WrappedKey
from paycall.vault.providers.file import FileKeys
from tests.fakes.vault_harness import NUMBER, OTHER_NUMBER, Client, VaultHarness


def change(vault: VaultHarness, statement: str, *values: object) -> None:
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    with connection:
        connection.execute(statement, values)
    connection.close()


def row(vault: VaultHarness, payment_id: str) -> dict[str, object]:
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    connection.row_factory = sqlite3.Row
    found = dict(connection.execute("SELECT * FROM cards WHERE payment_id = ?", (payment_id,)).fetchone())
    connection.close()
    return found


async def refused(client: Client, payment_id: str, token: str) -> None:
    """Neither shown nor charged, and a clear error."""
    shown = await client.panel.get(f"/v1/payments/{payment_id}/card")
    charged = await client.authorize(payment_id, token)
    for answer in (shown, charged):
        assert (answer.status_code, answer.json()["code"]) == (500, "tampered")


FLIPPED = ["wrapped_key", "pan", "expiry", "postal_code", "seal", "fingerprint"]
REPLACED: list[tuple[str, object]] = [
    ("brand", "amex"),
    ("brand", None),
    ("last4", "1111"),
    ("created_at", "2099-01-01T00:00:00+00:00"),
    ("kek_version", 2),
    ("code_keyed", 0),
    ("token", "tok_aaaaaaaaaaaaaaaaaaaaaa"),
    ("payment_id", "pay_aaaaaaaaaaaaaaaaaaaaaa"),
    ("expiry", None),
    ("origin", "tok_aaaaaaaaaaaaaaaaaaaaaa"),
    ("postal_code", None),
]


def test_every_column_has_a_tampering_test() -> None:
    from paycall.vault.tables import cards

    assert {*FLIPPED, *(name for name, _ in REPLACED)} == {column.name for column in cards.c}


@pytest.mark.parametrize("column", FLIPPED)
@pytest.mark.parametrize("where", [0, -1])
def test_a_flipped_bit_in_any_ciphertext_is_refused(vault: VaultHarness, column: str, where: int) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            await client.put(payment_id, "postal-code", "1051")
            value = bytearray(row(vault, payment_id)[column])  # type: ignore[arg-type]
            value[where] ^= 1
            change(vault, f"UPDATE cards SET {column} = ? WHERE payment_id = ?", bytes(value), payment_id)
            await refused(client, payment_id, token)
        assert vault.acquirer.calls == []

    asyncio.run(main())


@pytest.mark.parametrize(("column", "value"), REPLACED)
def test_another_value_in_any_column_is_refused(vault: VaultHarness, column: str, value: object) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            await client.put(payment_id, "postal-code", "1051")
            change(vault, f"UPDATE cards SET {column} = ? WHERE payment_id = ?", value, payment_id)
            payment_id = str(value) if column == "payment_id" else payment_id
            token = str(value) if column == "token" else token
            await refused(client, payment_id, token)
        assert vault.acquirer.calls == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "columns",
    [
        ("pan",),
        ("wrapped_key",),
        ("wrapped_key", "pan"),
        (
            "wrapped_key",
            "pan",
            "expiry",
            "postal_code",
            "seal",
            "fingerprint",
            "last4",
            "brand",
            "created_at",
        ),
    ],
)
def test_columns_moved_from_another_card_are_refused(vault: VaultHarness, columns: tuple[str, ...]) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            other_id, _ = await client.capture(OTHER_NUMBER)
            other = row(vault, other_id)
            for column in columns:
                change(
                    vault, f"UPDATE cards SET {column} = ? WHERE payment_id = ?", other[column], payment_id
                )
            await refused(client, payment_id, token)

    asyncio.run(main())


def test_a_ciphertext_moved_to_another_field_of_its_card_is_refused(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            await client.put(payment_id, "postal-code", "1231")
            change(vault, "UPDATE cards SET expiry = postal_code WHERE payment_id = ?", payment_id)
            await refused(client, payment_id, token)

    asyncio.run(main())


def test_swapped_rows_are_refused(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            other_id, other_token = await client.capture(OTHER_NUMBER)
            change(vault, "UPDATE cards SET payment_id = 'pay_x' WHERE token = ?", token)
            change(vault, "UPDATE cards SET payment_id = ? WHERE token = ?", payment_id, other_token)
            change(vault, "UPDATE cards SET payment_id = ? WHERE token = ?", other_id, token)
            await refused(client, payment_id, other_token)
            await refused(client, other_id, token)

    asyncio.run(main())


def test_a_row_of_another_site_is_refused(tmp_path: Path) -> None:
    create_key_file(tmp_path / "keys.json")
    keys = FileKeys(tmp_path / "keys.json")
    made = KeyRing(keys, "site a").new("tok_a")
    assert KeyRing(keys, "site a").open(made.wrapped, "tok_a") == made.key
    for site, purpose in (("site b", "tok_a"), ("site a", "tok_b"), ("site a", "fingerprint")):
        with pytest.raises(TamperedError):
            KeyRing(keys, site).open(made.wrapped, purpose)


def test_another_key_under_the_same_version_is_refused_at_the_start(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            await client.capture()
        document = json.loads(vault.key_file.read_text())
        document["keys"][0]["key"] = b64encode(bytes(range(32))).decode()
        vault.key_file.write_text(json.dumps(document))
        with pytest.raises(SettingsError, match="not those that this database was written with"):
            async with vault.running():
                pass

    asyncio.run(main())


def test_a_retired_key_decrypts_and_never_encrypts(tmp_path: Path) -> None:
    create_key_file(tmp_path / "keys.json")
    keys = FileKeys(tmp_path / "keys.json")
    old = keys.wrap(b"k" * 32, b"context")
    assert keys.rotate() == 2
    assert keys.unwrap(old, b"context") == b"k" * 32
    new = keys.wrap(b"k" * 32, b"context")
    assert new.version == 2 and [(v.version, v.active) for v in keys.versions()] == [(1, False), (2, True)]
    with pytest.raises(TamperedError):  # passed off as another version's
        keys.unwrap(WrappedKey(1, new.blob), b"context")
    with pytest.raises(StateError):
        keys.destroy(2)
    with pytest.raises(NotFoundError):
        keys.destroy(7)
    keys.destroy(1)
    with pytest.raises(TamperedError):
        keys.unwrap(old, b"context")


def test_a_key_file_that_others_may_read_or_that_is_not_one_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(SettingsError, match="missing"):
        FileKeys(path)
    create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError):
        create_key_file(path)
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="0600"):
        FileKeys(path)
    path.chmod(0o600)
    for content in ("", "{}", '{"format": "paycall-keys-1", "protected": false, "keys": []}'):
        path.write_text(content)
        with pytest.raises(SettingsError, match="not a key file"):
            FileKeys(path)


def test_parts_of_associated_data_cannot_run_into_each_other() -> None:
    assert crypto.associated_data("ab", "c") != crypto.associated_data("a", "bc")
    assert crypto.associated_data(None) != crypto.associated_data("")
    assert crypto.associated_data("a") != crypto.associated_data("a", "")


def test_a_card_number_and_its_fingerprint_cannot_be_joined_without_the_key(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            first, _ = await client.capture()
            second, _ = await client.capture()
            other, _ = await client.capture(OTHER_NUMBER)
            prints = [row(vault, payment)["fingerprint"] for payment in (first, second, other)]
            assert prints[0] == prints[1] != prints[2]
            assert row(vault, first)["pan"] != row(vault, second)["pan"]
            key = client.apps.services.tokenizer.fingerprint_key()
            assert NUMBER.encode() not in key and len(key) == 32

    asyncio.run(main())
