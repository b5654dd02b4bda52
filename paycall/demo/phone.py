"""A scripted phone, one process for each, forked by ``paycall.demo.phone_parent``.

It is driven by lines of JSON that come over its line, a stream socket, and answers with lines of JSON. Rules: digits
to key come in over the line or are those of the test cards it knows; none goes out but to who asks with
``received``; nothing is logged. The process ends with ``quit``, when its line closes, or after its time limit,
whatever else happens.

Commands (``do``; ``id`` is repeated in what answers it)::

    call      uri, headers {name: value}       dial
    answer    after_ms                         answer the call that rings, and later ones, after so long
    say       name | silence_ms                play a sentence of paycall.demo.speech, or wait
    key       digits | card + field + end, mode, tone_ms, pause_ms
    received                                   the keys that came in as RTP events or INFO, and how
    save      path                             write what was heard as a WAV file
    hang_up, quit

Events (``event``)::

    started sip_uri · ringing · progress · connected · audio · ended code · digit_received method count
    key_released id index start_sample end_sample started_at ended_at · done id … · failed id reason
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pjsua2 as pj

from dsp.tones import dtmf_tone, silence
from paycall.demo.cards import card_at
from paycall.demo.phone_audio import Ear, Mouth, Played, audio_format, write_wav
from paycall.demo.phone_keys import OutOfBandKeys
from paycall.demo.speech import load
from paycall.domain.fields import Field
from paycall.media.endpoint import EndpointConfig, SipEndpoint
from paycall.media.guard import guarded

TONE_LEVEL_DBM0 = -10.0
"""Level of each of a key's two tones; ``evidence`` measures what is left against it."""
MODES = ("inband", "rfc4733", "info")
_RTP_PORTS = 64
_BYE_S = 0.1
_QUIT_S = 1.0
_GRACE_S = 3.0  # a phone whose SIP thread hangs ends all the same
Command = Mapping[str, Any]


class _Leg(pj.Call):  # type: ignore[misc]
    """The phone's call; hands everything to the phone."""

    def __init__(self, phone: Phone, account: pj.Account, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self._phone = phone

    @guarded
    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: ARG002
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            self._phone.emit("progress")
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            self._phone.emit("connected")
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._phone.leg_ended(self, info.lastStatusCode)

    @guarded
    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: ARG002
        self._phone.audio_changed(self)

    @guarded
    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        method = "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733"
        self._phone.key_came(prm.digit, method)


class Phone:
    """One phone, one call at a time. Every method runs in the SIP thread, except ``emit``."""

    def __init__(self, address: str, port: int, out: TextIO, limit_s: float) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._answer_after_s: float | None = None
        self._leg: _Leg | None = None
        self._quitting = False
        self._received: list[tuple[str, str]] = []
        first_rtp = 2 * random.randint(15_000, 19_000)
        self.endpoint = SipEndpoint(
            EndpointConfig(address, port, first_rtp, _RTP_PORTS, "paycall-demo-phone")
        )
        self.endpoint.start(self._on_incoming)
        self._mouth, self._ear = Mouth(), Ear(limit_s)
        for port_name, media in (("mouth", self._mouth), ("ear", self._ear)):
            media.createPort(port_name, audio_format())

    def emit(self, event: str, **fields: object) -> None:
        """Write one event. From any thread."""
        line = json.dumps({"event": event, **fields})
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()

    # ---- what the SIP side tells --------------------------------------------------------------------------

    def _on_incoming(self, call_id: int, *_: str) -> None:
        assert self.endpoint.account is not None  # noqa: S101 - it is the account that calls
        leg = _Leg(self, self.endpoint.account, call_id)
        if self._leg is not None:
            self.endpoint.keep_for_a_while(leg)
            leg.answer(_status(pj.PJSIP_SC_BUSY_HERE))
            return
        self._leg = leg
        leg.answer(_status(pj.PJSIP_SC_RINGING))
        self.emit("ringing")
        if self._answer_after_s is not None:
            self._answer_later(leg)

    def _answer_later(self, leg: _Leg) -> None:
        def answer() -> None:
            if self._leg is leg:
                leg.answer(_status(pj.PJSIP_SC_OK))

        self.endpoint.call_later(self._answer_after_s or 0.0, answer)

    def audio_changed(self, leg: _Leg) -> None:
        """The call's audio opened or changed: join the handset to it."""
        if not leg.hasMedia():
            return
        try:
            audio = leg.getAudioMedia(-1)
        except pj.Error:  # on hold, or not yet there
            return
        self._mouth.startTransmit(audio)
        audio.startTransmit(self._ear)
        self.emit("audio")

    def key_came(self, digit: str, method: str) -> None:
        """A key reached this phone as an RTP event or in an INFO."""
        self._received.append((digit, method))
        self.emit("digit_received", method=method, count=len(self._received))

    def leg_ended(self, leg: _Leg, code: int) -> None:
        """The call is over: no use of it after this."""
        leg.thisown = False  # pjsua2's destructor would hang up whatever call has its slot by then
        self.endpoint.keep_for_a_while(leg)
        if leg is not self._leg:  # one that was refused: there is another
            return
        self._leg = None
        self.emit("ended", code=int(code))
        if self._quitting:  # PJSIP says so while it is still sending the BYE
            self.endpoint.call_later(_BYE_S, self._exit)

    def quit(self) -> None:
        """Hang up and end the process, a second later at the latest."""
        self._quitting = True
        if self._leg is None:
            self._exit()
        self.endpoint.call_later(_QUIT_S, self._exit)
        self._hang_up({})

    @staticmethod
    def _exit() -> None:
        # Not through libDestroy: it takes seconds, and Python would free what PJSIP's threads still hold.
        os._exit(0)

    # ---- commands -----------------------------------------------------------------------------------------

    def carry_out(self, command: Command) -> None:
        """Do what a line of JSON says; what can't be done is answered with ``failed``."""
        handlers: dict[str, Callable[[Command], object]] = {
            "call": self._call,
            "answer": self._answer,
            "say": self._say,
            "key": self._key,
            "received": self._tell_received,
            "save": self._save,
            "hang_up": self._hang_up,
            "quit": lambda _: self.quit(),
        }
        handler = handlers.get(str(command.get("do")))
        if handler is None:
            self.emit("failed", id=command.get("id"), reason="unknown command")
            return
        try:
            handler(command)
        except (KeyError, TypeError, ValueError, OSError, pj.Error) as error:
            # The class only: a text may hold what was to be keyed.
            self.emit("failed", id=command.get("id"), reason=type(error).__name__)

    def _done(self, command: Command, **fields: object) -> None:
        self.emit("done", id=command.get("id"), **fields)

    def _call(self, command: Command) -> None:
        if self._leg is not None:
            raise ValueError("there is a call already")
        options = pj.CallOpParam(True)
        for name, value in dict(command.get("headers", {})).items():
            header = pj.SipHeader()
            header.hName, header.hValue = str(name), str(value)
            options.txOption.headers.append(header)
        assert self.endpoint.account is not None  # noqa: S101 - made by start
        leg = _Leg(self, self.endpoint.account)
        leg.makeCall(str(command["uri"]), options)
        self._leg = leg
        self._done(command)

    def _answer(self, command: Command) -> None:
        self._answer_after_s = float(command.get("after_ms", 0)) / 1000
        if self._leg is not None:
            self._answer_later(self._leg)
        self._done(command)

    def _say(self, command: Command) -> None:
        if self._leg is None:
            raise ValueError("there is nobody to talk to")
        if "silence_ms" in command:
            sound = silence(float(command["silence_ms"]) / 1000)
        else:
            sound = load(str(command["name"]))
        self._mouth.play(sound, lambda played: self._done(command, **vars(played)))

    def _key(self, command: Command) -> None:
        if "field" in command:
            digits = card_at(int(command["card"])).digits(Field(command["field"])) + str(
                command.get("end", "")
            )
        else:
            digits = str(command["digits"])
        tone_s = float(command.get("tone_ms", 100)) / 1000
        pause_s = float(command.get("pause_ms", 100)) / 1000
        mode = str(command.get("mode", "inband"))
        if not digits or mode not in MODES or self._leg is None:
            raise ValueError("nothing to key, an unknown mode, or no call")

        def released(index: int, played: Played) -> None:
            self.emit("key_released", id=command.get("id"), index=index, **vars(played))
            if index == len(digits) - 1:
                self._done(command, count=len(digits))

        if mode == "inband":
            for index, digit in enumerate(digits):
                tone = dtmf_tone(digit, tone_s, TONE_LEVEL_DBM0)
                self._mouth.play(tone, partial(released, index))
                self._mouth.play(silence(pause_s))
        else:
            leg = self._leg
            keys = OutOfBandKeys(self.endpoint, leg, lambda: self._leg is leg, self._mouth, released)
            keys.press(mode, digits, tone_s, pause_s)

    def _tell_received(self, command: Command) -> None:
        self._done(
            command, keys="".join(key for key, _ in self._received), methods=[m for _, m in self._received]
        )

    def _save(self, command: Command) -> None:
        heard = self._ear.heard()
        write_wav(Path(str(command["path"])), heard)
        self._done(
            command,
            samples=int(heard.size),
            heard_from=self._ear.opened_at,
            spoken_from=self._mouth.opened_at,
        )

    def _hang_up(self, command: Command) -> None:
        if self._leg is not None:
            self._leg.hangup(pj.CallOpParam())
        self._done(command)


def _status(code: int) -> pj.CallOpParam:
    options = pj.CallOpParam()
    options.statusCode = code
    return options


def _free_port(address: str) -> int:
    """One that is free for UDP and TCP: many TCP ports of that range are in use, or just were."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((address, 0))
            port = int(udp.getsockname()[1])
            with contextlib.suppress(OSError):
                tcp.bind((address, port))
                return port


def _read_commands(phone: Phone, lines: TextIO) -> None:
    """Post every line to the SIP thread; at the end of the input make sure that the process goes."""
    for line in lines:
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        if not isinstance(command, dict):
            phone.emit("failed", id=None, reason="not a JSON object")
            continue
        phone.endpoint.post(partial(phone.carry_out, command))
        if command.get("do") == "quit":
            break
    phone.endpoint.post(phone.quit)
    threading.Timer(_GRACE_S, os._exit, (1,)).start()


def run_phone(line: socket.socket, address: str, port: int, limit_s: float) -> None:
    """Run one phone until it is told to stop; the process ends with it.

    Parameters
    ----------
    line
        A stream socket: commands come in, events go out.
    address, port
        Where SIP and RTP are bound; port 0 takes a free one.
    limit_s
        The process ends after so long.
    """
    phone = Phone(address, port or _free_port(address), line.makefile("w", encoding="utf-8"), limit_s)
    commands = line.makefile("r", encoding="utf-8")
    threading.Thread(target=_read_commands, args=(phone, commands), daemon=True).start()
    phone.endpoint.call_later(limit_s, phone.quit)
    phone.emit("started", sip_uri=phone.endpoint.sip_uri)
    phone.endpoint.run()
