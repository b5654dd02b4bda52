"""Pages: contexts that fit their templates, catalogues that are complete, words for every name."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jinja2 import meta
from sqlalchemy import event

from paycall.domain.call import CallState, EndReason
from paycall.domain.declines import DeclinedBy, NextStep
from paycall.domain.fields import CaptureError, Field
from paycall.domain.payment import PaymentEvent, PaymentState
from paycall.panel import languages, words
from paycall.panel.pages import Page, environment
from paycall.panel.roles import Role
from tests.fakes.panel_world import APPROVED, DECLINED, PanelWorld, card_ready, charge, new_payment, until

ROOT = Path(__file__).parents[3]
Run = Callable[..., None]


def _all_pages(kind: type[Page] = Page) -> list[type[Page]]:
    return [kind, *(page for child in kind.__subclasses__() for page in _all_pages(child))]


PAGES = sorted(
    {page for page in _all_pages() if "template" in vars(page)} - {Page}, key=lambda page: page.__name__
)


def _names(template: str, seen: set[str]) -> set[str]:
    """Every name that a template and what it includes asks of its context."""
    env = environment("en")
    source, _, _ = env.loader.get_source(env, template)  # type: ignore[union-attr]
    tree = env.parse(source)
    found = set(meta.find_undeclared_variables(tree))
    for other in meta.find_referenced_templates(tree):
        if other and other not in seen:
            seen.add(other)
            found |= _names(other, seen)
    return found


# Set by the template that includes the part.
_LOCAL = {"state", "attempt", "amount", "mine", "is_free", "wait_s"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_template_asks_only_for_what_its_context_has(page: type[Page]) -> None:
    given = {field.name for field in dataclasses.fields(page)} | set(environment("en").globals) | {"theme"}
    assert _names(page.template, {page.template}) - given - _LOCAL == set()


@pytest.mark.parametrize(
    ("vocabulary", "names"),
    [
        (words.PAYMENT_STATES, list(PaymentState)),
        (words.CALL_STATES, list(CallState)),
        (words.END_REASONS, list(EndReason)),
        (words.FIELDS, list(Field)),
        (words.CAPTURE_ERRORS, list(CaptureError)),
        (words.DECLINED_BY, list(DeclinedBy)),
        (words.STEPS, list(NextStep)),
        (words.ROLES, list(Role)),
        (words.STORY, list(PaymentEvent)),
    ],
)
def test_every_name_of_the_domain_has_words(vocabulary: dict[str, str], names: list[str]) -> None:
    assert {str(name) for name in names} <= set(vocabulary)


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations_script", ROOT / "scripts" / "translations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_catalogues_are_complete() -> None:
    script = _script()
    template = script.collect()
    assert len(template) > 200
    for language in script.LANGUAGES:
        assert script.problems(language, template) == []


def test_money_and_plurals_are_written_as_the_language_writes_them() -> None:
    assert languages.money(199950, "EUR", "en") == "€1,999.50"
    assert languages.money(199950, "EUR", "ru") == "1\u00a0999,50\u00a0€"
    assert languages.money(1999, "HUF", "hu") == "19,99\u00a0Ft"
    assert languages.money(1999, "JPY", "en") == "¥1,999"
    plural = languages.translations("ru").ngettext
    one, many = "%(num)s try left.", "%(num)s tries left."
    forms = [plural(one, many, number) % {"num": number} for number in (1, 2, 5, 21)]
    assert forms == [
        "Осталась 1 попытка.",
        "Осталось 2 попытки.",
        "Осталось 5 попыток.",
        "Осталась 21 попытка.",
    ]


def test_the_browser_chooses_the_language_until_somebody_signs_in(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("oksana", language="uk")
        client = world.client()
        hungarian = await client.get("/sign-in", headers={"accept-language": "de, hu;q=0.8, en;q=0.5"})
        assert 'lang="hu"' in hungarian.text and "Bejelentkezés" in hungarian.text
        oksana = await world.signed_in("oksana")
        assert "Дзвінки" in (await oksana.get("/", headers={"accept-language": "en"})).text

    run(scenario)


@pytest.mark.parametrize("language", list(languages.LANGUAGES))
def test_every_state_of_a_payment_renders(run: Run, language: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        from sqlalchemy import update

        from paycall.store.database import writing
        from paycall.store.tables import PaymentRow

        world.add("boss", Role.ADMINISTRATOR, language=language)
        boss = await world.signed_in("boss")
        call_id, payment = await card_ready(world, boss, DECLINED)
        await charge(boss, payment["id"], "declined")
        for state in PaymentState:
            with writing(world.database) as session:
                session.execute(update(PaymentRow).values(state=state.value))
            for path in (
                f"/fragments/board?call={call_id}",
                f"/payments/{payment['id']}",
                "/history",
                "/reports",
            ):
                answer = await boss.get(path, headers={"accept": "text/html"})
                assert answer.status_code == 200, (state, path)
        for path in ("/people", "/account", "/history?kind=calls", "/docs"):
            assert (await boss.get(path, headers={"accept": "text/html"})).status_code == 200
        assert APPROVED not in answer.text

    run(scenario)


def test_an_operators_page_has_no_buttons_that_the_role_does_not_allow(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("lex", Role.AUDITOR)
        anna, lex = await world.signed_in("anna"), await world.signed_in("lex")
        call_id = await world.cell.call_in()
        await new_payment(anna, call_id)
        mine = (await anna.get(f"/fragments/board?call={call_id}")).text
        theirs = (await lex.get(f"/fragments/board?call={call_id}")).text
        assert 'id="cancel-payment"' in mine and "Hang up" in mine
        assert "data-api" not in theirs and "19.99" in theirs

    run(scenario)


def test_many_calls_are_read_with_as_few_questions_as_one(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        # A context's own list: what works in the background asks the database, too, whenever its time has come.
        mine: ContextVar[list[str] | None] = ContextVar("mine", default=None)

        def note(*given: Any) -> None:
            if (asked := mine.get()) is not None:
                asked.append(given[2])

        event.listen(world.database, "before_cursor_execute", note)

        async def questions(path: str, calls: int) -> int:
            asked: list[str] = []
            before = mine.set(asked)
            answer = await boss.get(path, headers={"accept": "text/html"})
            mine.reset(before)
            assert asked, "the list is the one that the request had"
            assert all(f"3630{number}" in answer.text for number in range(calls))
            return len(asked)

        paths = ("/fragments/board", "/history?kind=calls", "/api/v1/calls")
        await world.cell.call_in(caller="+36300")
        few = [await questions(path, 1) for path in paths]
        for number in range(1, 6):
            call_id = await world.cell.call_in(caller=f"+3630{number}")
            await boss.put(f"/api/v1/calls/{call_id}/customer", json={"name": f"Nagy 3630{number}"})
        assert [await questions(path, 6) for path in paths] == few

    run(scenario)


def test_a_page_that_was_just_opened_shows_the_call_that_is_being_paid_in_before_a_newer_one(
    run: Run,
) -> None:
    async def scenario(world: PanelWorld) -> None:
        phone = "sip:dora@pbx.example"
        world.add("dora", agent_uri=phone)
        dora = await world.signed_in("dora")
        paid_in = await world.cell.call_in(caller="+361", agent_uri=phone)
        payment_id = (await new_payment(dora, paid_in))["id"]
        newer = await world.cell.call_in(caller="+362", agent_uri=phone)
        assert f'data-front="{paid_in}"' in (await dora.get("/")).text
        assert f'data-front="{newer}"' in (await dora.get(f"/?call={newer}")).text, "who asks for it has it"
        await dora.post(f"/api/v1/payments/{payment_id}/cancel")
        await until(dora, payment_id, "cancelled")
        assert f'data-front="{newer}"' in (await dora.get("/")).text

    run(scenario)
