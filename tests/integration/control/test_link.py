"""The control link over a real Unix socket: nothing lost, nothing carried out twice, order kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from paycall.control.hub import Hub, SessionInProgressError
from paycall.control.link import ControlLink
from paycall.control.messages import (
    AnyCommand,
    CallArrived,
    CallConnected,
    CallEnded,
    CallSnapshot,
    DialOut,
    Event,
    ExpectLinkCode,
    FieldProgress,
    HangUp,
    Hello,
    StartCapture,
)
from paycall.domain.call import Direction, EndReason
from paycall.domain.errors import (
    CaptureSequenceError,
    LinkError,
    NotFoundError,
    NoTrunkError,
    NumberNotAllowedError,
    SettingsError,
    StateError,
)
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ids import new_id
from paycall.domain.ports import CaptureRules

CALL, PAYMENT = new_id("call"), new_id("pay")


def run(test: Callable[[Path], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(asyncio.wait_for(test(Path(folder) / "c.sock"), 100))


def arrived(call_id: str = CALL) -> CallArrived:
    return CallArrived(
        call_id=call_id, caller="sip:a@b", called="sip:c@d", agent_uri="sip:e@f", started_at=1.0
    )


class Cell:
    """A cell's end: remembers the commands it carried out."""

    def __init__(self, path: Path) -> None:
        self.sender_id, self.boot_id = new_id("cell"), new_id("boot")
        self.calls: tuple[CallSnapshot, ...] = ()
        self.capacity = 2
        self.dials_out = True
        self.commands: list[AnyCommand] = []
        self.refuse: Exception | None = None
        self.awake = asyncio.Event()
        self.awake.set()
        self.link = ControlLink(f"unix:{path}", self.hello, self.on_command)

    def hello(self) -> Hello:
        return Hello(
            sender_id=self.sender_id,
            boot_id=self.boot_id,
            kind="cell",
            node_id=new_id("node"),
            version="1",
            capacity=self.capacity,
            dials_out=self.dials_out,
            calls=self.calls,
        )

    async def on_command(self, command: AnyCommand) -> None:
        await self.awake.wait()
        if self.refuse:
            raise self.refuse
        self.commands.append(command)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.link.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Panel:
    """The panel's end: remembers the events it was handed."""

    def __init__(self, command_timeout_s: float = 20.0) -> None:
        self.events: list[Event] = []
        self.fail_times = 0
        self.hub = Hub(self.handle, command_timeout_s)

    async def handle(self, sender_id: str, event: Event) -> None:
        if self.fail_times:
            self.fail_times -= 1
            raise RuntimeError("the database is away")
        self.events.append(event)

    async def seen(self, *types: type, count: int = 1) -> None:
        for _ in range(4000):
            if sum(isinstance(e, types) for e in self.events) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never seen: {types}, only {[e.type for e in self.events]}")


def test_events_before_the_panel_is_there_arrive_in_order_and_hello_is_last() -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        async with cell.running():
            cell.link.send(arrived())
            cell.link.send(CallConnected(call_id=CALL, agent_uri="sip:e@f"))
            cell.link.send(CallEnded(call_id=CALL, reason=EndReason.CALLER_HUNG_UP))
            await asyncio.sleep(0.3)
            async with panel.hub.serve(f"unix:{path}"):
                await panel.seen(Hello)
                assert [e.type for e in panel.events] == [
                    "call.arrived",
                    "call.connected",
                    "call.ended",
                    "hello",
                ]
                while cell.link.unacknowledged:
                    await asyncio.sleep(0.01)

    run(story)


def test_a_restarted_panel_gets_what_it_did_not_acknowledge() -> None:
    async def story(path: Path) -> None:
        cell, first, second = Cell(path), Panel(), Panel()
        async with cell.running():
            async with first.hub.serve(f"unix:{path}"):
                await first.seen(Hello)
                cell.link.send(arrived())
                await first.seen(CallArrived)
            cell.link.send(CallEnded(call_id=CALL, reason=EndReason.AGENT_HUNG_UP))
            cell.link.send(
                FieldProgress(call_id=CALL, payment_id=PAYMENT, field=Field.EXPIRY, digits=1, seconds=5)
            )
            async with second.hub.serve(f"unix:{path}"):
                await second.seen(Hello)
        kinds = [e.type for e in second.events]
        assert kinds[-2:] == ["call.ended", "hello"]
        assert "capture.progress" not in kinds  # the snapshot in hello carries the counts

    run(story)


def test_a_second_panel_on_the_same_socket_is_refused_and_the_first_is_heard_on() -> None:
    async def story(path: Path) -> None:
        cell, first, second = Cell(path), Panel(), Panel()
        async with first.hub.serve(f"unix:{path}"):
            with pytest.raises(SettingsError, match="in use"):
                async with second.hub.serve(f"unix:{path}"):
                    pass
            async with cell.running():
                await first.seen(Hello)
        assert second.events == []

    run(story)


def test_an_event_that_could_not_be_handled_comes_again() -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        async with cell.running(), panel.hub.serve(f"unix:{path}"):
            await panel.seen(Hello)
            panel.fail_times = 1
            cell.link.send(arrived())
            cell.link.send(CallConnected(call_id=CALL, agent_uri=""))
            await panel.seen(CallConnected)
            kinds = [e.type for e in panel.events]
            assert kinds.index("call.arrived") < kinds.index("call.connected")

    run(story)


def test_commands_are_carried_out_once_refused_by_name_and_time_out() -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        cell.calls = (
            CallSnapshot(
                call_id=CALL,
                direction=Direction.INBOUND,
                caller="",
                called="",
                agent_uri="",
                connected=True,
                masked=False,
                started_at=1.0,
            ),
        )
        async with cell.running(), panel.hub.serve(f"unix:{path}"):
            await panel.seen(Hello)
            await panel.hub.start_capture(CALL, PAYMENT, [Field.CARD_NUMBER], CaptureRules())
            assert isinstance(cell.commands[0], StartCapture)
            cell.refuse = SessionInProgressError()
            with pytest.raises(SessionInProgressError):
                await panel.hub.start_capture(CALL, PAYMENT, [Field.CARD_NUMBER], CaptureRules())
            cell.refuse = StateError()
            with pytest.raises(StateError):
                await panel.hub.end_capture(CALL, PAYMENT)
            for refusal in (CaptureSequenceError, NoTrunkError, NumberNotAllowedError):
                cell.refuse = refusal()
                with pytest.raises(refusal):
                    await panel.hub.start_capture(CALL, PAYMENT, [Field.CARD_NUMBER], CaptureRules())
            cell.refuse = RuntimeError("4111111111111111")
            with pytest.raises(LinkError) as failure:
                await panel.hub.end_capture(CALL, PAYMENT)
            assert "4111" not in str(failure.value)
            with pytest.raises(NotFoundError):
                await panel.hub.hang_up(new_id("call"))
            # The same command twice, as after a lost answer, is carried out once.
            cell.refuse = None
            command = cell.commands[0].model_dump(mode="json") | {"command_id": new_id("cmd")}
            before = len(cell.commands)
            cell.link._take(command)
            cell.link._take(command)
            while len(cell.commands) == before:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(cell.commands) == before + 1

    run(story)


def test_a_call_is_dialled_by_a_cell_with_room_and_codes_go_to_all_cells() -> None:
    async def story(path: Path) -> None:
        full, refusing, free, panel = Cell(path), Cell(path), Cell(path), Panel()
        full.capacity, refusing.capacity, free.capacity = 0, 2, 2
        refusing.refuse = StateError()
        async with panel.hub.serve(f"unix:{path}"), full.running(), refusing.running(), free.running():
            await panel.seen(Hello, count=3)
            for _ in range(2):  # whichever is asked first
                await panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678")
            assert [len(cell.commands) for cell in (full, free)] == [0, 2]
            await panel.hub.expect_link_code(
                new_id("link"), "4071", 60.0
            )  # raises nothing for the one that refuses
            assert [type(cell.commands[-1]) for cell in (full, free)] == [ExpectLinkCode] * 2
            free.refuse = StateError()
            with pytest.raises(StateError):
                await panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678")

    run(story)


def test_who_dial_at_the_same_moment_are_dialled_by_different_cells() -> None:
    """A cell's second call leaves no place for a transfer."""

    async def story(path: Path) -> None:
        first, second, panel = Cell(path), Cell(path), Panel()
        first.capacity = second.capacity = 2
        async with panel.hub.serve(f"unix:{path}"), first.running(), second.running():
            await panel.seen(Hello, count=2)
            dialling = (
                panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678") for _ in range(2)
            )
            await asyncio.gather(*dialling)
            assert [len(cell.commands) for cell in (first, second)] == [1, 1]

    run(story)


def test_a_number_that_is_refused_takes_no_place() -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        cell.capacity = 1
        cell.refuse = NumberNotAllowedError()
        async with panel.hub.serve(f"unix:{path}"), cell.running():
            await panel.seen(Hello)
            for _ in range(2):
                with pytest.raises(NumberNotAllowedError):
                    await panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678")
            cell.refuse = None
            await panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678")

    run(story)


def test_nobody_is_dialled_twice_when_a_cell_answers_too_late() -> None:
    """The cell hangs up what it dials all the same; until then its place counts as taken."""

    async def story(path: Path) -> None:
        asleep, other, panel = Cell(path), Cell(path), Panel(command_timeout_s=2.0)
        calls = [new_id("call") for _ in range(3)]

        async def dial(call_id: str) -> None:
            await panel.hub.dial_out(call_id, "sip:anna@127.0.0.1", "+3612345678")

        async with panel.hub.serve(f"unix:{path}"), asleep.running():
            await panel.seen(Hello)
            async with other.running():
                await panel.seen(Hello, count=2)
                asleep.awake.clear()
                with pytest.raises(LinkError):
                    await dial(calls[0])
                assert other.commands == []
                await dial(calls[1])
                assert [command.call_id for command in other.commands] == [calls[1]]
                asleep.awake.set()
                while asleep.link.unacknowledged or len(asleep.commands) < 2:
                    await asyncio.sleep(0.01)
                await dial(calls[2])
        told = [(type(command), command.call_id) for command in asleep.commands]
        assert told == [(DialOut, calls[0]), (HangUp, calls[0]), (DialOut, calls[2])]

    run(story)


def test_without_a_trunk_nothing_is_dialled() -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        cell.dials_out = False
        async with panel.hub.serve(f"unix:{path}"), cell.running():
            await panel.seen(Hello)
            assert not panel.hub.can_dial_out()
            with pytest.raises(NoTrunkError):
                await panel.hub.dial_out(new_id("call"), "sip:anna@127.0.0.1", "+3612345678")
            assert cell.commands == []

    run(story)


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[1]\n",
        b'{"from":"4111111111111111","boot":"x"}\n',
        json.dumps({"from": new_id("cell"), "boot": new_id("boot")}).encode()
        + b'\n{"seq":1,"event":{"type":"call.arrived","pan":"4111111111111111"}}\n',
        json.dumps({"from": new_id("cell"), "boot": new_id("boot")}).encode() + b'\n{"what":1}\n',
    ],
    ids=["no JSON", "no object", "no identity", "event with an extra field", "unknown frame"],
)
def test_a_malformed_sender_is_cut_off_and_others_go_on(
    line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(path: Path) -> None:
        cell, panel = Cell(path), Panel()
        async with cell.running(), panel.hub.serve(f"unix:{path}"):
            await panel.seen(Hello)
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(line)
            await writer.drain()
            assert await asyncio.wait_for(reader.read(), 40) == b""
            writer.close()
            cell.link.send(arrived())
            await panel.seen(CallArrived)

    run(story)
    assert "4111111111111111" not in capsys.readouterr().out


def test_field_errors_have_the_names_of_the_design() -> None:
    assert SessionInProgressError.code == CaptureError.SESSION_IN_PROGRESS
