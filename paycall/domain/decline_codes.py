"""What every acquirer's code means in our vocabulary: one table, ``system -> {code: meaning}``.

The systems are ISO 8583:1987 data element 39 as Visa and Mastercard use it, Mastercard's merchant advice codes,
Visa's decline categories, Stripe's decline and error codes, Adyen's refusal reasons and error codes,
Cybersource's reasons, Checkout.com's response codes, and paycall's own. A few codes are no declines at all (an
approval, a reversal that found nothing to undo, an answer that leaves the outcome open): ``kind`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from paycall.domain.decline_rules import OUTCOME_UNKNOWN, UNRECOGNISED, DeclinedBy, NextStep, Retry


class CodeKind(StrEnum):
    """What sort of answer a code is.

    ``NOT_EXECUTED``: nothing was sent on, the same request may be sent again. ``NOTHING_TO_UNDO``: a reversal
    or look-up found no original.
    """

    APPROVED = "approved"
    PARTLY_APPROVED = "partly_approved"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    NOT_EXECUTED = "not_executed"
    NOTHING_TO_UNDO = "nothing_to_undo"


@dataclass(frozen=True)
class CodeMeaning:
    """A code's reason, and what it says differently from the reason's own rule."""

    reason: str
    kind: CodeKind = CodeKind.DECLINED
    declined_by: DeclinedBy | None = None
    retry: Retry | None = None
    next_steps: tuple[NextStep, ...] | None = None


def _codes(
    codes: str,
    reason: str,
    *,
    kind: CodeKind = CodeKind.DECLINED,
    by: DeclinedBy | None = None,
    retry: Retry | None = None,
    steps: tuple[NextStep, ...] | None = None,
) -> dict[str, CodeMeaning]:
    meaning = CodeMeaning(reason, kind, by, retry, steps)
    return dict.fromkeys(codes.split(), meaning)


_K, _B, _R, _N = CodeKind, DeclinedBy, Retry, NextStep
_ONCE_MORE = (_N.RETRY, _N.OTHER_CARD, _N.STOP)
_NO_RETRY = (_N.OTHER_CARD, _N.STOP)
_ASK_BANK = (_N.OTHER_CARD, _N.CALL_BANK, _N.STOP)

System = Literal[
    "iso8583_de39",
    "mastercard_mac",
    "visa_category",
    "stripe_decline_code",
    "stripe_error_code",
    "adyen_refusal_reason_code",
    "adyen_error_code",
    "cybersource_reason",
    "checkout_response_code",
    "paycall_local",
]
ISO8583: Final = "iso8583_de39"
MASTERCARD_ADVICE: Final = "mastercard_mac"
VISA_CATEGORY: Final = "visa_category"
STRIPE_DECLINE: Final = "stripe_decline_code"
STRIPE_ERROR: Final = "stripe_error_code"
ADYEN_REFUSAL: Final = "adyen_refusal_reason_code"
ADYEN_ERROR: Final = "adyen_error_code"
CYBERSOURCE: Final = "cybersource_reason"
CHECKOUT: Final = "checkout_response_code"
PAYCALL: Final = "paycall_local"

_ISO8583 = {
    **_codes("00 11 85", UNRECOGNISED, kind=_K.APPROVED),
    **_codes("10", "insufficient_funds", kind=_K.PARTLY_APPROVED),
    **_codes("21 25", UNRECOGNISED, kind=_K.NOTHING_TO_UNDO),
    **_codes("68", OUTCOME_UNKNOWN, kind=_K.UNKNOWN, by=_B.NETWORK),
    **_codes("05", "generic_decline"),
    **_codes("01 02 70", "call_issuer"),
    **_codes("51", "insufficient_funds"),
    **_codes("61 N4", "limit_exceeded"),
    **_codes("65", "used_too_often"),
    **_codes("04 07 41 43", "card_blocked"),
    **_codes("59", "suspected_fraud", retry=_R.LATER),
    **_codes("63 83", "suspected_fraud"),
    **_codes("64 93", "legal_restriction"),
    **_codes("46", "closed_account"),
    **_codes("78", "card_inactive"),
    **_codes("39 52 53 57 N3", "not_permitted_card"),
    **_codes("62", "restricted_card"),
    **_codes("12", "invalid_transaction"),
    **_codes("55", "pin_required"),
    **_codes("75", "pin_required", retry=_R.LATER, steps=_ASK_BANK),
    **_codes("1A", "sca_required"),
    **_codes("R0 R1 R3", "stop_payment"),
    **_codes("79", "update_details", by=_B.ISSUER),
    **_codes("14 15", "wrong_number"),
    **_codes("54", "expired_or_wrong_expiry"),
    **_codes("82 N7", "wrong_cvc"),
    **_codes("6P", "wrong_details"),
    **_codes("80 91", "issuer_unavailable"),
    **_codes("86", "issuer_unavailable", by=_B.ISSUER),
    **_codes("92", "issuer_unavailable", retry=_R.NEVER, steps=_NO_RETRY),
    **_codes("96", "processing_error"),
    **_codes("06", "processing_error", by=_B.ISSUER),
    **_codes("19", "processing_error", by=_B.ISSUER, retry=_R.NOW),
    **_codes("76 77 88", "processing_error", retry=_R.NEVER, steps=_NO_RETRY),
    **_codes("94", "duplicate"),
    **_codes("03 58", "merchant_config", by=_B.ACQUIRER),
    **_codes("30", "merchant_config", by=_B.GATEWAY),
    **_codes("13", "invalid_amount"),
}

_MASTERCARD_ADVICE = {
    **_codes("01", "update_details"),
    **_codes("02", "try_again_later"),
    **_codes("03", "do_not_retry"),
    **_codes("04", "processing_error", by=_B.GATEWAY, retry=_R.NEVER, steps=_NO_RETRY),
    **_codes("05", "limit_exceeded", retry=_R.NEVER, steps=_NO_RETRY),
    **_codes("21", "stop_payment"),
    **_codes("22", "merchant_config"),
    # after 1 hour, 24 hours, 2, 4, 6, 8, 10 days: an earlier try costs a fee
    **_codes("24 25 26 27 28 29 30", "insufficient_funds", steps=_NO_RETRY),
    **_codes("40", "prepaid_card"),
    **_codes("41", "virtual_card"),
    **_codes("43", "virtual_card", retry=_R.LATER),
    **_codes("42", "legal_restriction"),
}

_VISA_CATEGORY = {
    **_codes("1", "do_not_retry"),
    **_codes("2", "try_again_later"),
    **_codes("3", "wrong_details"),
    **_codes("4", "generic_decline"),
}

_STRIPE_DECLINE = {
    **_codes("do_not_honor generic_decline no_action_taken", "generic_decline"),
    **_codes("call_issuer", "call_issuer"),
    **_codes("do_not_try_again", "do_not_retry"),
    **_codes("try_again_later", "try_again_later"),
    **_codes("insufficient_funds", "insufficient_funds"),
    **_codes("card_velocity_exceeded withdrawal_count_limit_exceeded", "limit_exceeded"),
    **_codes("currency_not_supported", "currency_unsupported"),
    **_codes("lost_card stolen_card pickup_card restricted_card", "card_blocked"),
    **_codes("security_violation", "suspected_fraud"),
    **_codes("fraudulent", "risk_block"),
    **_codes("merchant_blacklist", "merchant_block"),
    **_codes("invalid_account", "closed_account"),
    **_codes("card_not_supported", "not_permitted_card"),
    **_codes(
        "not_permitted service_not_allowed transaction_not_allowed", "not_permitted_card", retry=_R.LATER
    ),
    **_codes(
        "incorrect_pin invalid_pin offline_pin_required online_or_offline_pin_required pin_try_exceeded",
        "pin_required",
    ),
    **_codes("authentication_required", "sca_required"),
    **_codes(
        "revocation_of_all_authorizations revocation_of_authorization stop_payment_order", "stop_payment"
    ),
    **_codes("new_account_information_available", "update_details", by=_B.ISSUER),
    **_codes("incorrect_number invalid_number", "wrong_number"),
    **_codes("expired_card invalid_expiry_month invalid_expiry_year", "expired_or_wrong_expiry"),
    **_codes("incorrect_cvc invalid_cvc", "wrong_cvc"),
    **_codes("incorrect_address incorrect_zip", "avs_mismatch"),
    **_codes("issuer_not_available", "issuer_unavailable", retry=_R.NOW, steps=_ONCE_MORE),
    **_codes("approve_with_id reenter_transaction", "processing_error", by=_B.ISSUER, retry=_R.NOW),
    **_codes("processing_error", "processing_error", by=_B.GATEWAY, retry=_R.NOW),
    **_codes("duplicate_transaction", "duplicate", by=_B.GATEWAY),
    **_codes("invalid_amount", "invalid_amount"),
    **_codes("testmode_decline", "merchant_config"),
}

_STRIPE_ERROR = {
    **_codes("rate_limit lock_timeout", "gateway_unavailable", kind=_K.NOT_EXECUTED),
    **_codes("idempotency_key_in_use api_error", OUTCOME_UNKNOWN, kind=_K.UNKNOWN),
    **_codes("card_decline_rate_limit_exceeded", "retry_blocked"),
    **_codes("payment_intent_unexpected_state", "merchant_config"),
    **_codes("amount_too_small amount_too_large", "invalid_amount"),
}

_ADYEN_REFUSAL = {
    **_codes("0", UNRECOGNISED),
    **_codes("2 27", "generic_decline"),
    **_codes("3", "call_issuer"),
    **_codes("12", "insufficient_funds"),
    **_codes("28 29", "limit_exceeded"),
    **_codes("5", "card_blocked"),
    **_codes("31", "suspected_fraud"),
    **_codes("14", "risk_block", by=_B.ACQUIRER),
    **_codes("20 22", "risk_block"),
    **_codes("10", "not_permitted_card", by=_B.ACQUIRER),
    **_codes("23 34 35", "not_permitted_card"),
    **_codes("25", "restricted_card", retry=_R.NEVER, steps=_NO_RETRY),
    **_codes("17 18 19 33 36 37", "pin_required"),
    **_codes("11 38 42", "sca_required"),
    **_codes("39", "sca_required", by=_B.NETWORK, retry=_R.LATER),
    **_codes("26", "stop_payment"),
    **_codes("8", "wrong_number"),
    **_codes("6", "expired_or_wrong_expiry"),
    **_codes("24", "wrong_cvc"),
    **_codes("32", "avs_mismatch"),
    **_codes("9", "issuer_unavailable"),
    **_codes("4", "processing_error", by=_B.ACQUIRER),
    **_codes("21", "processing_error", by=_B.GATEWAY),
    **_codes("46", "retry_blocked"),
    **_codes("7", "invalid_amount"),
    **_codes("15", "cancelled"),
    **_codes("16", "cancelled", by=_B.CALLER_INPUT),
}

_ADYEN_ERROR = {
    **_codes("10 130 132 167 905", "merchant_config"),
    **_codes("100", "invalid_amount"),
    **_codes("101", "wrong_number"),
    **_codes("103", "wrong_cvc"),
    **_codes("104", "avs_mismatch"),
}

_CYBERSOURCE = {
    **_codes("PROCESSOR_DECLINED GENERAL_DECLINE", "generic_decline"),
    **_codes("CONTACT_PROCESSOR", "call_issuer"),
    **_codes("INSUFFICIENT_FUND", "insufficient_funds"),
    **_codes("EXCEEDS_CREDIT_LIMIT", "limit_exceeded"),
    **_codes("STOLEN_LOST_CARD", "card_blocked"),
    **_codes("SUSPENDED_ACCOUNT", "closed_account"),
    **_codes("UNAUTHORIZED_CARD", "not_permitted_card"),
    **_codes("PENDING_AUTHENTICATION", "sca_required"),
    **_codes("INVALID_ACCOUNT", "wrong_number"),
    **_codes("EXPIRED_CARD", "expired_or_wrong_expiry"),
    **_codes("CVN_NOT_MATCH INVALID_CVN", "wrong_cvc"),
    **_codes("CV_FAILED", "wrong_cvc", by=_B.GATEWAY),
    **_codes("AVS_FAILED", "avs_mismatch"),
    **_codes("ISSUER_UNAVAILABLE", "issuer_unavailable"),
    **_codes("DECISION_PROFILE_REJECT SCORE_EXCEEDS_THRESHOLD", "risk_block"),
    **_codes("BLACKLISTED_CUSTOMER", "merchant_block", by=_B.GATEWAY),
    **_codes("INVALID_MERCHANT_CONFIGURATION", "merchant_config"),
}

# Only those that are not a network's code behind a prefix (20051 is 51).
_CHECKOUT = {
    **_codes("20087", "wrong_details"),
    **_codes("20100 30033", "expired_or_wrong_expiry"),
    **_codes("20150 20151 20152 20154 20155", "sca_required"),
    **_codes("20153", "sca_required", by=_B.NETWORK, retry=_R.LATER),
    **_codes("30034", "suspected_fraud"),
    **_codes("30036", "card_blocked"),
    **_codes("40101", "risk_block"),
    **_codes("40201 40202 40203 40204 40205", "merchant_block", by=_B.GATEWAY),
}

_PAYCALL = {
    **_codes("luhn_failed", "wrong_number"),
    **_codes("expiry_in_past", "expired_or_wrong_expiry"),
    **_codes("cvc_length", "wrong_cvc"),
    **_codes("brand_not_accepted", "brand_not_accepted"),
    **_codes("connect_refused", "gateway_unavailable", kind=_K.NOT_EXECUTED),
    **_codes("circuit_open", "gateway_unavailable", kind=_K.NOT_EXECUTED, retry=_R.LATER, steps=(_N.STOP,)),
    **_codes("retry_budget", "retry_blocked", kind=_K.NOT_EXECUTED, by=_B.MERCHANT),
    **_codes("read_timeout", OUTCOME_UNKNOWN, kind=_K.UNKNOWN),
}

CODES: dict[System, dict[str, CodeMeaning]] = {
    ISO8583: _ISO8583,
    MASTERCARD_ADVICE: _MASTERCARD_ADVICE,
    VISA_CATEGORY: _VISA_CATEGORY,
    STRIPE_DECLINE: _STRIPE_DECLINE,
    STRIPE_ERROR: _STRIPE_ERROR,
    ADYEN_REFUSAL: _ADYEN_REFUSAL,
    ADYEN_ERROR: _ADYEN_ERROR,
    CYBERSOURCE: _CYBERSOURCE,
    CHECKOUT: _CHECKOUT,
    PAYCALL: _PAYCALL,
}
