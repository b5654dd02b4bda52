"""The story of the demo: a call, a declined card, another card, approved, good-bye.

The caller and the operator's phone are processes of their own; the operator works through the public HTTP API only.
What they said, keyed, heard and saw is written into a :class:`Record`, which ``report`` examines afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paycall.demo.cards import WALLET
from paycall.demo.leg_evidence import Pressed, Spoken
from paycall.demo.operator import OperatorError, PanelEvent, ScriptedOperator
from paycall.demo.phone_client import PhoneProcess
from paycall.demo.speech import TEXTS, load
from paycall.demo.stack import HOST, Stack
from paycall.domain.fields import DEFAULT_FIELDS, Field

AMOUNT_MINOR, CURRENCY = 4990, "EUR"
MODES = ("inband", "rfc4733", "info")
_STEP_S = 20.0
_KEYING_S = 60.0
_PAUSE_AFTER_KEYS = 8
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class KeyPress:
    """A key: what it was (kept out of ``repr``), for which card and field, when it was let go."""

    symbol: str = field(repr=False)
    take: int
    field_name: Field
    index: int
    start_sample: int
    end_sample: int
    released_at: float


@dataclass
class Leg:
    """What one phone said, with its place in what was sent, and what the other heard."""

    spoken: list[Spoken] = field(default_factory=list)
    spoken_from: float = 0.0
    heard_from: float = 0.0
    recording: Path | None = None


@dataclass
class Record:
    """Everything that was observed."""

    mode: str
    payment: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    keys: list[KeyPress] = field(default_factory=list)
    events: list[PanelEvent] = field(default_factory=list)
    received: bytes = field(default=b"", repr=False)
    keys_on_agent_phone: int = 0
    authorize_s: list[float] = field(default_factory=list)
    to_agent: Leg = field(default_factory=Leg)
    to_caller: Leg = field(default_factory=Leg)

    @property
    def pressed(self) -> list[Pressed]:
        """The keys as ``leg_evidence`` takes them."""
        return [Pressed(key.symbol, key.start_sample, key.end_sample) for key in self.keys]


class Scenario:
    """Plays the story once on a running stack."""

    def __init__(self, stack: Stack, mode: str, folder: Path, tell: Tell) -> None:
        self.record = Record(mode)
        self._stack = stack
        self._folder = folder
        self._tell = tell
        self._phase = "before"
        self._since = 0

    async def play(self) -> Record:
        """Play it.

        Raises
        ------
        PaycallError
            A part did not do what the story needs.
        """
        log = self._folder / "phones.log"
        agent = await PhoneProcess.start(HOST, self._stack.agent_port, log=log)
        try:
            caller = await PhoneProcess.start(HOST, log=log)
            try:
                async with ScriptedOperator(self._stack.panel_url) as operator:
                    self._caller, self._agent, self._operator = caller, agent, operator
                    await self._story()
                    self.record.events = list(operator.events)
                    self.record.received = bytes(operator.received)
            finally:
                await caller.close()
        finally:
            await agent.close()
        return self.record

    # ---- the story ----------------------------------------------------------------------------------------

    async def _story(self) -> None:
        await self._operator.sign_in(self._stack.operator, self._stack.password)
        self._tell("operator", "signs in to the panel")
        call_id = await self._connect()
        await self._say("operator", "operator-greeting")
        await self._say("caller", "caller-hello")
        payment_id = await self._begin_payment(call_id)
        await self._take_card(0, first=True)
        await self._authorize(payment_id)
        payment = await self._hear_decline(payment_id)
        await self._other_card(payment)
        await self._take_card(1, first=False)
        await self._authorize(payment_id)
        await self._hear_approval(payment_id)
        await self._say_goodbye(call_id)

    async def _connect(self) -> str:
        await self._agent.tell("answer", after_ms=500)
        await self._caller.tell("call", uri=self._stack.sip_uris[0])
        self._tell("caller", "dials the shop")
        arrived = await self._operator.wait_for("call.arrived", _STEP_S)
        self._tell("panel", "a call has arrived")
        await self._agent.wait_for("ringing", _STEP_S)
        self._tell("operator", "the phone rings; answers it")
        await asyncio.gather(*(phone.wait_for("audio", _STEP_S) for phone in (self._caller, self._agent)))
        connected = await self._operator.wait_for("call.connected", _STEP_S)
        self._tell("panel", "the call is connected")
        assert arrived.data["call"]["id"] == connected.data["call"]["id"]  # noqa: S101 - there is one call only
        return str(connected.data["call"]["id"])

    async def _begin_payment(self, call_id: str) -> str:
        self._mark()
        self._phase = "during"
        body = {
            "amount_minor": AMOUNT_MINOR,
            "currency": CURRENCY,
            "reference": "order-demo",
            "fields": [item.value for item in DEFAULT_FIELDS],
        }
        payment = await self._operator.request("POST", f"/calls/{call_id}/payments", body)
        self._tell("operator", f"starts a payment of {AMOUNT_MINOR / 100:.2f} {CURRENCY}")
        await self._wait_for("call.mask", lambda data: bool(data["call"]["masked"]))
        self._tell("panel", "the line to the operator is masked: keys will not be heard")
        await self._say("operator", "operator-key")
        await self._say("caller", "caller-ready")
        return str(payment["id"])

    async def _take_card(self, take: int, first: bool) -> None:
        for item in DEFAULT_FIELDS:
            await self._wait_for("capture.field", partial(_is_about, item))
            await asyncio.sleep(0.4)
            digits = WALLET[take].digits(item)
            self._tell("caller", f"keys the {_WORDS[item]}")
            head = _PAUSE_AFTER_KEYS if item is Field.CARD_NUMBER and first else len(digits)
            await self._key(take, item, digits[:head], 0)
            if digits[head:]:
                await self._say("caller", "caller-moment")
                await self._key(take, item, digits[head:], head)
            await self._wait_for("capture.stored", partial(_is_about, item))
            self._tell("panel", f"{_WORDS[item]}: {'•' * len(digits)}")
        ready = await self._wait_for("payment.ready")
        self._tell(
            "vault", f"keeps the card, encrypted, and gives the panel a token: {ready['payment']['token']}"
        )
        await self._say("caller", "caller-done")

    async def _authorize(self, payment_id: str) -> None:
        self._mark()
        await self._say("operator", "operator-checking")
        self._tell("operator", "charges the card")
        started = time.monotonic()
        await self._operator.request("POST", f"/payments/{payment_id}/authorize")
        answered = await self._operator.wait_for(
            ("payment.approved", "payment.declined", "payment.unknown"), _STEP_S, self._since
        )
        self.record.authorize_s.append(answered.at - started)
        attempt = answered.data["payment"]["attempts"][-1]
        raw_code = (attempt["decline"] or {}).get("raw_code")
        what = f"answers {attempt['state']}" + (f", code {raw_code}" if raw_code else "")
        self._tell("acquirer", what)

    async def _hear_decline(self, payment_id: str) -> Mapping[str, Any]:
        payment = await self._operator.request("GET", f"/payments/{payment_id}")
        decline = payment["attempts"][-1]["decline"] or {}
        self._tell(
            "panel",
            f"{decline.get('reason', payment['state'])}, declined by: {decline.get('declined_by', '-')}",
        )
        self._tell("panel", f"what happened: {decline.get('happened', '-')}")
        self._tell("panel", f"what to say: {decline.get('say', '-')}")
        await self._say("operator", "operator-declined")
        await self._say("caller", "caller-other")
        return payment

    async def _other_card(self, payment: Mapping[str, Any]) -> None:
        self._mark()
        fields = next(
            (step["fields"] for step in payment["next_steps"] if step["step"] == "other_card"), None
        )
        if fields is None:
            raise OperatorError("the panel does not offer another card after this decline")
        await self._operator.request("POST", f"/payments/{payment['id']}/capture", {"fields": fields})
        self._tell("operator", "asks for another card, in the same call")

    async def _hear_approval(self, payment_id: str) -> None:
        since = self._since
        payment = await self._operator.request("GET", f"/payments/{payment_id}")
        card = payment["card"] or {}
        self._tell("panel", f"approved: {card.get('brand')} ending in {card.get('last4')}")
        settled = await self._operator.wait_for(("payment.settled", "payment.settle_failed"), _STEP_S, since)
        self._tell("panel", settled.name.removeprefix("payment.").replace("_", " "))
        await self._operator.wait_for("call.mask", _STEP_S, since, lambda data: not data["call"]["masked"])
        self._tell("panel", "the mask is off: this payment needs no more keys")
        self.record.payment = await self._operator.request("GET", f"/payments/{payment_id}")

    async def _say_goodbye(self, call_id: str) -> None:
        self._phase = "after"
        await self._say("operator", "operator-approved")
        await self._say("caller", "caller-thanks")
        await self._say("operator", "operator-goodbye")
        await self._save()
        await self._caller.tell("hang_up")
        self._tell("caller", "hangs up")
        ended = await self._operator.wait_for("call.ended", _STEP_S)
        self._tell("panel", f"the call has ended: {ended.data['call']['end_reason']}")
        await self._agent.wait_for("ended", _STEP_S)
        self.record.call = await self._operator.request("GET", f"/calls/{call_id}")

    # ---- the hands and the voice --------------------------------------------------------------------------

    def _mark(self) -> None:
        """What is waited for from here on has to happen from here on."""
        self._since = len(self._operator.events)

    async def _wait_for(
        self, name: str, where: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Mapping[str, Any]:
        return (await self._operator.wait_for(name, _STEP_S, self._since, where)).data

    async def _say(self, who: str, sentence: str) -> None:
        phone = self._caller if who == "caller" else self._agent
        leg = self.record.to_agent if who == "caller" else self.record.to_caller
        self._tell(who, f"“{TEXTS[sentence]}”")
        said = await phone.tell("say", name=sentence)
        leg.spoken.append(Spoken(load(sentence), int(said["start_sample"]), self._phase))
        await asyncio.sleep(0.3)

    async def _key(self, take: int, item: Field, digits: str, already: int) -> None:
        done = await self._caller.tell("key", _KEYING_S, digits=digits, mode=self.record.mode)
        for event in self._caller.events:
            if event["event"] == "key_released" and event["id"] == done["id"]:
                index = int(event["index"])
                press = KeyPress(
                    symbol=digits[index],
                    take=take,
                    field_name=item,
                    index=already + index,
                    start_sample=int(event["start_sample"]),
                    end_sample=int(event["end_sample"]),
                    released_at=float(event["ended_at"]),
                )
                self.record.keys.append(press)

    async def _save(self) -> None:
        await asyncio.sleep(0.5)  # what is still under way
        legs = ((self.record.to_agent, self._agent, "agent"), (self.record.to_caller, self._caller, "caller"))
        moments = {}
        for leg, phone, name in legs:
            leg.recording = self._folder / f"{name}-leg.wav"
            saved = await phone.tell("save", path=str(leg.recording))
            leg.heard_from = float(saved["heard_from"])
            moments[name] = float(saved["spoken_from"])
        self.record.to_agent.spoken_from = moments["caller"]
        self.record.to_caller.spoken_from = moments["agent"]
        received = await self._agent.tell("received")
        self.record.keys_on_agent_phone = len(received["methods"])


def _is_about(item: Field, data: Mapping[str, Any]) -> bool:
    return bool(data["field"] == item.value)


_WORDS = {
    Field.CARD_NUMBER: "card number",
    Field.EXPIRY: "expiry",
    Field.SECURITY_CODE: "security code",
    Field.POSTAL_CODE: "postal code",
}
