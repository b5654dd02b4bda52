"""Passkeys (WebAuthn level 2, https://www.w3.org/TR/webauthn-2/): registering one, signing in
with one, proving that its owner is there.

Rules: the authenticator has to verify its user (a finger, a face, a PIN), so that a passkey is two factors in one:
what one has, and what one is or knows. A challenge is good once. The credential says whose it is: no name is asked
for, so nothing tells whether a name exists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from paycall.domain.errors import InputError, NotFoundError
from paycall.panel.services.accounts import LockedError, SignInError, is_locked
from paycall.panel.services.sign_in_steps import StepOverError, begin, finish
from paycall.store.tables import OperatorRow, PasskeyRow

_REGISTER, _SIGN_IN, _PROOF = "passkey-register", "passkey-sign-in", "passkey-proof"
_MOST = 10
# What the library raises on a credential that is not one: its own errors, and those of the parsers beneath.
_NOT_ONE = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError)


class PasskeyError(InputError):
    """The passkey was not accepted."""

    code = "passkey-refused"
    text = "the passkey was not accepted"


@dataclass(frozen=True)
class Where:
    """The panel as browsers know it: ``rp_id`` is its host, ``origin`` its scheme, host and port."""

    rp_id: str
    origin: str


def begin_registration(
    session: Session, row: OperatorRow, where: Where, site: str, now: datetime
) -> dict[str, Any]:
    """What the browser is to make a passkey with.

    Raises
    ------
    PasskeyError
        If the account has ten already.
    """
    present = session.scalars(select(PasskeyRow.id).where(PasskeyRow.operator_id == row.id)).all()
    if len(present) >= _MOST:
        raise PasskeyError("an account has at most ten passkeys")
    options = generate_registration_options(
        rp_id=where.rp_id,
        rp_name=site,
        user_id=row.id.encode(),
        user_name=row.name,
        user_display_name=row.display_name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(key)) for key in present],
    )
    begin(session, _REGISTER, options.challenge, now, operator_id=row.id)
    return dict(json.loads(options_to_json(options)))


def register(
    session: Session, row: OperatorRow, credential: dict[str, Any], name: str, where: Where, now: datetime
) -> None:
    """Keep the passkey that the browser made.

    Raises
    ------
    PasskeyError, StepOverError
        If it does not answer what was asked of this person, or is somebody's already.
    """
    challenge = _challenge(credential)
    if finish(session, _REGISTER, challenge, now).operator_id != row.id:
        raise StepOverError
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=where.rp_id,
            expected_origin=where.origin,
            require_user_verification=True,
        )
    except _NOT_ONE:
        raise PasskeyError from None
    credential_id = bytes_to_base64url(verified.credential_id)
    if session.get(PasskeyRow, credential_id) is not None:
        raise PasskeyError
    session.add(
        PasskeyRow(
            id=credential_id,
            operator_id=row.id,
            public_key=bytes_to_base64url(verified.credential_public_key),
            sign_count=verified.sign_count,
            name=name,
            created_at=now,
        )
    )


def begin_sign_in(session: Session, where: Where, now: datetime) -> dict[str, Any]:
    """What the browser is to ask a passkey with; whose, is not known yet."""
    options = generate_authentication_options(
        rp_id=where.rp_id, user_verification=UserVerificationRequirement.REQUIRED
    )
    begin(session, _SIGN_IN, options.challenge, now)
    return dict(json.loads(options_to_json(options)))


def recognise(session: Session, credential: dict[str, Any], where: Where, now: datetime) -> OperatorRow:
    """Whose passkey answered.

    Raises
    ------
    SignInError, LockedError, StepOverError
        If nobody's did, or its owner may not sign in now.
    """
    challenge = _challenge(credential)
    finish(session, _SIGN_IN, challenge, now)
    return _verified(session, credential, challenge, where, now)


def begin_proof(session: Session, row: OperatorRow, where: Where, now: datetime) -> dict[str, Any]:
    """What the browser is to ask one of this account's passkeys with, to prove that its owner is there."""
    options = generate_authentication_options(
        rp_id=where.rp_id,
        allow_credentials=[
            PublicKeyCredentialDescriptor(id=base64url_to_bytes(passkey.id))
            for passkey in of_operator(session, row.id)
        ],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    begin(session, _PROOF, options.challenge, now, operator_id=row.id)
    return dict(json.loads(options_to_json(options)))


def prove(
    session: Session, row: OperatorRow, credential: dict[str, Any], where: Where, now: datetime
) -> None:
    """Raise unless a passkey of this account's answered what was asked of its owner.

    Raises
    ------
    SignInError, LockedError, StepOverError, PasskeyError
        If it did not.
    """
    challenge = _challenge(credential)
    if finish(session, _PROOF, challenge, now).operator_id != row.id:
        raise StepOverError
    if _verified(session, credential, challenge, where, now).id != row.id:
        raise SignInError


def _verified(
    session: Session, credential: dict[str, Any], challenge: bytes, where: Where, now: datetime
) -> OperatorRow:
    """Whose passkey signed the challenge."""
    passkey = session.get(PasskeyRow, str(credential.get("id", ""))[:1400], with_for_update=True)
    row = session.get(OperatorRow, passkey.operator_id) if passkey else None
    if passkey is None or row is None:
        raise SignInError
    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=where.rp_id,
            expected_origin=where.origin,
            credential_public_key=base64url_to_bytes(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except _NOT_ONE:
        raise SignInError from None
    if is_locked(row, now):
        raise LockedError
    passkey.sign_count = verified.new_sign_count
    passkey.last_used_at = now
    return row


def remove(session: Session, operator_id: str, passkey_id: str) -> None:
    """Do without a passkey of this account.

    Raises
    ------
    NotFoundError
        If it has none of this id.
    """
    row = session.get(PasskeyRow, passkey_id)
    if row is None or row.operator_id != operator_id:
        raise NotFoundError
    session.delete(row)


def of_operator(session: Session, operator_id: str) -> list[PasskeyRow]:
    """The account's passkeys, the oldest first."""
    query = select(PasskeyRow).where(PasskeyRow.operator_id == operator_id)
    return [*session.scalars(query.order_by(PasskeyRow.created_at))]


def _challenge(credential: dict[str, Any]) -> bytes:
    """The challenge that the answer says it answers; whether it does is verified later, with the signature."""
    try:
        client_data = base64url_to_bytes(credential["response"]["clientDataJSON"])
        return parse_client_data_json(client_data).challenge
    except _NOT_ONE:
        raise PasskeyError from None
