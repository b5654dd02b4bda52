"""A fresh proof of who asks, for what could make an account somebody else's: its password, codes and passkeys.

Rules: a session alone changes none of these, or whoever finds a screen unlocked would keep the account. The proof
comes with the very request: the password, or a passkey; where the account has no password, a one-time code, or that
the identity provider has just asked the person anew. Wrong ones count as they do at sign-in, and every refusal is in
the audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from paycall.domain.errors import NotAllowedError, NotFoundError, PaycallError
from paycall.panel.roles import Principal
from paycall.panel.schemas import Proof
from paycall.panel.services import accounts, passkeys, second_factor
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.sessions import ASKED_ANEW
from paycall.store.database import reading, writing
from paycall.store.tables import OperatorRow, SessionRow

_ASKED_ANEW_FOR = timedelta(minutes=5)


class ProofNeededError(NotAllowedError):
    """The request came with nothing that proves who asks."""

    code = "proof-needed"
    text = "prove that it is you: with the password, a passkey or a one-time code"


class ProofRefusedError(NotAllowedError):
    """The proof was wrong."""

    code = "proof-refused"
    text = "this does not prove that it is you"


@dataclass(frozen=True)
class Ways:
    """With what the owner of an account proves it. ``done``: the identity provider has just asked."""

    password: bool
    code: bool
    passkey: bool
    provider: bool
    done: bool


def own(session: Session, principal: Principal) -> OperatorRow:
    """The account of who asks."""
    row = session.get(OperatorRow, principal.operator_id)
    if row is None:
        raise NotFoundError
    return row


def ways(session: Session, principal: Principal, now: datetime, *, has_provider: bool) -> Ways:
    """With what this one can prove who it is."""
    row = own(session, principal)
    has_password = row.password_hash is not None
    return Ways(
        password=has_password,
        code=not has_password and row.totp_sealed is not None,
        passkey=bool(passkeys.of_operator(session, row.id)),
        provider=not has_password and has_provider,
        done=not has_password and _asked_anew(session, principal, now),
    )


def prove(context: Context, principal: Principal, proof: Proof, where: passkeys.Where, address: str) -> None:
    """Raise unless the person of this session is there now.

    Raises
    ------
    ProofNeededError, ProofRefusedError, LockedError
        Nothing that this account proves it with; wrong; too often.
    """
    engine = context.deps.database
    with reading(engine) as session:
        account = accounts.known_as(own(session, principal))
    right = bool(proof.password) and accounts.password_is_right(account, proof.password or "")
    now = context.now()
    error: PaycallError | None = None
    with writing(engine) as session:
        row = session.get_one(OperatorRow, account.operator_id, with_for_update=True)
        if accounts.is_locked(row, now):
            error = accounts.LockedError()
        elif row.password_hash is not None and proof.password:
            error = _unless(right and row.password_hash == account.password_hash)
        elif proof.passkey is not None:
            error = _unless(_passkey_fits(session, row, proof.passkey, where, now))
        elif row.password_hash is None and row.totp_sealed is not None and proof.code:
            error = _unless(second_factor.check(row, proof.code, now, context.sealer))
        elif row.password_hash is not None or not _asked_anew(session, principal, now):
            error = ProofNeededError()
        if error is not None:
            note(session, now, row.id, "account-proof", target=row.id, result=error.code, address=address)
        if isinstance(error, ProofRefusedError):
            accounts.note_failure(session, row, now)
    if error is not None:
        raise error


def _unless(right: bool) -> ProofRefusedError | None:
    return None if right else ProofRefusedError()


def _passkey_fits(
    session: Session, row: OperatorRow, credential: dict[str, Any], where: passkeys.Where, now: datetime
) -> bool:
    try:
        passkeys.prove(session, row, credential, where, now)
    except PaycallError:
        return False
    return True


def _asked_anew(session: Session, principal: Principal, now: datetime) -> bool:
    """Whether this session is the answer to a question of minutes ago, which the provider put to the person."""
    found = session.get(SessionRow, principal.session_hash)
    return found is not None and found.method == ASKED_ANEW and found.created_at > now - _ASKED_ANEW_FOR
