"""Every command and event between cells, nodes and the panel.

Rules: no field can carry a digit that a caller keyed, and no event one that anybody keyed: a link code goes from
the panel to the cells, and only the name of the one that was keyed comes back. Identifiers are letters only, names
come from closed sets, numbers are counts, lengths or times. An unknown type, a missing or an extra field is refused
with a fixed text. One message is one line of JSON (see ``link.py``); its ``type`` names the class.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from paycall.domain.call import Direction, EndReason
from paycall.domain.errors import LinkError
from paycall.domain.fields import CaptureError
from paycall.domain.fields import Field as CardField
from paycall.domain.ids import ID_PATTERN

Id = Annotated[str, Field(pattern=ID_PATTERN)]
# A SIP identity as its header gave it: a telephone number or a name. Never anything that was keyed.
SipIdentity = Annotated[str, Field(max_length=200)]
SipUri = Annotated[str, Field(max_length=300, pattern=r"^(sips?:)?[^\s<>]*$")]
# How a trusted SIP header names an operator: an account, or the extension of a phone.
OperatorName = Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9._@+-]*$")]
DialledNumber = Annotated[str, Field(max_length=40, pattern=r"^\+?[0-9*#]{1,32}$")]
Brand = Literal[
    "prostir",
    "mir",
    "amex",
    "jcb",
    "diners",
    "discover",
    "unionpay",
    "mastercard",
    "visa",
    "maestro",
]


class Message(BaseModel):
    """Base: frozen, closed against unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


# ---- events: cell or node -> panel ---------------------------------------------------------------------


# off: the call is not recorded; paused: silence is; failed: it was recorded, and cannot be any more.
Recording = Literal["off", "on", "paused", "failed"]


class CallSnapshot(Message):
    """A call as its cell sees it now; sent on every connect, so that a restarted panel knows the truth."""

    call_id: Id
    direction: Direction
    caller: SipIdentity
    called: SipIdentity
    agent_uri: SipUri
    connected: bool
    masked: bool
    recording: Recording = "off"
    started_at: float
    test_call_id: Id | None = None
    operator: OperatorName = ""
    payment_id: Id | None = None
    collecting: CardField | None = None
    digits: dict[CardField, Annotated[int, Field(ge=0, le=19)]] = {}
    stored: tuple[CardField, ...] = ()
    token: Id | None = None


class Hello(Message):
    """First message on every connection. ``boot_id`` changes when the process is another."""

    type: Literal["hello"] = "hello"
    sender_id: Id
    boot_id: Id
    kind: Literal["cell", "node"]
    node_id: Id
    version: str
    sip_uri: SipUri = ""
    capacity: int = 0
    dials_out: bool = False
    calls: tuple[CallSnapshot, ...] = ()


class CallArrived(Message):
    """A caller leg exists. The panel may answer with ``RouteCall``; else the default route is dialled."""

    type: Literal["call.arrived"] = "call.arrived"
    call_id: Id
    direction: Direction = Direction.INBOUND
    caller: SipIdentity
    called: SipIdentity
    agent_uri: SipUri
    started_at: float
    test_call_id: Id | None = None
    operator: OperatorName = ""


class OperatorNamed(Message):
    """The agent's phone or PBX has said, in a header that is trusted by setting, who has the call."""

    type: Literal["call.operator"] = "call.operator"
    call_id: Id
    operator: OperatorName


class LinkCodeKeyed(Message):
    """On the agent leg somebody keyed this link code; None: one that the cell does not know."""

    type: Literal["call.link-code"] = "call.link-code"
    call_id: Id
    link_id: Id | None = None


class CallTransferred(Message):
    """The agent has handed the call on, and the new agent has answered."""

    type: Literal["call.transferred"] = "call.transferred"
    call_id: Id
    agent_uri: SipUri


class CallConnected(Message):
    """Both legs are joined."""

    type: Literal["call.connected"] = "call.connected"
    call_id: Id
    agent_uri: SipUri


class CallEnded(Message):
    """Both legs are gone. ``agent_leg_keys`` is what the independent listener heard while capturing: evidence."""

    type: Literal["call.ended"] = "call.ended"
    call_id: Id
    reason: EndReason
    agent_leg_keys: int = Field(default=0, ge=0)


class MaskChanged(Message):
    """The agent leg is masked, or open again."""

    type: Literal["call.mask"] = "call.mask"
    call_id: Id
    masked: bool


class RecordingChanged(Message):
    """The call is recorded from now on, or paused; or nothing more can be written."""

    type: Literal["call.recording"] = "call.recording"
    call_id: Id
    recording: Recording


class SecurityAlarm(Message):
    """The mask failed its check: the agent leg has been muted."""

    type: Literal["call.alarm"] = "call.alarm"
    call_id: Id
    kind: Literal["key-on-agent-leg", "bridge-connection", "audio-path-error"]


class CaptureStarted(Message):
    """The mask is on and the first field is being taken."""

    type: Literal["capture.started"] = "capture.started"
    call_id: Id
    payment_id: Id


class FieldStarted(Message):
    """The caller is expected to key this field; ``seconds`` to its first key. ``attempts_left`` counts this one."""

    type: Literal["capture.field"] = "capture.field"
    call_id: Id
    payment_id: Id
    field: CardField
    seconds: float = Field(ge=0, le=600)
    attempts_left: int = Field(ge=0, le=99)


class FieldProgress(Message):
    """So many digits of the field are there (0 after a clear); never which. ``brand`` once it is certain."""

    type: Literal["capture.progress"] = "capture.progress"
    call_id: Id
    payment_id: Id
    field: CardField
    digits: int = Field(ge=0, le=19)
    seconds: float = Field(ge=0, le=600)
    brand: Brand | None = None


class FieldStored(Message):
    """The field is in the vault, under this token."""

    type: Literal["capture.stored"] = "capture.stored"
    call_id: Id
    payment_id: Id
    field: CardField
    token: Id


class FieldFailed(Message):
    """The field was not accepted; it is asked for again while attempts are left. The mask stays."""

    type: Literal["capture.failed"] = "capture.failed"
    call_id: Id
    payment_id: Id
    field: CardField
    error: CaptureError
    digits: int = Field(default=0, ge=0, le=19)
    attempts_left: int = Field(ge=0, le=99)


class CaptureCompleted(Message):
    """Every field that was asked for is stored. The mask stays."""

    type: Literal["capture.completed"] = "capture.completed"
    call_id: Id
    payment_id: Id
    token: Id


class CaptureEnded(Message):
    """The capture is over; ``error`` says why where it was not the operator's word."""

    type: Literal["capture.ended"] = "capture.ended"
    call_id: Id
    payment_id: Id
    error: CaptureError | None = None


class RecordingHandled(Message):
    """Somebody at a media machine is about to export or delete a recording, or could not; or it is past its time."""

    type: Literal["recording.handled"] = "recording.handled"
    recording_id: Id
    action: Literal["exported", "deleted", "expired"]
    result: Literal["done", "failed"] = "done"
    by: str = Field(max_length=64, pattern=r"^[A-Za-z0-9 =._-]+$")
    host: str = Field(max_length=100, pattern=r"^[A-Za-z0-9._-]*$")


class CommandDone(Message):
    """The command was carried out."""

    type: Literal["command.done"] = "command.done"
    command_id: Id


class CommandRefused(Message):
    """The command was refused and changed nothing. ``code`` is an error's code from ``domain.errors``."""

    type: Literal["command.refused"] = "command.refused"
    command_id: Id
    code: Literal[
        "not-found",
        "wrong-state",
        "session-in-progress",
        "no-trunk",
        "number-not-allowed",
        "invalid-input",
        "invalid-card-number-security-code-capture-sequence",
        "internal-error",
    ]


class CellStarted(Message):
    """A node has started a cell."""

    type: Literal["node.cell-started"] = "node.cell-started"
    cell_id: Id
    sip_uri: SipUri


class CellLost(Message):
    """A cell died; its calls are lost. A new one takes its place."""

    type: Literal["node.cell-lost"] = "node.cell-lost"
    cell_id: Id
    call_ids: tuple[Id, ...] = ()


# ---- commands: panel -> cell or node -------------------------------------------------------------------


class Command(Message):
    """Base of commands. The same ``command_id`` again is carried out once."""

    command_id: Id


class RouteCall(Command):
    """Dial this agent for a call that has arrived; empty means the default route."""

    type: Literal["route-call"] = "route-call"
    call_id: Id
    agent_uri: SipUri


class DialOut(Command):
    """Ring this phone of an operator's, then dial the customer through the trunk."""

    type: Literal["dial-out"] = "dial-out"
    call_id: Id
    agent_uri: SipUri = Field(min_length=1)
    number: DialledNumber


class ExpectLinkCode(Command):
    """For so long an operator may key ``*9`` and this code on any call of the cell."""

    type: Literal["expect-link-code"] = "expect-link-code"
    link_id: Id
    code: str = Field(pattern=r"^[0-9]{4}$", repr=False)
    seconds: float = Field(gt=0, le=600)


class ForgetLinkCode(Command):
    """The code was used, or replaced."""

    type: Literal["forget-link-code"] = "forget-link-code"
    link_id: Id


class Rules(Message):
    """``domain.ports.CaptureRules`` on the wire."""

    first_key_s: float = Field(default=20.0, gt=0, le=600)
    between_keys_s: float = Field(default=5.0, gt=0, le=600)
    attempts: int = Field(default=3, ge=1, le=20)
    brands: tuple[Brand, ...] = ()
    end_key: Literal["#", "*"] = "#"
    clear_key: Literal["#", "*"] = "*"
    min_postal_code_length: int = Field(default=3, ge=1, le=10)
    language: Literal["", "en", "ru", "uk", "hu"] = ""


class StartCapture(Command):
    """Mask the agent leg and take these fields, in this order."""

    type: Literal["start-capture"] = "start-capture"
    call_id: Id
    payment_id: Id
    fields: tuple[CardField, ...] = Field(min_length=1, max_length=4)
    rules: Rules = Rules()


class CaptureFields(Command):
    """Take these fields (again); the others are kept. The mask is on already, and stays."""

    type: Literal["capture-fields"] = "capture-fields"
    call_id: Id
    payment_id: Id
    fields: tuple[CardField, ...] = Field(min_length=1, max_length=4)


class DropField(Command):
    """Do without this field; the others are asked for as before, and the mask stays."""

    type: Literal["drop-field"] = "drop-field"
    call_id: Id
    payment_id: Id
    field: CardField


class EndCapture(Command):
    """End the capture: unmask, two seconds after the last key at the earliest."""

    type: Literal["end-capture"] = "end-capture"
    call_id: Id
    payment_id: Id


class PauseRecording(Command):
    """Record silence from now on, or sound again. Refused where the call is not recorded."""

    type: Literal["pause-recording"] = "pause-recording"
    call_id: Id
    paused: bool


class HangUp(Command):
    """End the call."""

    type: Literal["hang-up"] = "hang-up"
    call_id: Id


Event = (
    Hello
    | CallArrived
    | OperatorNamed
    | LinkCodeKeyed
    | CallTransferred
    | CallConnected
    | CallEnded
    | MaskChanged
    | RecordingChanged
    | SecurityAlarm
    | CaptureStarted
    | FieldStarted
    | FieldProgress
    | FieldStored
    | FieldFailed
    | CaptureCompleted
    | CaptureEnded
    | RecordingHandled
    | CommandDone
    | CommandRefused
    | CellStarted
    | CellLost
)
CallCommand = RouteCall | StartCapture | CaptureFields | DropField | EndCapture | PauseRecording | HangUp
CellCommand = DialOut | ExpectLinkCode | ForgetLinkCode
AnyCommand = CallCommand | CellCommand

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
_COMMANDS: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="type")])


def parse_event(data: object) -> Event:
    """Read an event from decoded JSON.

    Raises
    ------
    LinkError
        With a fixed text; the input is not repeated.
    """
    try:
        return _EVENTS.validate_python(data)
    except ValidationError:
        raise LinkError("the message is not an event that this version knows") from None


def parse_command(data: object) -> AnyCommand:
    """Read a command from decoded JSON.

    Raises
    ------
    LinkError
        With a fixed text; the input is not repeated.
    """
    try:
        return _COMMANDS.validate_python(data)
    except ValidationError:
        raise LinkError("the message is not a command that this version knows") from None
