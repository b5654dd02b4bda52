"""The whole product in a browser: real cells, vault and acquirer simulator, a scripted caller by SIP and RTP.

Signs in as the first operator, takes a test call by the button, sees the card declined and another one approved.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from paycall.demo.stack import start_stack


def test_a_newcomer_takes_a_test_call_to_decline_and_approval(tmp_path: Path, chromium: Browser) -> None:
    stack = start_stack(tmp_path / "stack")
    try:
        page = chromium.new_page(viewport={"width": 1366, "height": 768})
        page.goto(stack.panel_url)
        page.fill("[name=name]", stack.operator)
        page.fill("[name=password]", stack.password)
        page.press("[name=password]", "Enter")
        page.wait_for_selector("#connection[data-state=live]")
        page.click("#test-call")
        page.wait_for_selector("#start-payment", timeout=20_000)
        page.keyboard.press("F2")
        page.wait_for_selector("#payment-dialog[open]")
        page.keyboard.type("19.99")
        page.keyboard.press("Enter")
        page.wait_for_selector("#payment[data-state=capturing]", timeout=20_000)
        expect(page.locator(".line.is-masked")).to_be_visible()
        page.wait_for_selector("#field-payment-card-number field-dots i.on", timeout=20_000)
        page.wait_for_selector("#payment[data-state=ready]", timeout=60_000)
        page.keyboard.press("F2")
        page.wait_for_selector("#payment[data-state=declined]", timeout=20_000)
        expect(page.locator(".say")).to_be_visible()
        page.click("#step-other_card")
        page.wait_for_selector("#payment[data-state=ready]", timeout=60_000)
        page.keyboard.press("F2")
        page.wait_for_selector("#payment[data-state=settled]", timeout=20_000)
        expect(page.locator(".line.is-open")).to_be_visible(timeout=10_000)
        page.click("#hang-up")
        page.click("#hang-up-dialog [value=yes]")
        expect(page.locator(".line.is-ended")).to_be_visible()
        page.close()
    finally:
        stack.stop()
