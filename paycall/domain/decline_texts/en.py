"""Declines in English."""

from __future__ import annotations

_NO_REASON = (
    "I am sorry, the payment was declined and we were not given a reason. Would you like to use another card?"
)
_NOT_NOW = "I am sorry, we cannot take card payments at the moment. We will come back to you."

TEXTS: dict[str, tuple[str, str]] = {
    "generic_decline": ("The bank declined and gave no reason.", _NO_REASON),
    "call_issuer": (
        "The bank wants to speak to the cardholder first.",
        "Your bank asks you to call them before it approves this. You can do that now or use another card.",
    ),
    "try_again_later": (
        "The bank cannot approve this now. Do not try this card again in this call.",
        "Your bank cannot approve the payment at the moment. Would you like to use another card?",
    ),
    "do_not_retry": (
        "The bank declined for good. Do not try this card again, and give no reason.",
        _NO_REASON,
    ),
    "insufficient_funds": (
        "There is not enough money or credit on the card.",
        "Your bank reports that the available balance is too low. "
        "Would you like to use another card or pay a smaller amount?",
    ),
    "limit_exceeded": (
        "The amount is over a limit of the card.",
        "The amount is over your card's limit. You can raise it with your bank, or use another card.",
    ),
    "used_too_often": (
        "The card has been used too many times in a short while.",
        "Your card has reached the number of payments it allows for now. Would you like to use another card?",
    ),
    "prepaid_card": (
        "It is a prepaid card that cannot be used for this payment.",
        "This prepaid card cannot be used for this payment. Would you like to use another card?",
    ),
    "virtual_card": (
        "It is a virtual card that is used up or limited.",
        "This virtual card cannot be used for this payment. "
        "Do you have the main card, or a new virtual number?",
    ),
    "currency_unsupported": (
        "The card cannot pay in this currency.",
        "Your card cannot pay in this currency. Would you like to use another card?",
    ),
    "card_blocked": ("The bank has blocked this card. Give no reason.", _NO_REASON),
    "suspected_fraud": ("The bank's security check refused. Give no reason.", _NO_REASON),
    "legal_restriction": ("The bank may not carry out this payment. Give no reason.", _NO_REASON),
    "closed_account": (
        "The card's account is closed.",
        "This card is no longer active. Would you like to use another card?",
    ),
    "card_inactive": (
        "The card has not been activated yet.",
        "Your card is not active yet. You can activate it with your bank, or use another card.",
    ),
    "not_permitted_card": (
        "The card does not allow this kind of payment.",
        "Your card does not allow payments by phone. Your bank may be able to change that, "
        "or you can use another card.",
    ),
    "restricted_card": (
        "The card is restricted by country, product or kind of shop.",
        "Your card does not allow this payment. You can ask your bank, or use another card.",
    ),
    "invalid_transaction": (
        "The bank does not accept this kind of payment with this card.",
        "This card cannot be used for this payment. Would you like to use another card?",
    ),
    "pin_required": (
        "The bank wants a PIN, which cannot be given by phone.",
        "This card needs a PIN and cannot be used by phone. Would you like to use another card?",
    ),
    "sca_required": (
        "The bank wants the cardholder to confirm online. Check that phone orders are enabled.",
        "Your bank wants an extra confirmation that is not possible by phone. "
        "Would you like to use another card?",
    ),
    "stop_payment": (
        "The cardholder has told the bank to stop this payment.",
        "A stop on this payment has been set with your bank. Please ask your bank, or use another card.",
    ),
    "update_details": (
        "The bank has issued newer card details.",
        "Your bank may have sent you a newer card. If you have it, please key its number.",
    ),
    "wrong_number": (
        "The bank does not know this card number.",
        "The card number was not recognised. Please key it again.",
    ),
    "expired_or_wrong_expiry": (
        "The card has expired, or the expiry date is wrong.",
        "The expiry date was not accepted. Please key it again: month, then year.",
    ),
    "wrong_cvc": (
        "The security code is wrong.",
        "The security code was not accepted. Please key it again.",
    ),
    "avs_mismatch": (
        "The postal code is not the one that the bank knows.",
        "The postal code did not match. Please key the one your bank has for you.",
    ),
    "wrong_details": (
        "Some of the card's details are wrong; the bank does not say which.",
        "Some of the card's details were not accepted. Please key the expiry date and the code again.",
    ),
    "issuer_unavailable": (
        "The caller's bank cannot be reached.",
        "Your bank cannot be reached at the moment. We can try again shortly, or use another card.",
    ),
    "processing_error": (
        "The payment failed on the way, through nobody's fault. Try once more, not again and again.",
        "There was a temporary problem. You have not been charged; we can try once more.",
    ),
    "gateway_unavailable": (
        "The payment service could not be reached. Nothing was sent.",
        "There was a temporary problem on our side. You have not been charged; we can try again.",
    ),
    "risk_block": ("The payment service's risk rules refused. Give no reason.", _NO_REASON),
    "retry_blocked": (
        "This card has been tried too often: the card networks forbid another try. Give no reason.",
        _NO_REASON,
    ),
    "duplicate": (
        "The same payment has just been made. Look for the earlier one first.",
        "It looks as if this payment has already been made. Let me check before we go on.",
    ),
    "cancelled": (
        "The payment was cancelled before it was finished.",
        "The payment was cancelled. You have not been charged; we can start again.",
    ),
    "merchant_config": (
        "Our payment set-up is wrong; no card will work. Tell your supervisor.",
        _NOT_NOW,
    ),
    "invalid_amount": (
        "The amount was not accepted. Check amount and currency and start a new payment.",
        "There is a problem with the amount on our side. You have not been charged; let me correct it.",
    ),
    "brand_not_accepted": (
        "We do not take this brand of card.",
        "We cannot take this kind of card. Would you like to use another one?",
    ),
    "merchant_block": ("This card is on our own block list. Give no reason.", _NO_REASON),
    "outcome_unknown": (
        "No answer came. Whether the card was charged is being checked; do not charge again.",
        "We are checking whether the payment went through. You will not be charged twice.",
    ),
    "unrecognised": (
        "The payment was declined with a code that we do not know.",
        _NO_REASON,
    ),
}
