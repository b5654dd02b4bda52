"""A stored card: each field encrypted for its place, the whole row sealed.

Associated data of a field: site, token, field name, key version. The seal is an AES-GCM tag over every other
column of the row, so that a changed, swapped or removed column is refused as well. What is not defended here:
a row put back to its own earlier state (the audit log tells).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paycall.domain.card import Expiry
from paycall.domain.errors import TamperedError
from paycall.domain.fields import Field
from paycall.domain.secret import Pan
from paycall.vault import crypto
from paycall.vault.keys import KeyRing
from paycall.vault.providers.base import WrappedKey


@dataclass(frozen=True)
class StoredCard:
    """One row of a card table. Brand and last four are what a panel may show; the rest is ciphertext.

    ``owner`` is the payment, or for a kept card the customer. ``origin`` is where it comes from: of a payment's card
    the kept card, if it is one's copy; of a kept card the attempt with whose approval it was kept.
    """

    token: str
    owner: str
    created_at: str
    kek_version: int
    wrapped_key: bytes = field(repr=False)
    brand: str | None
    last4: str | None
    fingerprint: bytes | None = field(repr=False)
    code_keyed: bool
    pan: bytes | None = field(repr=False)
    expiry: bytes | None = field(repr=False)
    postal_code: bytes | None = field(repr=False)
    seal: bytes = field(repr=False)
    origin: str | None = None


@dataclass(frozen=True)
class PlainCard:
    """A card in the clear, for the length of one operation. ``code_keyed``: a security code was given once."""

    pan: Pan | None = field(repr=False, default=None)
    expiry: Expiry | None = field(repr=False, default=None)
    postal_code: str | None = field(repr=False, default=None)
    code_keyed: bool = False
    origin: str | None = None


class CardCipher:
    """Encrypts and decrypts rows for one site."""

    def __init__(self, site: str, ring: KeyRing) -> None:
        self._site = site
        self._ring = ring

    def lock(
        self, token: str, owner: str, created_at: str, card: PlainCard, fingerprint_key: bytes
    ) -> StoredCard:
        """The row of a card, under a data key of its own."""
        data_key = self._ring.new(token)
        version = data_key.wrapped.version

        def hidden(name: Field, value: str | None) -> bytes | None:
            if value is None:
                return None
            return crypto.encrypt(data_key.key, value.encode(), self._field_context(token, name, version))

        pan = card.pan
        row = StoredCard(
            token=token,
            owner=owner,
            created_at=created_at,
            kek_version=version,
            wrapped_key=data_key.wrapped.blob,
            brand=pan.brand.value if pan and pan.brand else None,
            last4=pan.last4 if pan else None,
            fingerprint=crypto.card_fingerprint(fingerprint_key, pan) if pan else None,
            code_keyed=card.code_keyed,
            pan=hidden(Field.CARD_NUMBER, pan.expose() if pan else None),
            expiry=hidden(Field.EXPIRY, _digits(card.expiry)),
            postal_code=hidden(Field.POSTAL_CODE, card.postal_code),
            seal=b"",
            origin=card.origin,
        )
        seal = crypto.encrypt(data_key.key, b"", self._row_context(row))
        return StoredCard(**{**vars(row), "seal": seal})

    def unlock(self, row: StoredCard) -> PlainCard:
        """The card of a row.

        Raises
        ------
        TamperedError
            If any column is not what was written.
        VaultUnavailableError
            If the key provider can't be reached.
        """
        key = self._ring.open(WrappedKey(row.kek_version, row.wrapped_key), row.token)
        if crypto.decrypt(key, row.seal, self._row_context(row)) != b"":
            raise TamperedError

        def shown(name: Field, value: bytes | None) -> str | None:
            if value is None:
                return None
            return crypto.decrypt(key, value, self._field_context(row.token, name, row.kek_version)).decode()

        number = shown(Field.CARD_NUMBER, row.pan)
        expiry = shown(Field.EXPIRY, row.expiry)
        return PlainCard(
            pan=Pan(number) if number else None,
            expiry=Expiry.parse(expiry) if expiry else None,
            postal_code=shown(Field.POSTAL_CODE, row.postal_code),
            code_keyed=row.code_keyed,
            origin=row.origin,
        )

    def _field_context(self, token: str, name: Field, version: int) -> bytes:
        return crypto.associated_data("paycall-card-field-1", self._site, token, name.value, version)

    def _row_context(self, row: StoredCard) -> bytes:
        return crypto.associated_data(
            "paycall-card-row-1",
            self._site,
            row.token,
            row.owner,
            row.created_at,
            row.kek_version,
            row.wrapped_key,
            row.brand,
            row.last4,
            row.fingerprint,
            int(row.code_keyed),
            row.pan,
            row.expiry,
            row.postal_code,
            *((row.origin,) if row.origin is not None else ()),
        )


def _digits(expiry: Expiry | None) -> str | None:
    return f"{expiry.month:02d}{expiry.year % 100:02d}" if expiry else None
