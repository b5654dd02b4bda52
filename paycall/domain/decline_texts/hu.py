"""Declines in Hungarian."""

from __future__ import annotations

_NO_REASON = (
    "Sajnálom, a fizetést elutasították, és az okát nem közölték velünk. Szeretne másik kártyával fizetni?"
)
_NOT_NOW = "Sajnálom, most nem tudunk kártyás fizetést fogadni. Vissza fogjuk hívni."

TEXTS: dict[str, tuple[str, str]] = {
    "generic_decline": ("A bank elutasította a fizetést, és nem mondott okot.", _NO_REASON),
    "call_issuer": (
        "A bank előbb a kártyabirtokossal akar beszélni.",
        "A bankja azt kéri, hogy fizetés előtt hívja fel. Megteheti most, vagy fizethet másik kártyával.",
    ),
    "try_again_later": (
        "A bank most nem tudja jóváhagyni. Ebben a hívásban ne próbálja újra ezt a kártyát.",
        "A bankja most nem tudja jóváhagyni a fizetést. Szeretne másik kártyával fizetni?",
    ),
    "do_not_retry": (
        "A bank véglegesen elutasította. Ne próbálja újra ezt a kártyát, és ne mondjon okot.",
        _NO_REASON,
    ),
    "insufficient_funds": (
        "Nincs elég pénz vagy hitelkeret a kártyán.",
        "A bank jelzése szerint nincs elég fedezet a kártyán. "
        "Szeretne másik kártyával vagy kisebb összeget fizetni?",
    ),
    "limit_exceeded": (
        "Az összeg meghaladja a kártya limitjét.",
        "Az összeg meghaladja a kártyája limitjét. A bankjánál megemelheti, vagy fizethet másik kártyával.",
    ),
    "used_too_often": (
        "A kártyát rövid időn belül túl sokszor használták.",
        "A kártyájával egyelőre nem indítható több fizetés. Szeretne másik kártyával fizetni?",
    ),
    "prepaid_card": (
        "Ez feltöltős kártya, ehhez a fizetéshez nem használható.",
        "Ez a feltöltős kártya ehhez a fizetéshez nem használható. Szeretne másik kártyával fizetni?",
    ),
    "virtual_card": (
        "Ez virtuális kártya: már felhasználták vagy korlátozott.",
        "Ez a virtuális kártya ehhez a fizetéshez nem használható. "
        "Megvan az eredeti kártyája vagy egy új virtuális szám?",
    ),
    "currency_unsupported": (
        "A kártya nem fizet ebben a pénznemben.",
        "A kártyája nem támogatja ezt a pénznemet. Szeretne másik kártyával fizetni?",
    ),
    "card_blocked": ("A bank lezárta ezt a kártyát. Ne mondjon okot.", _NO_REASON),
    "suspected_fraud": ("A bank biztonsági ellenőrzése elutasította. Ne mondjon okot.", _NO_REASON),
    "legal_restriction": ("A bank ezt a fizetést nem hajthatja végre. Ne mondjon okot.", _NO_REASON),
    "closed_account": (
        "A kártyához tartozó számla megszűnt.",
        "Ez a kártya már nem él. Szeretne másik kártyával fizetni?",
    ),
    "card_inactive": (
        "A kártyát még nem aktiválták.",
        "A kártyája még nincs aktiválva. A bankjánál aktiválhatja, vagy fizethet másik kártyával.",
    ),
    "not_permitted_card": (
        "A kártya nem engedi az ilyen fizetést.",
        "A kártyája nem engedi a telefonos fizetést. A bankja ezt talán módosíthatja, "
        "vagy fizethet másik kártyával.",
    ),
    "restricted_card": (
        "A kártya ország, termék vagy üzlettípus szerint korlátozott.",
        "A kártyája nem engedi ezt a fizetést. Kérdezze meg a bankját, vagy fizessen másik kártyával.",
    ),
    "invalid_transaction": (
        "A bank nem fogad el ilyen fizetést ezzel a kártyával.",
        "Ez a kártya ehhez a fizetéshez nem használható. Szeretne másik kártyával fizetni?",
    ),
    "pin_required": (
        "A bank PIN-kódot kér, azt telefonon nem lehet megadni.",
        "Ehhez a kártyához PIN-kód kell, ezért telefonon nem használható. Szeretne másik kártyával fizetni?",
    ),
    "sca_required": (
        "A bank internetes megerősítést kér. Ellenőrizze, hogy a telefonos fizetés engedélyezve van-e.",
        "A bankja olyan megerősítést kér, amely telefonon nem lehetséges. Szeretne másik kártyával fizetni?",
    ),
    "stop_payment": (
        "A kártyabirtokos a bankjánál leállíttatta ezt a fizetést.",
        "A bankjánál ezt a fizetést leállították. Kérjük, kérdezze meg a bankját, "
        "vagy fizessen másik kártyával.",
    ),
    "update_details": (
        "A bank újabb kártyát adott ki, más adatokkal.",
        "Lehet, hogy a bankja új kártyát küldött. Ha megkapta, kérem, üsse be annak a számát.",
    ),
    "wrong_number": (
        "A bank nem ismeri ezt a kártyaszámot.",
        "A kártyaszámot nem ismerték fel. Kérem, üsse be újra.",
    ),
    "expired_or_wrong_expiry": (
        "A kártya lejárt, vagy a lejárati dátum hibás.",
        "A lejárati dátumot nem fogadták el. Kérem, üsse be újra: a hónapot, majd az évet.",
    ),
    "wrong_cvc": (
        "A biztonsági kód hibás.",
        "A biztonsági kódot nem fogadták el. Kérem, üsse be újra.",
    ),
    "avs_mismatch": (
        "Az irányítószám nem az, amelyet a bank ismer.",
        "Az irányítószám nem egyezett. Kérem, azt üsse be, amelyet a bankja ismer.",
    ),
    "wrong_details": (
        "A kártya egyik adata hibás; a bank nem mondja meg, melyik.",
        "A kártya egyes adatait nem fogadták el. Kérem, üsse be újra a lejáratot és a kódot.",
    ),
    "issuer_unavailable": (
        "Az ügyfél bankja nem érhető el.",
        "A bankja most nem érhető el. Kicsit később újrapróbálhatjuk, vagy fizethet másik kártyával.",
    ),
    "processing_error": (
        "A fizetés útközben elakadt, senki sem hibás. Próbálja még egyszer, de ne sokszor.",
        "Átmeneti hiba történt. Nem terheltük meg a kártyáját, megpróbálhatjuk még egyszer.",
    ),
    "gateway_unavailable": (
        "A fizetési szolgáltató nem érhető el. Nem küldtünk el semmit.",
        "Nálunk történt átmeneti hiba. Nem terheltük meg a kártyáját, megpróbálhatjuk még egyszer.",
    ),
    "risk_block": ("A fizetési szolgáltató kockázati szabálya elutasította. Ne mondjon okot.", _NO_REASON),
    "retry_blocked": (
        "Ezt a kártyát túl sokszor próbálták: a kártyatársaságok szabályai tiltják az újabbat. Ne mondjon okot.",
        _NO_REASON,
    ),
    "duplicate": (
        "Ugyanez a fizetés az imént már megtörtént. Előbb keresse meg azt.",
        "Úgy látszik, ez a fizetés már megtörtént. Ellenőrzöm, mielőtt folytatjuk.",
    ),
    "cancelled": (
        "A fizetést befejezés előtt megszakították.",
        "A fizetés megszakadt. Nem terheltük meg a kártyáját, újrakezdhetjük.",
    ),
    "merchant_config": (
        "Hibás a fizetési beállításunk, egyetlen kártya sem fog működni. Szóljon a felettesének.",
        _NOT_NOW,
    ),
    "invalid_amount": (
        "Az összeget nem fogadták el. Ellenőrizze az összeget és a pénznemet, és indítson új fizetést.",
        "A mi oldalunkon hibás az összeg. Nem terheltük meg a kártyáját, mindjárt kijavítom.",
    ),
    "brand_not_accepted": (
        "Ezt a kártyatípust nem fogadjuk el.",
        "Ezt a kártyatípust nem tudjuk elfogadni. Szeretne másikkal fizetni?",
    ),
    "merchant_block": ("Ez a kártya a saját tiltólistánkon van. Ne mondjon okot.", _NO_REASON),
    "outcome_unknown": (
        "Nem jött válasz. Ellenőrizzük, megterhelték-e a kártyát; ne indítson újabb fizetést.",
        "Ellenőrizzük, hogy a fizetés megtörtént-e. Kétszer nem fogjuk megterhelni a kártyáját.",
    ),
    "unrecognised": ("A fizetést olyan kóddal utasították el, amelyet nem ismerünk.", _NO_REASON),
}
