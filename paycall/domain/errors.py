"""Every exception of paycall, in one tree.

Rules: an error carries fixed text written by us, never what somebody sent, so no card data can ride in one.
``code`` is the name that programs read (it is the last part of a problem document's ``type``), the text is
for people.

::

    PaycallError
    ├── InputError               what the other side sent is wrong; nothing was changed
    │   ├── CaptureSequenceError    the security code was asked for before the card number
    │   └── NumberNotAllowedError   the site's settings do not let this number be dialled
    ├── NotFoundError            no such call, payment, token, operator
    ├── StateError               the command is known, but not in this state
    │   ├── NoTrunkError            calls cannot be dialled out here
    │   ├── RetryBudgetSpentError   the card's network allows no attempt for now; not sent
    │   └── CardExpiredError        a kept card is past its expiry date
    ├── NotAllowedError          this caller may not do this
    ├── SettingsError            a setting is missing or wrong; the start stops
    ├── LinkError                the control link: malformed message, lost connection
    ├── CardDataError            a card field that the rules refuse (carries a CaptureError)
    ├── VaultError
    │   ├── VaultUnavailableError   the vault can't be reached, or its key provider can't
    │   ├── TamperedError           a stored card fails its authentication
    │   └── SecurityCodeGoneError   the five minutes are over, or the vault restarted
    └── AcquirerFault            an adapter could not get an answer
        ├── NotSentError            certainly not sent (connection refused): safe to send again
        ├── NoAnswerError           sent, no answer understood: the outcome is unknown
        └── RefusedRequestError     the acquirer refused our request itself (set-up, format): not charged
"""

from __future__ import annotations


class PaycallError(Exception):
    """Base of all. ``text`` must be a literal of ours, never input."""

    code = "internal-error"
    text = "something went wrong inside paycall"

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)
        self.text = text or self.text


class InputError(PaycallError):
    """What the other side sent is wrong; nothing was changed."""

    code = "invalid-input"
    text = "the request is not valid"


class CaptureSequenceError(InputError):
    """The security code was asked for before the card number; named as in a capture (``fields.CaptureError``)."""

    code = "invalid-card-number-security-code-capture-sequence"
    text = "the card number has to be taken before the security code"


class NumberNotAllowedError(InputError):
    """The site's settings do not let this number be dialled."""

    code = "number-not-allowed"
    text = "this number may not be dialled"


class NotFoundError(PaycallError):
    """No such call, payment, token or operator."""

    code = "not-found"
    text = "there is no such thing"


class StateError(PaycallError):
    """The command is known, but the state does not allow it; nothing was changed."""

    code = "wrong-state"
    text = "this cannot be done in the present state"


class NoTrunkError(StateError):
    """No trunk is set up: calls can come in, and cannot be dialled out."""

    code = "no-trunk"
    text = "calls cannot be dialled out here"


class RetryBudgetSpentError(StateError):
    """The card's network lets it be tried no more for now; nothing was sent."""

    code = "retry-budget"
    text = "the card may not be tried any more for now"


class CardExpiredError(StateError):
    """A kept card is past its expiry date; nothing was sent."""

    code = "card-expired"
    text = "the kept card has expired; another one has to be keyed"


class NotAllowedError(PaycallError):
    """The caller is known, and may not do this."""

    code = "not-allowed"
    text = "this is not allowed"


class SettingsError(PaycallError):
    """A setting is missing or wrong. The text names the setting, never its value."""

    code = "wrong-setting"
    text = "a setting is wrong"


class LinkError(PaycallError):
    """The control link carried something malformed, or is down."""

    code = "link-error"
    text = "the control link failed"


class CardDataError(PaycallError):
    """A card field that the rules refuse; ``code`` is one of ``fields.CaptureError``'s names."""

    def __init__(self, code: str) -> None:
        super().__init__("the field was not accepted")
        self.code = code


class VaultError(PaycallError):
    """Base of what can go wrong in, or on the way to, the vault."""

    code = "vault-error"
    text = "the vault could not do this"


class VaultUnavailableError(VaultError):
    """The vault, or its key provider, can't be reached."""

    code = "vault-unavailable"
    text = "the vault cannot be reached"


class TamperedError(VaultError):
    """A stored ciphertext fails its authentication."""

    code = "tampered"
    text = "stored data failed its authentication"


class SecurityCodeGoneError(VaultError):
    """The security code is no longer in memory: it has to be keyed again."""

    code = "security-code-gone"
    text = "the security code has to be keyed again"


class AcquirerFault(PaycallError):
    """An adapter could not get an answer that it understands. Declines are returned, never raised."""

    code = "acquirer-fault"
    text = "the acquirer could not be asked"


class NotSentError(AcquirerFault):
    """The request certainly did not reach the acquirer: it is safe to send it again."""

    code = "not-sent"
    text = "the acquirer could not be reached; nothing was sent"


class NoAnswerError(AcquirerFault):
    """The request may have reached the acquirer; its outcome is unknown."""

    code = "no-answer"
    text = "the acquirer did not answer; the outcome is unknown"


class RefusedRequestError(AcquirerFault):
    """The acquirer refused the request itself (credentials, set-up, format): nothing was charged."""

    code = "refused-request"
    text = "the acquirer refused the request; its set-up needs a look"
