"""People who may sign in: names, passwords, lock-out.

Rules (PCI DSS 8.3): at least 12 characters with letters and digits, none of the last four, locked for 30 minutes
after 10 wrong tries. Whether a name exists is not told: not by words and not by time. A password is hashed and
compared before a transaction begins, never inside one: it is slow on purpose, and everybody else would wait.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError, NotAllowedError, NotFoundError, StateError
from paycall.domain.ids import new_id
from paycall.panel.roles import Role
from paycall.panel.services.audit import PANEL, note
from paycall.store.tables import InvitationRow, OperatorRow, PasskeyRow, SessionRow

MAX_TRIES = 10
LOCKED_FOR = timedelta(minutes=30)
MIN_LENGTH = 12
_REMEMBERED = 4
_INVITED_FOR = timedelta(days=3)
_WORDS = "abcdefghjkmnpqrstuvwxyz"
_HASHER = PasswordHasher()


@cache
def _nobody() -> str:
    """Verified when there is no such name, so that the answer takes as long."""
    return _HASHER.hash(secrets.token_urlsafe(16))


class SignInError(NotAllowedError):
    """Name or password is wrong; it is not told which."""

    code = "sign-in-failed"
    text = "the name or the password is wrong"


class LockedError(NotAllowedError):
    """Too many wrong tries, or an administrator locked the account."""

    code = "locked"
    text = "this account is locked; wait half an hour or ask an administrator"


class WeakPasswordError(InputError):
    """The password does not meet the rules."""

    code = "weak-password"
    text = "a password needs at least 12 characters with letters and digits, and none of the last four"


class InvitationOverError(NotFoundError):
    """The link was used, is too old, or never was."""

    code = "invitation-over"
    text = "this invitation is no longer good; ask an administrator for a new one"


def check_password_rules(password: str) -> None:
    """Refuse a password that is too simple.

    Raises
    ------
    WeakPasswordError
        If it is shorter than 12 characters, or has no letter, or no digit.
    """
    long_enough = MIN_LENGTH <= len(password) <= 200
    if not (long_enough and any(c.isalpha() for c in password) and any(c.isdigit() for c in password)):
        raise WeakPasswordError


@dataclass(frozen=True)
class HashedPassword:
    """A password as it is kept, and the former ones that it is none of."""

    value: str = field(repr=False)
    former: tuple[str, ...] = field(repr=False)


def hash_password(password: str, former: tuple[str, ...] = ()) -> HashedPassword:
    """Make a password ready for ``set_password``. Slow on purpose: never inside a transaction.

    Raises
    ------
    WeakPasswordError
        If it breaks the rules or is one of the former.
    """
    check_password_rules(password)
    if any(_matches(old, password) for old in former):
        raise WeakPasswordError
    return HashedPassword(_HASHER.hash(password), former)


def former_passwords(row: OperatorRow) -> tuple[str, ...]:
    """The hashes of the account's last four passwords, the present one among them."""
    return tuple(old for old in (row.password_hash, *row.old_password_hashes) if old)[:_REMEMBERED]


def new_password() -> str:
    """A password to hand out once: 20 characters in four groups."""
    groups = ["".join(secrets.choice(_WORDS) for _ in range(4)) for _ in range(3)]
    return "-".join([*groups, f"{secrets.randbelow(9000) + 1000}"])


def add_operator(
    session: Session,
    name: str,
    role: Role,
    now: datetime,
    *,
    password: HashedPassword | None = None,
    display_name: str = "",
    language: str = "en",
    agent_uri: str = "",
    must_change_password: bool = True,
) -> str:
    """Make an account; gives its id. Without a password nobody signs in with one.

    Raises
    ------
    InputError
        If the name is taken or not usable.
    """
    plain = _plain(name)
    if not plain or len(plain) > 60 or not all(c.isalnum() or c in "._-@" for c in plain):
        raise InputError("a name has 1 to 60 letters, digits, dots, dashes or @")
    alphabets = {unicodedata.name(c, "").partition(" ")[0] for c in plain if c.isalpha()}
    if len(alphabets) > 1 or "" in alphabets:  # some letters have no name: Tangut's, for one
        raise InputError("the letters of a name are of one alphabet")  # or it could look like another's
    if by_name(session, plain) is not None:
        raise InputError("this name is taken")
    row = OperatorRow(
        id=new_id("oper"),
        name=plain,
        display_name=display_name.strip() or name.strip(),
        role=role.value,
        password_hash=password.value if password else None,
        totp_last_step=0,
        old_password_hashes=[],
        must_change_password=must_change_password,
        failed_tries=0,
        locked=False,
        language=language,
        theme="auto",
        agent_uri=agent_uri,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def invite(session: Session, row: OperatorRow, now: datetime) -> str:
    """Take the account's password away and give the token of a link with which its owner sets a new one."""
    token = secrets.token_urlsafe(24)
    session.execute(delete(InvitationRow).where(InvitationRow.operator_id == row.id))
    session.add(InvitationRow(token_hash=_digest(token), operator_id=row.id, expires_at=now + _INVITED_FOR))
    row.password_hash = None
    row.locked = False
    row.locked_until = None
    end_sessions(session, row.id)
    return token


def invited(session: Session, token: str, now: datetime) -> OperatorRow:
    """The account that the link is for.

    Raises
    ------
    InvitationOverError
        If the link was used, or is too old, or never was.
    """
    found = session.get(InvitationRow, _digest(token))
    row = session.get(OperatorRow, found.operator_id) if found and found.expires_at > now else None
    if row is None or row.locked:
        raise InvitationOverError
    return row


def accept_invitation(session: Session, token: str, password: HashedPassword, now: datetime) -> OperatorRow:
    """Set the first password; the link is used up."""
    row = invited(session, token, now)
    set_password(session, row, password, must_change=False)
    session.execute(delete(InvitationRow).where(InvitationRow.operator_id == row.id))
    return row


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def by_name(session: Session, name: str) -> OperatorRow | None:
    """The account of this name."""
    return session.scalars(select(OperatorRow).where(OperatorRow.name == _plain(name))).first()


def _plain(name: str) -> str:
    """A name as it is kept: however it is typed, it is one account."""
    return unicodedata.normalize("NFKC", name).strip().lower()


def account_named(session: Session, name: str) -> OperatorRow:
    """The account of this name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    row = by_name(session, name)
    if row is None:
        raise NotFoundError("there is no account of this name")
    return row


def count_operators(session: Session) -> int:
    """How many accounts there are."""
    return session.scalar(select(func.count()).select_from(OperatorRow)) or 0


def set_password(session: Session, row: OperatorRow, password: HashedPassword, *, must_change: bool) -> None:
    """Give an account another password; every session of it ends.

    Raises
    ------
    StateError
        If the password was changed since this one was compared with the former ones.
    """
    former = former_passwords(row)
    if former != password.former:
        raise StateError("the password was changed meanwhile")
    row.old_password_hashes = [*former]
    row.password_hash = password.value
    row.must_change_password = must_change
    row.failed_tries = 0
    row.locked_until = None
    end_sessions(session, row.id)


def forget_factors(session: Session, row: OperatorRow) -> None:
    """Whoever lost phone or key starts anew: no one-time codes, no passkeys."""
    row.totp_sealed = None
    session.execute(delete(PasskeyRow).where(PasskeyRow.operator_id == row.id))


def end_sessions(session: Session, operator_id: str) -> None:
    """Sign the person out everywhere."""
    for found in session.scalars(select(SessionRow).where(SessionRow.operator_id == operator_id)):
        session.delete(found)


@dataclass(frozen=True)
class Known:
    """What is needed to check a sign-in, read before the slow part."""

    operator_id: str | None
    password_hash: str


def known(session: Session, name: str) -> Known:
    """The account of this name, or one that nobody can sign in to."""
    row = by_name(session, name)
    if row is None or row.password_hash is None:
        return Known(None, _nobody())
    return known_as(row)


def known_as(row: OperatorRow) -> Known:
    """What is needed to check the password of this account; no password fits one without."""
    return Known(row.id, row.password_hash or "")


def password_is_right(account: Known, password: str) -> bool:
    """Whether the password fits. Slow on purpose: never inside a transaction."""
    return _matches(account.password_hash, password)


def account_to_try(session: Session, account: Known, now: datetime) -> OperatorRow | None:
    """The account, locked for this transaction, as long as it is the one whose password was looked at.

    Raises
    ------
    LockedError
        If nobody signs in to it now, whatever they know.
    """
    if account.operator_id is None:
        return None
    row = session.get(OperatorRow, account.operator_id, with_for_update=True)
    if row is None or row.password_hash != account.password_hash:
        return None
    if is_locked(row, now):
        raise LockedError
    return row


def note_failure(session: Session, row: OperatorRow, now: datetime) -> None:
    """Count a wrong password or code; the tenth locks the account."""
    row.failed_tries += 1
    if row.failed_tries >= MAX_TRIES:
        row.failed_tries = 0
        row.locked_until = now + LOCKED_FOR
        note(session, now, PANEL, "operator-lock", target=row.id, result="locked")


def note_success(row: OperatorRow) -> None:
    """Every factor was right: wrong tries are forgotten. A right password alone forgives none: codes are short."""
    row.failed_tries = 0
    row.locked_until = None


def is_locked(row: OperatorRow, now: datetime) -> bool:
    """Whether nobody signs in to the account now, whatever they know or have."""
    return row.locked or (row.locked_until is not None and row.locked_until > now)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
