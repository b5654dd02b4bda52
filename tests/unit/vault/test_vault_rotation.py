"""Keys change while authorizations go on; nothing fails, nothing is lost, also when it breaks off in the middle."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from paycall import keys_command
from paycall.domain.errors import StateError, VaultUnavailableError
from paycall.vault.providers.base import KeyVersion, WrappedKey
from paycall.vault.providers.file import FileKeys
from tests.fakes.vault_harness import Client, VaultHarness


def versions(vault: VaultHarness) -> set[int]:
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    try:
        query = "SELECT kek_version FROM cards UNION SELECT kek_version FROM own_keys"
        return {version for (version,) in connection.execute(query)}
    finally:
        connection.close()


def test_rotation_under_load_fails_no_authorization(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            waiting = [await client.capture() for _ in range(40)]
            keys = FileKeys(vault.key_file)
            answers: list[str] = []

            async def charge() -> None:
                while waiting:
                    payment_id, token = waiting.pop()
                    answers.append((await client.authorize(payment_id, token)).json().get("outcome", "?"))
                    fresh = await client.capture()
                    answers.append((await client.authorize(*fresh)).json().get("outcome", "?"))

            async def rotate() -> None:
                for _ in range(3):
                    await asyncio.to_thread(keys.rotate)
                    while await asyncio.to_thread(client.apps.services.renew_keys):
                        await asyncio.sleep(0)

            await asyncio.gather(charge(), charge(), rotate())
            assert answers == ["approved"] * 80
            while await asyncio.to_thread(client.apps.services.renew_keys):
                pass
            assert versions(vault) == {4}
        keys.destroy(1)
        async with vault.running() as client:  # the old versions are not needed any more
            payment_id, _ = await client.capture()
            assert (await client.panel.get(f"/v1/payments/{payment_id}/card")).status_code == 200

    asyncio.run(main())


class FailingKeys:
    """The file's keys, which go away after a number of calls."""

    name = "file"

    def __init__(self, inner: FileKeys, calls: int) -> None:
        self._inner = inner
        self.calls = calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise VaultUnavailableError("the key provider cannot be reached")

    def versions(self) -> tuple[KeyVersion, ...]:
        return self._inner.versions()

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        self._count()
        return self._inner.wrap(data_key, context)

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        self._count()
        return self._inner.unwrap(wrapped, context)

    def rotate(self) -> int:
        return self._inner.rotate()

    def destroy(self, version: int) -> None:
        self._inner.destroy(version)

    def close(self) -> None:
        self._inner.close()


async def all_readable(client: Client, cards: list[tuple[str, str]]) -> None:
    for payment_id, _ in cards:
        assert (await client.panel.get(f"/v1/payments/{payment_id}/card")).json()["last4"] == "4242"


def test_a_rotation_that_breaks_off_is_taken_up_again(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            cards = [await client.capture() for _ in range(10)]
            ring = client.apps.services.ring
            FileKeys(vault.key_file).rotate()
            ring.provider = FailingKeys(FileKeys(vault.key_file), calls=8)
            with pytest.raises(VaultUnavailableError):
                client.apps.services.renew_keys()
            assert versions(vault) == {1, 2}
        async with vault.running() as client:
            await all_readable(client, cards)
            async with asyncio.timeout(40):  # the background work takes it up by itself
                while versions(vault) != {2}:
                    await asyncio.sleep(0.05)
            await all_readable(client, cards)

    asyncio.run(main())


def test_a_provider_that_is_down_is_a_clear_error_and_comes_back(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            ring = client.apps.services.ring
            working, ring.provider = ring.provider, FailingKeys(FileKeys(vault.key_file), calls=0)
            for answer in (
                await client.put(payment_id, "postal-code", "1051"),
                await client.authorize(payment_id, token),
                await client.panel.get(f"/v1/payments/{payment_id}/card"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "vault-unavailable")
            ring.provider = working
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_a_lost_key_file_is_a_clear_error_while_the_vault_runs(vault: VaultHarness, tmp_path: Path) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, _ = await client.capture()
            hidden = vault.key_file.rename(tmp_path / "elsewhere")
            answer = await client.panel.get(f"/v1/payments/{payment_id}/card")
            assert (answer.status_code, answer.json()["code"]) == (503, "vault-unavailable")
            hidden.rename(vault.key_file)
            assert (await client.panel.get(f"/v1/payments/{payment_id}/card")).status_code == 200

    asyncio.run(main())


def test_a_crash_while_the_key_file_is_written_leaves_the_old_one(vault: VaultHarness) -> None:
    before = vault.key_file.read_bytes()
    leftover = vault.key_file.with_name(".keys.json.123456")
    leftover.write_text('{"format": "paycall-ke')
    keys = FileKeys(vault.key_file)
    assert [v.version for v in keys.versions()] == [1] and vault.key_file.read_bytes() == before
    assert keys.rotate() == 2


def test_the_command_rotates_shows_and_retires(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = vault.directory / "paycall.toml"
    config.write_text(f'[vault]\nkey_file = "{vault.key_file}"\ndatabase_url = "{vault.database_url}"\n')

    def keys(*words: str) -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("--config", type=Path, default=config)
        keys_command.add_arguments(parser)
        return keys_command.run(parser.parse_args(words))

    async def main() -> None:
        async with vault.running() as client:
            await client.capture()
            assert keys("rotate") == 0
            with pytest.raises(StateError, match="less than a minute"):
                keys("retire", "1")
            monkeypatch.setattr(keys_command, "_SETTLED", keys_command._SETTLED * 0)
            with pytest.raises(StateError, match="2 rows are still under this version"):
                keys("retire", "1")
            with pytest.raises(StateError, match="rotate first"):
                keys("retire", "2")
            while client.apps.services.renew_keys():
                pass
            assert keys("retire", "1") == 0
            capsys.readouterr()
            assert keys("status", "--json") == 0
            shown = json.loads(capsys.readouterr().out)
            assert [(v["version"], v["state"], v["rows"]) for v in shown["versions"]] == [(2, "active", 2)]

    asyncio.run(main())
