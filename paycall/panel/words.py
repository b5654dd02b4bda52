"""What the panel calls things: states, fields, errors, steps. Marked here, translated where they are shown."""

from __future__ import annotations

from paycall.domain.fields import CaptureError
from paycall.domain.fields import Field as CardField


def N_(text: str) -> str:
    """Mark a text for the catalogues."""
    return text


PAYMENT_STATES: dict[str, str] = {
    "created": N_("Starting"),
    "capturing": N_("Taking the card"),
    "ready": N_("Ready to charge"),
    "authorizing": N_("Asking the bank"),
    "approved": N_("Approved"),
    "declined": N_("Declined"),
    "unknown": N_("Outcome not known yet"),
    "reversed": N_("Reversed, nothing was charged"),
    "cancelled": N_("Cancelled"),
    "settling": N_("Approved, being settled"),
    "settled": N_("Paid"),
    "settle_failed": N_("Approved, settlement failed"),
    "voiding": N_("Being voided"),
    "voided": N_("Voided"),
    "void_failed": N_("Could not be voided"),
    "refunding": N_("Being refunded"),
    "refunded": N_("Refunded"),
    "partly_refunded": N_("Partly refunded"),
    "refund_failed": N_("Refund failed"),
}
ATTEMPT_STATES: dict[str, str] = {
    "authorizing": N_("Asking the bank"),
    "approved": N_("Approved"),
    "declined": N_("Declined"),
    "unknown": N_("Outcome not known yet"),
    "reversed": N_("Reversed, nothing was charged"),
    "not_sent": N_("Not sent, nothing was charged"),
}
CALL_STATES: dict[str, str] = {"ringing": N_("Ringing"), "connected": N_("In a call"), "ended": N_("Ended")}
END_REASONS: dict[str, str] = {
    "caller-hung-up": N_("The caller hung up"),
    "agent-hung-up": N_("You hung up"),
    "no-answer": N_("Nobody answered"),
    "busy": N_("Busy"),
    "unreachable": N_("Could not be reached"),
    "declined": N_("The call was declined"),
    "operator-not-reached": N_("Your phone could not be rung"),
    "cancelled": N_("The caller gave up"),
    "hung-up-by-operator": N_("Ended from the panel"),
    "cell-lost": N_("The line was lost"),
    "failed": N_("The call failed"),
}
FIELDS: dict[str, str] = {
    CardField.CARD_NUMBER: N_("Card number"),
    CardField.EXPIRY: N_("Expiry date"),
    CardField.SECURITY_CODE: N_("Security code"),
    CardField.POSTAL_CODE: N_("Postal code"),
}
FIELD_STATES: dict[str, str] = {
    "waiting": N_("Waiting"),
    "collecting": N_("The caller is keying"),
    "stored": N_("Complete"),
    "failed": N_("Not accepted"),
}
CAPTURE_ERRORS: dict[str, str] = {
    CaptureError.INPUT_TIMEOUT: N_("No key came in time. Ask the caller to start this field again."),
    CaptureError.INVALID_CARD_NUMBER: N_(
        "The card number is not right. Ask the caller to key it again, slowly."
    ),
    CaptureError.INVALID_CARD_TYPE: N_("This kind of card is not accepted. Ask for another card."),
    CaptureError.INVALID_DATE: N_("The date is not right or is over. Ask for month and year, four digits."),
    CaptureError.INVALID_SECURITY_CODE: N_(
        "The security code has the wrong length. It is on the back; Amex: front."
    ),
    CaptureError.INVALID_POSTAL_CODE: N_("The postal code is too short."),
    CaptureError.CODE_BEFORE_NUMBER: N_("The card number has to come before the security code."),
    CaptureError.TOO_MANY_ATTEMPTS: N_("Too many tries. Take the field again when the caller is ready."),
    CaptureError.CALLER_HUNG_UP: N_("The call is over"),  # whoever ended it
    CaptureError.SESSION_IN_PROGRESS: N_("Another payment is being taken on this call."),
    CaptureError.INTERNAL_ERROR: N_("The field could not be kept. Ask the caller to key it again."),
}
DECLINED_BY: dict[str, str] = {
    "issuer": N_("the cardholder's bank"),
    "network": N_("the card network"),
    "acquirer": N_("our acquirer"),
    "gateway": N_("the payment gateway"),
    "merchant": N_("our own set-up"),
    "caller_input": N_("what was keyed"),
}
STEPS: dict[str, str] = {
    "retry": N_("Try the same card again"),
    "key_code_again": N_("Security code again"),
    "key_expiry_again": N_("Expiry date again"),
    "key_number_again": N_("Card number again"),
    "key_postal_code_again": N_("Postal code again"),
    "other_card": N_("Another card"),
    "call_bank": N_("The caller asks their bank"),
    "stop": N_("Stop here"),
}
ATTEMPT_ERRORS: dict[str, str] = {
    "not-sent": N_("The acquirer could not be reached. Nothing was charged; you can try again."),
    "refused-request": N_(
        "The acquirer refused our request: a supervisor has to look at the set-up. Nothing was charged."
    ),
    "retry-budget": N_("This card's network allows no further attempt for now. Ask for another card."),
    "security-code-gone": N_("The security code is no longer there. Ask the caller to key it again."),
    "not-found": N_("The vault does not have this card any more. Take the card again."),
    "wrong-state": N_("The vault could not charge this card. Take the card again."),
    "needs-review": N_("Nobody but people can find it out: look at the acquirer's own tool"),
}
# Names of companies and protocols are the same in every language.
ACQUIRERS: dict[str, str] = {
    "adyen": "Adyen",
    "checkout_com": "Checkout.com",
    "generic": N_("your payment provider"),
    "iso8583": N_("your bank's host"),
    "sandbox": N_("the acquirer simulator"),
    "stripe": "Stripe",
}
OPERATION_KINDS: dict[str, str] = {"settle": N_("Settlement"), "void": N_("Void"), "refund": N_("Refund")}
# Said when it fails at once, and when the acquirer takes back later what it had confirmed.
AFTER_FAILURE: dict[str, str] = {
    "settle_failed": N_(
        "The acquirer did not collect the money. Settle again or void; if it fails again, tell a supervisor."
    ),
    "void_failed": N_("The amount may still be held on the card. Void again, or tell a supervisor."),
    "refund_failed": N_("The money did not go back to the customer. Refund again, or tell a supervisor."),
}
OPERATION_STATES: dict[str, str] = {"pending": N_("under way"), "done": N_("done"), "failed": N_("failed")}
ALARMS: dict[str, str] = {
    "key-on-agent-leg": N_(
        "A key was heard on your side of the line. Your leg has been muted; tell a supervisor."
    ),
    "bridge-connection": N_("The line was joined wrongly. Your leg has been muted; tell a supervisor."),
    "audio-path-error": N_("The sound path failed. Your leg has been muted; tell a supervisor."),
}
BRANDS: dict[str, str] = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "jcb": "JCB",
    "diners": "Diners Club",
    "unionpay": "UnionPay",
    "maestro": "Maestro",
    "mir": "Mir",
    "prostir": "Prostir",
}
PROBLEMS: dict[str, str] = {
    "sign-in-failed": N_("The name or the password is wrong."),
    "locked": N_("This account is locked. Wait half an hour, or ask an administrator."),
    "second-factor-required": N_("Enter the one-time code from your phone too."),
    "wrong-code": N_("This code does not fit. Check the clock of the phone and take the next code."),
    "proof-needed": N_("First prove that it is you. Without a password, sign in once more."),
    "proof-refused": N_("That was not right. Try again."),
    "weak-password": N_(
        "At least 12 characters with letters and digits, and none of your last four passwords."
    ),
    "account-unfinished": N_("First set a new password, or the one-time code that this site asks for."),
    "name-taken": N_("This name is taken, or has signs that a name cannot have."),
    "last-administrator": N_("Somebody has to remain administrator."),
    "not-signed-in": N_("You have been signed out. Sign in again."),
    "not-allowed": N_("Your role does not allow this."),
    "over-limit": N_("This is more money than your role may move. Ask somebody who may."),
    "whole-amount-only": N_("This acquirer takes the whole amount or nothing."),
    "invitation-over": N_("This invitation is no longer good. Ask an administrator for a new one."),
    "not-found": N_("This does not exist any more, or is not yours to see."),
    "wrong-state": N_("This cannot be done any more: the payment or the call has moved on."),
    "card-expired": N_("The kept card has expired: another card has to be keyed."),
    "number-withheld": N_("The caller's number is withheld: no card can be kept for it."),
    "invalid-input": N_("Something in the form is not right."),
    "card-number-in-text": N_("This looks like a card number. Never write one down; let the caller key it."),
    "possible-duplicate": N_("The same card was charged the same amount within the last ten minutes."),
    "outcome-unknown": N_("What became of a charge of the same amount is not known yet."),
    "link-error": N_("The line's equipment did not answer. Try once more."),
    "vault-unavailable": N_("The card vault cannot be reached just now. Try again in a moment."),
    "session-in-progress": N_("Another payment is being taken on this call."),
    CaptureError.CODE_BEFORE_NUMBER: CAPTURE_ERRORS[CaptureError.CODE_BEFORE_NUMBER],
    "no-phone": N_("Your account has no phone. An administrator can enter one."),
    "no-trunk": N_("Calls cannot be dialled out here."),
    "number-not-allowed": N_("This number may not be dialled."),
    "passkey-refused": N_("The passkey was not accepted. Try again, or sign in another way."),
    "sign-in-step-over": N_("That took too long. Begin again."),
    "oidc-failed": N_("The identity provider did not confirm who you are. Try again."),
    "oidc-no-account": N_("There is no account for you here. Ask an administrator."),
    "webhook-url": N_("Events can only be sent to an https:// address that is reachable from outside."),
    "too-many-requests": N_("That was too much at once. Wait a moment and try again."),
    "internal-error": N_("Something went wrong in paycall. Try again."),
    "network": N_("The panel could not be reached. Check the connection and try again."),
    "amount": N_("This is not an amount in this currency."),
}
ROLES: dict[str, str] = {
    "operator": N_("Operator"),
    "supervisor": N_("Supervisor"),
    "administrator": N_("Administrator"),
    "auditor": N_("Auditor"),
}
STORY: dict[str, str] = {
    "created": N_("Payment started"),
    "capture_started": N_("The caller is asked for the card; the line is masked"),
    "field_stored": N_("A field is complete"),
    "field_failed": N_("A field was not accepted"),
    "field_dropped": N_("The operator does without a field"),
    "capture_completed": N_("The card is complete"),
    "kept_card_taken": N_("The caller's kept card is taken; nothing is keyed"),
    "card_kept": N_("The card is kept for later payments"),
    "capture_ended": N_("The line is open again"),
    "end_capture_requested": N_("The operator opened the line"),
    "handed_over": N_("The call went to another operator, and the payment with it"),
    "code_expired": N_("The security code was forgotten after five minutes"),
    "authorize_requested": N_("The bank is asked"),
    "not_sent": N_("The question did not reach the bank; nothing was charged"),
    "approved": N_("The bank approved"),
    "declined": N_("The bank declined"),
    "no_answer": N_("No answer: the outcome is looked up"),
    "enquired": N_("The acquirer is asked at somebody's word"),
    "set_aside": N_("The operator stopped waiting; the search goes on"),
    "reversed": N_("Reversed: nothing was charged"),
    "cancelled": N_("Cancelled"),
    "settle_requested": N_("Settlement asked for"),
    "settled": N_("Settled"),
    "settle_failed": N_("Settlement failed"),
    "void_requested": N_("Void asked for"),
    "voided": N_("Voided"),
    "void_failed": N_("Void failed"),
    "refund_requested": N_("Refund asked for"),
    "refunded": N_("Refunded"),
    "partly_refunded": N_("Partly refunded"),
    "refund_failed": N_("Refund failed"),
    "needs_review": N_("Nobody but people can find it out: look at the acquirer's own tool"),
    "closed_by_hand": N_("Closed by hand"),
    "part_reversed": N_("The part that was approved has been given back"),
}
AUDIT_ACTIONS: dict[str, str] = {
    "sign-in": N_("Sign-in"),
    "sign-out": N_("Sign-out"),
    "operator-add": N_("Account made"),
    "operator-change": N_("Account changed"),
    "operator-lock": N_("Account locked"),
    "operator-unlock": N_("Account changed"),
    "operator-role": N_("Role"),
    "operator-reset": N_("Account reset"),
    "invitation-accepted": N_("Invitation accepted"),
    "password-change": N_("Password changed"),
    "account-proof": N_("Proof of the account's owner"),
    "second-factor-set": N_("One-time codes set up"),
    "second-factor-removed": N_("One-time codes removed"),
    "export": N_("Payments exported"),
    "customer-change": N_("Caller's name and note changed"),
    "kept-card-deleted": N_("Kept card forgotten"),
    "passkey-add": N_("Passkey set up"),
    "passkey-remove": N_("Passkey removed"),
    "passkey-sign-in": N_("Sign-in with a passkey"),
    "oidc-sign-in": N_("Sign-in with the identity provider"),
    "api-key-add": N_("API key made"),
    "api-key-revoke": N_("API key revoked"),
    "webhook-add": N_("Webhook made"),
    "webhook-change": N_("Webhook turned on or off"),
    "webhook-remove": N_("Webhook removed"),
    "webhook-secret": N_("Webhook's secret changed"),
    "webhook-resend": N_("Delivery sent again"),
    "webhook-disabled": N_("Webhook turned off after long failure"),
    "audit-read": N_("Audit read"),
    "access": N_("Access refused"),
    "log started": N_("Log started"),
    "log stopped": N_("Log stopped"),
    "verify audit log": N_("Audit checked"),
    "export audit log": N_("Audit exported"),
    "security-alarm": N_("Security alarm"),
    **{f"payment-{what}": text for what, text in STORY.items()},
    "link-code-issued": N_("Link code shown"),
    "call-linked": N_("Link code keyed"),
    "call-dialled": N_("Call dialled from the panel"),
    "recording-paused": N_("Recording paused"),
    "recording-resumed": N_("Recording resumed"),
    "recording-failed": N_("Recording failed in mid-call"),
    "recording-exported": N_("Recording exported"),
    "recording-deleted": N_("Recording deleted"),
    "recording-expired": N_("Recording deleted after its time"),
}
SCOPES: dict[str, str] = {
    "calls:read": N_("see calls and follow them live"),
    "payments:read": N_("see payments"),
    "payments:write": N_("take payments, settle and void them"),
    "payments:refund": N_("give money back"),
    "reports:read": N_("see the sums of days"),
}
DELIVERY_STATES: dict[str, str] = {
    "pending": N_("On its way"),
    "delivered": N_("Delivered"),
    "failed": N_("Given up"),
}
DELIVERY_ERRORS: dict[str, str] = {
    "address": N_("the address is not allowed or cannot be found"),
    "timeout": N_("no answer within ten seconds"),
    "connection": N_("could not connect"),
}
# Who and what stands in the audit beside people and things that have a name or an id.
AUDIT_NAMES: dict[str, str] = {
    "panel": N_("the panel itself"),
    "audit log": N_("the audit"),
    "payments": N_("Payments"),
}
AUDIT_RESULTS: dict[str, str] = {
    "done": N_("done"),
    "refused": N_("refused"),
    "locked": N_("account locked"),
    "second-factor-required": N_("right password, no one-time code"),
    "proof-needed": N_("none was given"),
    "proof-refused": N_("refused"),
    **ROLES,
    "failing": N_("failing for three days"),
    "linked": N_("call linked"),
    "unknown-code": N_("no such code"),
    "rate-limited": N_("too many tries"),
    "call-over": N_("the call was over"),
    **ALARMS,
}
