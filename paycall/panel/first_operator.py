"""The first account, made when the panel starts with an empty database."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from paycall.panel.roles import Role
from paycall.panel.services.accounts import add_operator, count_operators, hash_password, new_password
from paycall.panel.services.audit import note
from paycall.store.database import reading, writing

FIRST_NAME = "admin"


def create_first_operator(engine: Engine, language: str = "en") -> tuple[str, str] | None:
    """Make the account ``admin`` if there is no account yet.

    Returns
    -------
    tuple or None
        Name and password, to be shown once; None if there are accounts already.
    """
    now = datetime.now(UTC)
    with reading(engine) as session:
        if count_operators(session):
            return None
    password = new_password()
    hashed = hash_password(password)
    with writing(engine) as session:
        if count_operators(session):
            return None
        operator_id = add_operator(
            session,
            FIRST_NAME,
            Role.ADMINISTRATOR,
            now,
            password=hashed,
            display_name="Administrator",
            language=language,
            must_change_password=False,  # it is random, and shown to one person once
        )
        note(session, now, operator_id, "operator-add", target=operator_id)
    return FIRST_NAME, password
