"""Pictures of every page into docs/screenshots/: ``make screenshots``.

Starts a whole paycall on free ports, makes the test call that a newcomer makes, and looks at the panel through the
system's Chromium at 1366×768 (and once at 400). Nothing in the pictures is drawn by hand.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from paycall.demo.stack import Stack, start_stack  # noqa: E402
from tests.browser.crm import crm  # noqa: E402

OUT = ROOT / "docs" / "screenshots"
_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
# Settled by hand, so that the step is seen; recorded, so that it is shown; a program may show the board in its frame.
_SETTINGS = """
settlement = "manual"
frame_ancestors = ["{crm}"]
[media.recording]
enabled = true
"""
_STATE = "#payment[data-state={}]"


def shoot(page: Page, name: str, *, whole: bool = False) -> None:
    """Take a picture when the page has come to rest."""
    page.wait_for_timeout(400)
    page.screenshot(path=OUT / f"{name}.png", full_page=whole)
    print(f"{name}.png")


def take_payment(page: Page) -> None:
    """The test call: declined, another card, approved, with a picture of each step."""
    page.click("#test-call")
    page.wait_for_selector("#start-payment", timeout=20_000)
    shoot(page, "call")
    page.keyboard.press("F2")
    page.wait_for_selector("#payment-dialog[open]")
    page.keyboard.type("19.99")
    page.fill("#payment-dialog [name=reference]", "INV-2041")
    shoot(page, "payment-dialog")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('#field-payment-card-number field-dots i.on').length >= 6",
        timeout=20_000,
    )
    page.screenshot(path=OUT / "payment-capturing.png")
    print("payment-capturing.png")
    page.wait_for_selector(_STATE.format("ready"), timeout=60_000)
    shoot(page, "payment-ready")
    page.keyboard.press("F2")
    page.wait_for_selector(_STATE.format("declined"), timeout=20_000)
    shoot(page, "payment-declined")
    page.set_viewport_size({"width": 400, "height": 860})
    shoot(page, "payment-declined-narrow")
    page.set_viewport_size({"width": 1366, "height": 768})
    page.emulate_media(color_scheme="dark")
    shoot(page, "payment-declined-dark")
    page.emulate_media(color_scheme="light")
    page.click("#step-other_card")
    page.wait_for_selector(_STATE.format("ready"), timeout=60_000)
    page.keyboard.press("F2")
    page.wait_for_selector(_STATE.format("approved"), timeout=20_000)
    shoot(page, "payment-approved")
    page.keyboard.press("F2")
    page.fill("#settle-dialog [name=amount]", "15.00")
    shoot(page, "settle-dialog")
    page.keyboard.press("Enter")
    page.wait_for_selector(_STATE.format("settled"), timeout=20_000)
    shoot(page, "payment-settled-in-part")


def prepare_programs(page: Page) -> tuple[str, str]:
    """Somebody to see on the pages of people and programs; the path of a webhook's deliveries, an invitation."""
    invitation = ""
    for path, body in (
        ("operators", {"name": "oksana", "display_name": "Оксана Коваль", "language": "uk"}),
        (
            "operators",
            {"name": "bela", "display_name": "Kovács Béla", "role": "supervisor", "language": "hu"},
        ),
        ("api-keys", {"name": "Web shop", "scopes": ["calls:read", "payments:write"]}),
        ("webhook-subscriptions", {"url": "http://127.0.0.1:9/paycall", "events": ["payment.*"]}),
    ):
        answer = page.request.post(f"/api/v1/{path}", data=body)
        assert answer.status == 201, answer.text()
        invitation = answer.json().get("invitation", invitation)
    hook = page.request.get("/api/v1/webhook-subscriptions").json()["webhooks"][0]["id"]
    page.request.post(f"/api/v1/webhook-subscriptions/{hook}/test")
    page.request.post(f"/api/v1/webhook-subscriptions/{hook}/secret", data={})
    return f"/programs/webhooks/{hook}", invitation


def take_call_in_a_frame(page: Page, stack: Stack, program: str) -> None:
    """The board in another program's page, with a payment begun."""
    page.goto(f"{program}/?{stack.panel_url}/embed")
    board = page.frame_locator("iframe")
    board.locator("#test-call").click()
    board.locator("#start-payment").press("F2", timeout=20_000)
    amount = board.locator("#payment-dialog[open] [name=amount]")
    amount.fill("19.99")
    amount.press("Enter")
    board.locator(f"{_STATE.format('capturing')} field-dots i.on").nth(5).wait_for(timeout=20_000)
    page.screenshot(path=OUT / "embed.png")
    print("embed.png")
    board.locator("#hang-up").click()
    board.locator("#hang-up-dialog [value=yes]").click()
    board.locator(".call-head.ended").wait_for()


def take_up_invitation(page: Page, invitation: str) -> None:
    """What somebody new sees first, and again if it is no longer good."""
    other = page.context.browser.new_page(viewport=page.viewport_size)  # type: ignore[union-attr]
    other.goto(invitation)
    shoot(other, "invitation")
    other.goto(f"{invitation}-of-last-year")
    shoot(other, "error")
    other.close()


def tour(page: Page, stack: Stack, program: str) -> None:
    """Every page once."""
    page.goto(f"{stack.panel_url}/sign-in")
    shoot(page, "sign-in")
    page.fill("[name=name]", stack.operator)
    page.fill("[name=password]", stack.password)
    page.press("[name=password]", "Enter")
    page.wait_for_selector("#connection[data-state=live]")
    shoot(page, "board")
    take_payment(page)
    page.click("#hang-up")
    page.click("#hang-up-dialog [value=yes]")
    page.wait_for_selector(".line.is-ended")
    take_call_in_a_frame(page, stack, program)
    deliveries, invitation = prepare_programs(page)
    take_up_invitation(page, invitation)
    for name, path in (
        ("history", "/history"),
        ("calls", "/history?kind=calls"),
        ("reports", "/reports"),
        ("people", "/people"),
        ("programs", "/programs"),
        ("deliveries", deliveries),
        ("account", "/account"),
        ("audit", "/audit"),
        ("api", "/docs"),
    ):
        page.goto(stack.panel_url + path)
        shoot(page, name)
    page.goto(f"{stack.panel_url}/history")
    page.locator("tbody a").last.click()  # the first payment, from its decline on
    page.wait_for_selector(".story")
    shoot(page, "payment-story", whole=True)


def in_every_language(page: Page) -> None:
    """The account's page and a payment's, where words are longest."""
    for language in ("ru", "uk", "hu"):
        page.request.patch("/api/v1/account", data={"language": language})
        page.goto("/history")
        page.locator("tbody a").last.click()
        shoot(page, f"payment-story-{language}")
        page.goto("/account")
        shoot(page, f"account-{language}", whole=True)


def main() -> None:
    """Start, look, stop."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("screenshots need Chromium (scripts/system-tools.sh installs it)")
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, crm() as program:
        stack = start_stack(Path(folder) / "stack", extra=_SETTINGS.format(crm=program))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=_ARGS)
                size: ViewportSize = {"width": 1366, "height": 768}
                page = browser.new_page(viewport=size, base_url=stack.panel_url)
                tour(page, stack, program)
                in_every_language(page)
                browser.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
