"""A database that cannot be opened is a wrong setting, and its address is told to nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from paycall.domain.errors import SettingsError
from paycall.store.database import open_database
from paycall.vault import database as vault_database


def open_vault(url: str) -> None:
    vault_database.migrate(vault_database.make_engine(url))


@pytest.mark.parametrize(("section", "opens"), [("panel", open_database), ("vault", open_vault)])
@pytest.mark.parametrize(
    "url", ["s3cret", "sqlite:///{}", "postgresql://paycall:s3cret@host:s3cret/x", "s3cret://x/y"]
)
def test_the_setting_is_named_and_the_address_is_not(
    section: str, opens: Callable[[str], object], url: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as error:
        opens(url.format(tmp_path))  # a folder is no database
    assert error.value.text.startswith(f"setting {section}.database_url: ")
    assert "s3cret" not in error.value.text
    assert str(tmp_path) not in error.value.text
    assert error.value.__cause__ is None
    assert error.value.__context__ is None or error.value.__suppress_context__
