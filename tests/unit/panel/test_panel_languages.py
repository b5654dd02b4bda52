"""Every page, dialog and state in every language: no English left over, no name of the code's; money; plurals.

The pages are made on the server, dialogs included, so what is looked at here is what a browser shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import httpx
import pytest
from babel.messages.pofile import read_po
from sqlalchemy import update

from paycall.control import messages as m
from paycall.domain.authorization import Search
from paycall.domain.call import EndReason
from paycall.domain.payment import PaymentState
from paycall.panel import languages, words
from paycall.panel.languages import LANGUAGES, money
from paycall.panel.roles import Role
from paycall.store.database import writing
from paycall.store.tables import AttemptRow, CallRow, DeliveryRow, PaymentRow
from tests.fakes.panel_world import APPROVED, DECLINED, PanelWorld, card_ready, charge, new_payment

Run = Callable[..., None]
TRANSLATED = [language for language in LANGUAGES if language != "en"]
_SHOWN = ("aria-label", "title", "placeholder", "alt", "label")
_DATA = {"code", "kbd", "script", "style"}  # what programs read, and keys
# Latin words that stand in a Cyrillic page by right: people's own data, brands, currencies, names of techniques.
_LATIN = re.compile(
    r"https?://\S*|paycall|https|anna|boss|late|shop|Kovács|Béla|prefers|mornings|INV-\S+|Two tickets|"
    r"Visa|Mastercard|\b[A-Z]{3}\b|"
    r"[A-Z][a-z]+ Express|Amex|CSV|API|SIP|OpenAPI|Magyar|English|sips?:\S*|whsec_\S*|A1B2C3|"
    r"OpenID Connect|TOTP|payment\.\S*|call\.\S*|webhook\.\S*|att_\w+|pay_\w+|call_\w+|oper_\w+|hook_\w+|key_\w+|"
    r"msg_\w+|op_\w+|[A-Z2-7]{16,}|testclient|127\.0\.0\.1|Windows Hello|sandbox"
)


class _Texts(HTMLParser):
    """What a person reads or hears of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in _SHOWN and value]
        if tag in _DATA or ("lang" in dict(attrs) and tag != "html"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside and data.strip():
            self.found.append(" ".join(data.split()))


def _english(language: str) -> re.Pattern[str]:
    """Every English text of the catalogue that the language says otherwise."""
    with (languages.CATALOGUES / language / "LC_MESSAGES" / "panel.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    patterns = []
    for message in catalogue:
        texts = [message.id] if isinstance(message.id, str) else message.id
        told = [message.string] if isinstance(message.string, str) else message.string
        for text in texts:
            literal = re.sub(r"%\(\w+\)s", "", text)
            if text not in told and len(re.sub(r"[^A-Za-z]", "", literal)) >= 3:
                parts = re.split(r"%\(\w+\)s", " ".join(text.split()))
                patterns.append(".+".join(re.escape(part) for part in parts))
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


async def _pages(world: PanelWorld, language: str) -> dict[str, str]:
    """Every page, by what it shows."""
    world.add("boss", Role.ADMINISTRATOR, language=language)
    boss = await world.signed_in("boss")
    found: dict[str, str] = {}

    async def look(name: str, path: str) -> None:
        answer = await boss.get(path, headers={"accept": "text/html"})
        assert answer.status_code in (200, 404), (name, answer.status_code)
        found[name] = answer.text

    await look("nobody", "/")
    call_id = await world.cell.ring(caller="+3612345678")
    await look("ringing", f"/?call={call_id}")
    await world.cell.answer(call_id)
    await boss.put(
        f"/api/v1/calls/{call_id}/customer", json={"name": "Kovács Béla", "note": "prefers mornings"}
    )
    for recording in ("on", "paused", "failed"):
        await world.cell.record(call_id, recording)
        await look(f"recording {recording}", f"/?call={call_id}")
    await new_payment(boss, call_id, reference="INV-1", description="Two tickets")
    for error in words.CAPTURE_ERRORS:
        await world.cell.fail(call_id, str(error), 14)
        await look(f"capture {error}", f"/fragments/board?call={call_id}")
    await world.cell.say(m.SecurityAlarm(call_id=call_id, kind="key-on-agent-leg"))
    await look("alarm", f"/?call={call_id}")
    await world.cell.end(call_id, EndReason.CALLER_HUNG_UP)
    call_id, payment = await card_ready(world, boss, DECLINED, reference="INV-2")
    await charge(boss, payment["id"], "declined")
    await look("declined", f"/?call={call_id}")
    with writing(world.database) as session:
        session.execute(update(AttemptRow).values(reversal_due=True, error="needs-review"))
    await look("a part", f"/payments/{payment['id']}")
    for state in PaymentState:
        with writing(world.database) as session:
            session.execute(update(PaymentRow).values(state=state.value))
        await look(f"board {state.value}", f"/fragments/board?call={call_id}")
        await look(f"payment {state.value}", f"/payments/{payment['id']}")
    with writing(world.database) as session:
        session.execute(update(PaymentRow).values(state="unknown"))
        session.execute(update(AttemptRow).values(reversal_due=False, error=None))
    for reversing in (True, False):
        search = Search(3, asks_again=not reversing, reversing=reversing, next_in_s=30.0, people_in_s=3000.0)
        world.app.state.context.searches.tell(payment["id"], search, world.clock.monotonic())
        await look(f"unknown {reversing}", f"/fragments/board?call={call_id}")
    for state in ("unknown", "approved"):
        with writing(world.database) as session:
            values = {
                "state": state,
                "set_aside_at": world.clock.now(),
                "decision_deadline": world.clock.now(),
            }
            session.execute(update(PaymentRow).values(**values))
        await look(f"set aside {state}", f"/fragments/board?call={call_id}")
        await look(f"set aside {state}, its page", f"/payments/{payment['id']}")
    with writing(world.database) as session:
        values = {"state": "settled", "decision_deadline": None, "settled_minor": 1500, "refunded_minor": 500}
        session.execute(update(PaymentRow).values(**values))
    await look("reports", "/reports")
    for reason in EndReason:
        with writing(world.database) as session:
            session.execute(update(CallRow).values(state="ended", end_reason=reason.value))
        await look(f"ended {reason.value}", f"/fragments/board?call={call_id}")
    await _programs(world, boss)
    for path in ("/history", "/history?kind=calls", "/people", "/programs", "/account", "/embed", "/audit"):
        await look(path, path)
    hook = (await boss.get("/api/v1/webhook-subscriptions")).json()["webhooks"][0]["id"]
    await look("deliveries", f"/programs/webhooks/{hook}")
    await look("not there", "/payments/pay_aaaaaaaaaaaaaaaaaaaaaa")
    guest = world.client()
    guest.headers["accept-language"] = language
    invitation = (await boss.post("/api/v1/operators", json={"name": "late"})).json()["invitation"]
    found["invitation"] = (await guest.get(invitation)).text
    for name, password in (("nobody", "wrong"), ("late", "")):
        found[f"sign in {name}"] = (
            await guest.post("/sign-in", data={"name": name, "password": password})
        ).text
    return found


async def _programs(world: PanelWorld, boss: httpx.AsyncClient) -> None:
    """Keys and a webhook whose deliveries went every way."""
    post = boss.post
    await post("/api/v1/api-keys", json={"name": "shop", "scopes": ["calls:read"]})
    body = {"url": "https://shop.example/hook", "events": ["payment.*"]}
    hook = (await post("/api/v1/webhook-subscriptions", json=body)).json()["webhook"]["id"]
    await post(f"/api/v1/webhook-subscriptions/{hook}/secret", json={})
    await boss.patch(f"/api/v1/webhook-subscriptions/{hook}", json={"enabled": False})
    for _ in range(4):
        await post(f"/api/v1/webhook-subscriptions/{hook}/test")
    with writing(world.database) as session:
        ways = [("delivered", None), ("failed", "timeout"), ("failed", "connection"), ("pending", "address")]
        rows = session.query(DeliveryRow).all()
        for row, (state, error) in zip(rows, ways, strict=True):
            row.state, row.error = state, error


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_english_and_no_bare_name_is_left_over(run: Run, language: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        english = _english(language)
        left: set[str] = set()
        pages = await _pages(world, language)
        assert pages["set aside approved"] != pages["board approved"]
        for name, html in pages.items():
            texts = _Texts()
            texts.feed(html)
            for text in texts.found:
                # Where letters are Cyrillic, a Latin word is English or a name that only the code knows.
                latin = language in ("ru", "uk") and re.search(r"[A-Za-z]{3,}", _LATIN.sub("", text))
                if latin or english.fullmatch(text):
                    left.add(f"{name}: {text}")
        assert left == set()
        assert APPROVED not in "".join(pages.values())

    run(scenario, refund_limits_minor={"administrator": 700}, void_limits_minor={"administrator": 1})


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_money_and_plurals_are_the_languages_own(run: Run, language: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR, language=language)
        boss = await world.signed_in("boss")
        catalogue = languages.translations(language)
        call_id = await world.cell.call_in()
        await new_payment(boss, call_id, amount_minor=123456789)
        for short in (1, 2, 4):
            await world.cell.fail(call_id, "invalid-card-number", 16 - short)
            page = (await boss.get(f"/fragments/board?call={call_id}")).text
            one, many = (
                f"The number is %(num)s {word} short. Ask the caller to key it again."
                for word in ("digit", "digits")
            )
            assert catalogue.ngettext(one, many, short) % {"num": short} in page
            assert money(123456789, "EUR", language) in page
            await world.cell.press(call_id, 1, "visa")

    run(scenario)
