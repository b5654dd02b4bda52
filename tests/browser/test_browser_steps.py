"""What an operator can do between the first key and the result, on the real stack, at four seats side by side."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.seats import CODE, EXPIRY, NUMBER, Seat, Site, charge, come_in, key, key_card, start
from tests.browser.stage import EXPIRED, GOOD, POOR, say, say_decline

WRONG_NUMBER_MINOR = 14  # the simulator answers 14 to a good card where an amount ends with this
RETRY, BANK = "Try the same card again", "The caller can ask their bank and call again."


def _offered(seat: Seat, code: str, *steps: tuple[str, str]) -> None:
    """The decline in words; these next steps and no other ones, the first by F2."""
    text = say_decline(seat.language, code)
    expect(seat.page.locator(".result h2")).to_have_text(text.happened)
    expect(seat.page.locator(".say")).to_contain_text(text.say)
    buttons = seat.page.locator("#payment .steps button[id^=step-]")
    expect(buttons).to_have_count(len(steps))
    for index, (name, words) in enumerate(steps):
        expect(buttons.nth(index)).to_have_id(f"step-{name}")
        expect(buttons.nth(index)).to_contain_text(say(seat.language, words))
    expect(buttons.first.locator("kbd")).to_have_text("F2")


def test_after_a_decline_only_what_makes_sense_is_offered_and_does_it(seats: list[Seat]) -> None:
    other = ("other_card", "Another card")
    come_in(seats)
    for seat in seats:
        seat.amount_minor += WRONG_NUMBER_MINOR - seat.amount_minor % 1_000
    start(seats)
    key_card(seats, EXPIRED)
    charge(seats, "declined")
    for seat in seats:
        _offered(seat, "54", ("key_expiry_again", "Expiry date again"), other)
        assert seat.page.locator(".whole-line").count() == 0
        seat.page.keyboard.press("F2")
    for seat in seats:
        expect(seat.page.locator(f"{NUMBER}.stored")).to_be_visible()
    key(seats, EXPIRY, "1131")
    key(seats, CODE, "123")  # it was forgotten with the answer
    charge(seats, "declined")
    for seat in seats:
        seat.page.click("#step-other_card")
    key_card(seats, POOR)
    charge(seats, "declined")
    for seat in seats:
        _offered(seat, "51", other, ("retry", RETRY))
        expect(seat.page.locator(".whole-line")).to_have_text(say(seat.language, BANK))
        seat.page.keyboard.press("F2")
    key_card(seats, GOOD)
    charge(seats, "declined")
    for seat in seats:
        _offered(seat, "14", ("key_number_again", "Card number again"), other)
        seat.page.keyboard.press("F2")
    key(seats, NUMBER, f"{GOOD}#")
    for seat in seats:
        expect(seat.page.locator(f"{EXPIRY}.stored")).to_be_visible()
        seat.page.keyboard.press("F4")
        dialog = seat.page.locator("#cancel-dialog")
        expect(dialog.locator("h2")).to_have_text(say(seat.language, "Cancel the payment?"))
        dialog.locator("[value=yes]").click()
        seat.shows("cancelled")
        expect(seat.page.locator(".result")).to_contain_text(say(seat.language, "Nothing was charged."))
        expect(seat.page.locator(".line.is-open")).to_be_visible()
        codes = [attempt["decline"]["raw_code"] for attempt in seat.payment()["attempts"]]
        assert codes == ["54", "54", "51", "14"]


def test_fields_are_taken_again_all_or_one_done_without_and_the_line_opened_meanwhile(
    seats: list[Seat],
) -> None:
    come_in(seats)
    start(seats)
    key(seats, NUMBER, f"{POOR}#")
    for seat in seats:
        dots = seat.page.locator(f"{NUMBER} field-dots")
        expect(dots).to_have_attribute("aria-label", "•••• 9995")
        expect(seat.page.locator(f"{NUMBER} .field-state")).to_have_text(say(seat.language, "Complete"))
        seat.page.keyboard.press("F8")
    for seat in seats:
        seat.page.wait_for_selector(f"{NUMBER}.collecting")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(0)
    key(seats, NUMBER, f"{GOOD}#")
    for seat in seats:
        seat.page.wait_for_selector(f"{EXPIRY}.collecting")
        seat.page.click("#open-line")
        dialog = seat.page.locator("#open-line-dialog")
        expect(dialog.locator("h2")).to_have_text(say(seat.language, "Open the line?"))
        dialog.locator("[value=yes]").click()
    for seat in seats:
        expect(seat.page.locator(".line.is-open .line-word")).to_have_text(say(seat.language, "Open"))
        expect(seat.page.locator(f"{NUMBER}.stored")).to_be_visible()
        seat.page.keyboard.press("F9")
    for seat in seats:
        expect(seat.page.locator(".line.is-masked .line-word")).to_have_text(say(seat.language, "Masked"))
    key(seats, EXPIRY, "1230")
    for seat in seats:
        seat.page.wait_for_selector("#again-security-code")
        seat.page.keyboard.press("F10")
    for seat in seats:
        seat.page.wait_for_selector(f"{CODE}.collecting")
        drop = seat.page.locator("#drop-security-code")
        expect(drop).to_contain_text(say(seat.language, "Do without"))
        drop.click()  # the caller cannot read it
    charge(seats, "settled")
    for seat in seats:
        payment = seat.payment()
        assert payment["card"]["last4"] == "4242"
        assert [each["field"] for each in payment["fields"]] == ["payment-card-number", "expiration-date"]


def test_a_kept_card_is_charged_in_a_later_call_and_the_same_amount_is_asked_about(
    site: Site, seats: list[Seat]
) -> None:
    come_in(seats)
    start(seats, lambda _, dialog: dialog.locator("[name=token_type]").check())
    key_card(seats, GOOD)
    charge(seats, "settled")
    for seat in seats:
        site.desk.payment(seat.payment_id(), lambda payment: bool(payment["kept_token"]))
    site.hang_up()
    come_in(seats)
    for seat in seats:
        past = seat.page.locator(".past li")
        expect(past.locator("button")).to_have_text(say(seat.language, "Charge the kept card") + " 12/30")
        past.locator("button").click()
        dialog = seat.page.locator("#payment-dialog[open]")
        hint = say(seat.language, "The kept card is charged: the caller keys nothing.")
        expect(dialog.locator("[data-kept-hint]")).to_have_text(f"{hint} Visa ··4242, 12/30")
        expect(dialog.locator("[name=reference]")).to_have_value(seat.reference)
        assert not dialog.locator("[data-keyed]:visible").count(), "nothing is asked of the caller"
        dialog.locator("[name=amount]").fill(seat.typed(seat.amount_minor))
        seat.page.keyboard.press("Enter")
    for seat in seats:
        seat.shows("ready")
        expect(seat.page.locator(".line.is-open")).to_be_visible()
        seat.page.keyboard.press("F2")
        _asked_once_more(seat, "no")
        seat.shows("ready")
        assert seat.payment()["attempts"] == []
        seat.page.keyboard.press("F2")
        _asked_once_more(seat, "yes")
    for seat in seats:
        seat.shows("settled")
        assert [attempt["state"] for attempt in seat.payment()["attempts"]] == ["approved"]
        boss = site.board("supervisor", seat.language)
        boss.click(f'[data-call="{seat.call_id()}"]')
        forget = boss.locator(".past button")
        expect(forget).to_have_text(say(seat.language, "Forget the kept card"))
        forget.click()
        dialog = boss.locator("#forget-card-dialog")
        expect(dialog.locator("h2")).to_have_text(say(seat.language, "Forget the kept card?"))
        dialog.locator("[value=yes]").click()
        expect(boss.locator(".past button")).to_have_count(0)
        expect(seat.page.locator(".past button")).to_have_count(0)


def _asked_once_more(seat: Seat, answer: str) -> None:
    dialog = seat.page.locator("#duplicate-dialog[open]")
    expect(dialog.locator("h2")).to_have_text(say(seat.language, "Charge once more?"))
    same = "The same card was charged the same amount within the last ten minutes."
    expect(dialog).to_contain_text(say(seat.language, same))
    dialog.locator(f"[value={answer}]").click()
    expect(dialog).not_to_be_visible()


def test_what_is_no_amount_and_a_card_number_in_words_mask_nothing(seats: list[Seat]) -> None:
    come_in(seats)
    for seat in seats:
        seat.page.click("#start-payment")
        dialog = seat.page.locator("#payment-dialog[open]")
        for amount in ("abc", "0", "1.999", "1 000.000", "-5"):
            dialog.locator("[name=amount]").fill(amount)
            dialog.locator("[name=amount]").press("Enter")
            wrong = say(seat.language, "This is not an amount in this currency.")
            expect(dialog.locator("[data-error]")).to_have_text(wrong)
        dialog.locator("[name=reference]").fill(" ".join(GOOD[at : at + 4] for at in range(0, 16, 4)))
        dialog.locator("[name=amount]").fill("1")
        dialog.locator("[name=amount]").press("Enter")
        never = "This looks like a card number. Never write one down; let the caller key it."
        expect(dialog.locator("[data-error]")).to_have_text(say(seat.language, never))
        assert not seat.site.desk.get(f"/calls/{seat.call_id()}")["masked"]
        seat.page.keyboard.press("Escape")
        expect(seat.page.locator("#payment")).to_have_count(0)
