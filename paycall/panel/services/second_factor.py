"""One-time codes (TOTP, RFC 6238): setting one up, checking one. A code is good once (PCI DSS 8.5.1)."""

from __future__ import annotations

import io
from datetime import datetime

import pyotp
import segno

from paycall.domain.errors import InputError
from paycall.panel.services.accounts import SignInError
from paycall.panel.services.sealed import Sealer
from paycall.store.tables import OperatorRow

STEP_S = 30


class CodeNeededError(SignInError):
    """Name and password are right, and the account has a second factor."""

    code = "second-factor-required"
    text = "the one-time code is needed too"
    http_status = 401


class WrongCodeError(InputError):
    """The code does not fit the new second factor."""

    code = "wrong-code"
    text = "this code does not fit; check the clock of the phone"


def new_secret() -> str:
    """A new shared secret, in base32."""
    return pyotp.random_base32()


def setup_uri(secret: str, name: str, site: str) -> str:
    """What an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=site)


def qr_code(uri: str) -> str:
    """The QR code as SVG, to stand in a page."""
    out = io.BytesIO()
    segno.make(uri, error="m").save(out, kind="svg", scale=5, border=2, xmldecl=False, svgclass="qr")
    return out.getvalue().decode()


def set_up(row: OperatorRow, secret: str, code: str, now: datetime, sealer: Sealer) -> None:
    """Take the secret as the account's second factor, if the code proves that the phone has it.

    Raises
    ------
    WrongCodeError
        If it does not.
    """
    step = _fitting_step(secret, code, now, 0)
    if step is None:
        raise WrongCodeError
    row.totp_sealed = sealer.seal(secret, row.id)
    row.totp_last_step = step


def check(row: OperatorRow, code: str | None, now: datetime, sealer: Sealer) -> bool:
    """Whether the second factor, if there is one, is satisfied; the code is used up.

    Raises
    ------
    CodeNeededError
        If there is one and no code was given.
    """
    if row.totp_sealed is None:
        return True
    if not code:
        raise CodeNeededError
    step = _fitting_step(sealer.open(row.totp_sealed, row.id), code, now, row.totp_last_step)
    if step is None:
        return False
    row.totp_last_step = step
    return True


def _fitting_step(secret: str, code: str, now: datetime, after_step: int) -> int | None:
    """The time step whose code this is: the present one or a neighbour, later than the last one used."""
    plain = code.replace(" ", "")
    totp = pyotp.TOTP(secret, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    for step in (present - 1, present, present + 1):
        if step > after_step and pyotp.utils.strings_equal(totp.generate_otp(step), plain):
            return step
    return None
