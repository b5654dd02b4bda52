"""``paycall operator add|lock|reset|list``: accounts from the command line, when nobody can sign in."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime

from sqlalchemy import Engine, select

from paycall.domain.errors import PaycallError
from paycall.panel.roles import Role
from paycall.panel.services.accounts import (
    account_named,
    add_operator,
    end_sessions,
    forget_factors,
    former_passwords,
    hash_password,
    new_password,
    set_password,
)
from paycall.panel.services.audit import note
from paycall.settings_file import load_settings
from paycall.store.database import open_database, reading, writing
from paycall.store.tables import OperatorRow

_ACTOR = f"cli uid={os.getuid()}"
_SOURCE = "command line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make an account and print its first password")
    add.add_argument("name")
    add.add_argument("--role", choices=[role.value for role in Role], default=Role.OPERATOR.value)
    add.add_argument("--display-name", default="")
    add.add_argument("--language", choices=["en", "ru", "uk", "hu"], default="en")
    add.add_argument("--agent-uri", default="", help="the person's phone, such as sip:anna@pbx.example")
    for name, help_text in (
        ("lock", "lock an account and sign it out everywhere"),
        ("reset", "unlock an account and print a new password"),
    ):
        actions.add_parser(name, help=help_text).add_argument("name")
    actions.add_parser("list", help="list the accounts")


def run(args: argparse.Namespace) -> int:
    """Carry the command out; 0 if it worked, 1 with one line on standard error if not."""
    try:
        settings = load_settings(args.config)
        engine = open_database(settings.panel.database_url.get_secret_value())
        for line in _act(engine, args):
            sys.stdout.write(line + "\n")
    except PaycallError as error:
        sys.stderr.write(f"paycall operator: {error.text}\n")
        return 1
    return 0


def _act(engine: Engine, args: argparse.Namespace) -> list[str]:
    if args.action == "add":
        return _add(engine, args)
    if args.action == "lock":
        return _lock(engine, args.name)
    if args.action == "reset":
        return _reset(engine, args.name)
    return _list(engine)


def _add(engine: Engine, args: argparse.Namespace) -> list[str]:
    now, password = datetime.now(UTC), new_password()
    hashed = hash_password(password)
    with writing(engine) as session:
        operator_id = add_operator(
            session,
            args.name,
            Role(args.role),
            now,
            display_name=args.display_name,
            language=args.language,
            agent_uri=args.agent_uri,
            password=hashed,
        )
        note(session, now, _ACTOR, "operator-add", target=operator_id, address=_SOURCE)
    return [f"name: {args.name.strip().lower()}", f"password (shown once): {password}"]


def _lock(engine: Engine, name: str) -> list[str]:
    with writing(engine) as session:
        row = account_named(session, name)
        row.locked = True
        end_sessions(session, row.id)
        note(session, datetime.now(UTC), _ACTOR, "operator-lock", target=row.id, address=_SOURCE)
        return [f"{row.name} is locked"]


def _reset(engine: Engine, name: str) -> list[str]:
    password = new_password()
    with reading(engine) as session:
        former = former_passwords(account_named(session, name))
    hashed = hash_password(password, former)
    with writing(engine) as session:
        row = account_named(session, name)
        set_password(session, row, hashed, must_change=True)
        forget_factors(session, row)
        row.locked = False
        note(session, datetime.now(UTC), _ACTOR, "operator-reset", target=row.id, address=_SOURCE)
        return [f"name: {row.name}", f"password (shown once): {password}"]


def _list(engine: Engine) -> list[str]:
    with reading(engine) as session:
        rows = session.scalars(select(OperatorRow).order_by(OperatorRow.name)).all()
        return [f"{row.name}\t{row.role}\t{'locked' if row.locked else 'open'}" for row in rows] or [
            "no accounts"
        ]
