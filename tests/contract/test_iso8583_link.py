"""The line to a host: shared by many requests, echoed, dialled anew, and never mistaken in an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway_adapters.iso8583.adapter import Iso8583Acquirer
from gateway_adapters.iso8583.codec import Codec, read_frame
from paycall.domain.authorization import AuthorizationRequest, Outcome
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Card
from paycall.domain.errors import NoAnswerError, NotSentError, RefusedRequestError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.secret import Pan

CODEC = Codec("ascii")
CARD = Card(Pan("4242424242424242"), Expiry(2031, 4))


class Host:
    """A host whose answers a test writes: it keeps what it hears and leaves authorizations to the test."""

    def __init__(self, answers: Callable[[Host, dict[str, str]], Awaitable[None]]) -> None:
        self._answers = answers
        self.heard: list[dict[str, str]] = []
        self.connections = self.ended = 0
        self.writer: asyncio.StreamWriter | None = None
        self.signs_on = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        try:
            while True:
                message = CODEC.unpack(await read_frame(reader))
                self.heard.append(message)
                if message["t"] == "0800" and self.signs_on:
                    self.answer(message, "00")
                elif message["t"] != "0800":
                    await self._answers(self, message)
        except (OSError, asyncio.IncompleteReadError):
            self.ended += 1
            writer.close()

    def answer(self, message: dict[str, str], code: str, **changes: str) -> None:
        assert self.writer is not None
        kept = {name: message[name] for name in ("7", "11", "37", "41", "70") if name in message}
        reply = {"t": f"{message['t'][:2]}{int(message['t'][2]) + 1}0", "39": code} | kept | changes
        self.writer.write(CODEC.pack(reply))

    def kinds(self) -> list[str]:
        return [message["t"] + message.get("70", "") for message in self.heard]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.01)


def with_host(
    answers: Callable[[Host, dict[str, str]], Awaitable[None]],
    work: Callable[[Iso8583Acquirer, Host], Awaitable[Any]],
    **settings: Any,
) -> Host:
    async def main() -> Host:
        host = Host(answers)
        server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        acquirer = Iso8583Acquirer.from_settings(
            {
                "url": f"tcp://127.0.0.1:{port}",
                "institution_id": "123456",
                "terminal_id": "PAYCALL1",
                "merchant_id": "PAYCALL00000001",
                "read_s": 10.0,
            }
            | settings
        )
        try:
            await work(acquirer, host)
        finally:
            await acquirer.aclose()
            server.close()
            if host.writer is not None:
                host.writer.close()
        return host

    return asyncio.run(main())


def order(amount_minor: int = 100) -> AuthorizationRequest:
    return AuthorizationRequest(new_id("att"), new_id("pay"), Money(amount_minor, "EUR"))


async def approve(host: Host, message: dict[str, str]) -> None:
    host.answer(message, "00")


async def say_nothing(host: Host, message: dict[str, str]) -> None:
    return


def test_many_requests_share_one_connection_and_get_their_own_answers() -> None:
    waiting: list[dict[str, str]] = []

    async def backwards(host: Host, message: dict[str, str]) -> None:
        waiting.append(message)
        if len(waiting) == 5:
            for one in reversed(waiting):
                host.answer(one, "00" if one["4"].endswith("0") else "51")

    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        results = await asyncio.gather(
            *(acquirer.authorize(order(amount), CARD) for amount in (10, 11, 20, 21, 30))
        )
        outcomes = [result.outcome for result in results]
        assert outcomes == [
            Outcome.APPROVED,
            Outcome.DECLINED,
            Outcome.APPROVED,
            Outcome.DECLINED,
            Outcome.APPROVED,
        ]

    host = with_host(backwards, work)
    assert host.connections == 1
    assert host.kinds().count("0800001") == 1, "signed on once"


def test_a_caller_who_gives_up_during_the_sign_on_leaves_no_half_open_line() -> None:
    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        host.signs_on = False
        asking = asyncio.create_task(acquirer.authorize(order(), CARD))
        await until(lambda: "0800001" in host.kinds())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        host.signs_on = True
        assert (await acquirer.authorize(order(), CARD)).outcome is Outcome.APPROVED

    host = with_host(approve, work)
    assert host.connections == 2
    assert host.kinds()[-2:] == ["0800001", "0100"], "signed on before anything else"


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() -> None:
    late: list[dict[str, str]] = []

    async def late_then_right(host: Host, message: dict[str, str]) -> None:
        if not late:
            late.append(message)
            return
        host.answer(late[0], "00")
        host.answer(message, "51")

    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        with pytest.raises(NoAnswerError):
            await acquirer.authorize(order(), CARD)
        assert (await acquirer.authorize(order(), CARD)).outcome is Outcome.DECLINED

    assert with_host(late_then_right, work, read_s=2.0).connections == 1


def test_an_answer_with_a_foreign_reference_is_none() -> None:
    async def foreign(host: Host, message: dict[str, str]) -> None:
        host.answer(message, "00", **{"37": "ZZZZZZZZZZZZ"})

    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        with pytest.raises(NoAnswerError):
            await acquirer.authorize(order(), CARD)

    with_host(foreign, work, read_s=1.0)


def test_a_broken_line_answers_nobody_and_the_next_request_dials_anew() -> None:
    async def hang_up_once(host: Host, message: dict[str, str]) -> None:
        if host.connections == 1:
            assert host.writer is not None
            host.writer.close()
        else:
            host.answer(message, "00")

    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        request = order()
        with pytest.raises(NoAnswerError):
            await acquirer.authorize(request, CARD)
        assert (await acquirer.authorize(request, CARD)).outcome is Outcome.APPROVED
        first, second = (message for message in host.heard if message["t"] == "0100")
        assert (first["11"], first["37"]) == (second["11"], second["37"]), "the very same attempt"

    assert with_host(hang_up_once, work).connections == 2


def test_bytes_that_are_no_message_end_the_connection() -> None:
    async def nonsense(host: Host, message: dict[str, str]) -> None:
        assert host.writer is not None
        host.writer.write(b"\xff\xff" + b"x" * 50 if host.connections == 1 else b"\x00\x04oops")

    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        for _ in range(2):
            with pytest.raises(NoAnswerError):
                await acquirer.authorize(order(), CARD)

    assert with_host(nonsense, work).connections == 2


def test_a_host_that_does_not_sign_us_on_was_sent_nothing() -> None:
    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        host.signs_on = False
        with pytest.raises(NotSentError):
            await acquirer.authorize(order(), CARD)
        assert "0100" not in host.kinds()

    with_host(approve, work, read_s=0.3)


def test_an_idle_line_is_echoed_and_a_dead_one_is_given_up() -> None:
    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        await acquirer.authorize(order(), CARD)
        await until(lambda: host.kinds().count("0800301") >= 2)
        host.signs_on = False  # it answers no echo any more
        await until(lambda: host.ended == 1)
        host.signs_on = True
        assert (await acquirer.authorize(order(), CARD)).outcome is Outcome.APPROVED

    assert with_host(approve, work, echo_s=0.15, read_s=2.0).connections == 2


def test_what_does_not_fit_the_hosts_format_is_not_sent() -> None:
    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        with pytest.raises(RefusedRequestError):
            await acquirer.authorize(order(), CARD)
        assert "0100" not in host.kinds()

    with_host(approve, work, merchant_id="a merchant id of more than fifteen characters")


def test_closing_leaves_whoever_waits_without_an_answer() -> None:
    async def work(acquirer: Iso8583Acquirer, host: Host) -> None:
        asked = asyncio.create_task(acquirer.authorize(order(), CARD))
        await until(lambda: "0100" in host.kinds())
        await acquirer.aclose()
        with pytest.raises(NoAnswerError):
            await asked

    with_host(say_nothing, work)
