"""The sentences of declines: for each language, ``reason -> (what happened, what to say)``.

Rules: *what happened* is for the operator, *what to say* can be read to the caller as it stands. No sentence for
the caller names a card as lost, stolen or suspect, and confidential reasons share one sentence with
``generic_decline``. Every language has every reason (a test compares them with the vocabulary).
"""

from __future__ import annotations

from paycall.domain.decline_texts import en, hu, ru, uk

TEXTS: dict[str, dict[str, tuple[str, str]]] = {
    "en": en.TEXTS,
    "ru": ru.TEXTS,
    "uk": uk.TEXTS,
    "hu": hu.TEXTS,
}
