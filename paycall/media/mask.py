"""The mask of one call: which ports feed which, and the checks that it is so.

Rules: from ``on`` until ``off`` has finished, the caller's port never feeds the agent's. Coming on, the pipeline
hears the caller for four blocks before the agent hears the pipeline, so that its delay line is full and nothing is
cut out of the speech; going off, the masker fades out of its delay line first. Every fault mutes the agent leg.
Everything runs in the SIP thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Literal

import pjsua2 as pj
import structlog

from dsp import ToneListener
from paycall.media.counts import Counts
from paycall.media.endpoint import FRAME_MS, SipEndpoint, Timer
from paycall.media.frames import Pcm
from paycall.media.pipeline import OnKey, Pipeline, build_pipeline
from paycall.media.ports import ListenPort, MaskPort, destroy_later
from paycall.media.prompt_port import PromptPort
from paycall.media.record_port import RecordPorts

log = structlog.get_logger(__name__)

WARM_BLOCKS = 4
WARM_LIMIT_S = 0.3
CUT_BLOCKS = 3  # the bridge carries changes out before a block
CUT_LIMIT_S = 2.0  # where no block comes; nobody hears anything then
CHECK_S = 0.25
AlarmKind = Literal["key-on-agent-leg", "bridge-connection", "audio-path-error"]
Replacement = Literal["silence", "comfort", "tone"]


class MaskState(Enum):
    """Where the mask is."""

    OFF = "off"
    WARMING = "warming"
    ON = "on"
    LEAVING = "leaving"


class CallAudio:
    """Joins two legs' audio, with or without the mask between them.

    Parameters
    ----------
    on_key
        A key in the caller's audio: key, begun and ended how many seconds ago. In the SIP thread.
    on_alarm
        The mask failed a check; the agent leg is mute already.
    prompts_to_agent
        Whether the agent hears as well what is played to the caller.
    """

    def __init__(
        self,
        endpoint: SipEndpoint,
        replacement: Replacement,
        on_key: OnKey,
        on_alarm: Callable[[AlarmKind], None],
        counts: Counts,
        *,
        prompts_to_agent: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._replacement: Replacement = replacement
        self._on_key = on_key
        self._on_alarm = on_alarm
        self._counts = counts
        self._caller: pj.AudioMedia | None = None
        self._agent: pj.AudioMedia | None = None
        self._pipeline: Pipeline | None = None
        self._mask_port: MaskPort | None = None
        self._listen_port: ListenPort | None = None
        self._prompt_port: PromptPort | None = None
        self._prompts_to_agent = prompts_to_agent
        self._recording: RecordPorts | None = None
        self._timer: Timer | None = None
        self._alarmed = False
        self.state = MaskState.OFF
        self.keys_heard = 0

    @property
    def masked(self) -> bool:
        """Whether the agent hears the caller through the mask only."""
        return self.state in (MaskState.ON, MaskState.LEAVING)

    @property
    def key_sounds(self) -> bool:
        """Whether a key is being heard in the caller's audio now."""
        pipeline = self._pipeline  # read once: the prompt's port asks from the clock thread
        return pipeline is not None and pipeline.key_sounds

    def set_legs(self, caller: pj.AudioMedia | None, agent: pj.AudioMedia | None) -> None:
        """The legs' present places on the bridge; None for a leg without audio."""
        if self._agent is not None and (agent is None or agent.getPortId() != self._agent.getPortId()):
            for source in (self._caller, self._mask_port, self._prompt_port):
                for sink in (self._agent, self._heard):
                    _part(source, sink)
            _part(self._agent, self._caller)
            _part(self._agent, self._said)
        self._caller, self._agent = caller, agent
        self._connect()

    def on(self, then: Callable[[], None]) -> None:
        """Put the mask in; ``then`` runs when the agent hears the caller through it only."""
        if self.state is MaskState.LEAVING and self._pipeline is not None:
            self._pipeline.engage()
            self.state = MaskState.ON
        if self.state is MaskState.ON:
            then()
            return
        self._open_ports()
        self.state = MaskState.WARMING
        self._connect()
        self._await_warm(time.monotonic() + WARM_LIMIT_S, then)

    def off(self, then: Callable[[], None]) -> None:
        """Take the mask out, faded; ``then`` runs when the legs are joined directly."""
        if self.state is not MaskState.ON or self._pipeline is None:
            return
        self._pipeline.release()
        self.state = MaskState.LEAVING
        self._await_released(then)

    def cover_event(self) -> None:
        """A key comes beside the audio: silence what its gateway lets through."""
        if self._pipeline is not None:
            self._pipeline.cover_event()

    def play(self, sound: Pcm) -> None:
        """Play to the caller, after what is being played; a key in the caller's audio ends it."""
        if self._prompt_port is None:
            post = self._endpoint.post
            self._prompt_port = PromptPort(lambda: self.key_sounds, lambda: post(self._prompts_over))
        self._prompt_port.put(sound)
        self._connect()

    def stop(self) -> None:
        """Play nothing more."""
        if self._prompt_port is not None:
            self._prompt_port.clear()

    def record(self, recording: RecordPorts) -> None:
        """Let these ports hear what the agent hears, and what the agent says, until the call is over."""
        self._recording = recording
        self._connect()

    def close(self) -> None:
        """The call is over: let go of the ports, later."""
        if self._timer is not None:
            self._timer.cancel()
        self._caller = self._agent = None
        self._close_ports()
        if self._prompt_port is not None:
            destroy_later(self._endpoint, self._prompt_port)
        if self._recording is not None:
            destroy_later(self._endpoint, self._recording.heard, self._recording.said)
        self._prompt_port = self._recording = None
        self.state = MaskState.OFF

    # ---- the graph ---------------------------------------------------------------------------------------

    def _open_ports(self) -> None:
        """Each capture has its own: PJSIP asks a port 50 times a second while it exists, connected or not."""
        post = self._endpoint.post
        if self._mask_port is None or self._listen_port is None:
            self._mask_port = MaskPort(
                lambda error: post(partial(self._audio_fault, error)),
                lambda blocks: self._counts.add("audio_blocks_late", by=blocks),
            )
            self._listen_port = ListenPort(lambda keys: post(partial(self._key_heard, keys)))
        self._alarmed = False
        self._pipeline = build_pipeline(
            lambda key, began, ended: post(partial(self._on_key, key, began, ended)), self._replacement
        )
        self._mask_port.use(self._pipeline)
        self._listen_port.use(ToneListener())
        log.info("mask_wired", name=str(self._pipeline))

    def _close_ports(self) -> None:
        for port in (self._mask_port, self._listen_port):
            if port is not None:
                port.use(None)
                destroy_later(self._endpoint, port)
        self._mask_port = self._listen_port = None

    def _prompts_over(self) -> None:
        """Everything has been said; outside a capture no more will be soon."""
        self._connect()
        if self.state is MaskState.OFF and self._prompt_port is not None and not self._prompt_port.playing:
            destroy_later(self._endpoint, self._prompt_port)
            self._prompt_port = None

    def _connect(self) -> None:
        """Make the bridge what the state asks for.

        PJSIP carries the changes out in its clock thread, in order, before a block: what comes is asked for
        before what goes, so that no block is missing.
        """
        caller, agent, mask, listen = self._caller, self._agent, self._mask_port, self._listen_port
        direct = self.state in (MaskState.OFF, MaskState.WARMING)
        _join(agent, caller)
        for sink in (agent, self._heard):
            if direct:
                _join(caller, sink)
                _part(mask, sink)
            else:
                _join(mask, sink)
                _part(caller, sink)
            if sink is not None:
                sink.adjustRxLevel(0.0 if self._alarmed else 1.0)  # pjsua2: Rx is what the port receives
        (_part if direct else _join)(mask, listen)
        (_part if self.state is MaskState.OFF else _join)(caller, mask)
        _join(agent, self._said)
        self._connect_prompts()

    def _connect_prompts(self) -> None:
        prompt = self._prompt_port
        if prompt is None:
            return
        connect = _join if prompt.playing else _part
        connect(prompt, self._caller)
        for sink in (self._agent, self._heard, self._listen_port):
            (connect if self._prompts_to_agent else _part)(prompt, sink)

    @property
    def _said(self) -> pj.AudioMedia | None:
        """The port that records what the agent says."""
        return self._recording.said if self._recording is not None else None

    @property
    def _heard(self) -> pj.AudioMedia | None:
        """The port that records what the agent hears, while there is one who hears."""
        return self._recording.heard if self._recording is not None and self._agent is not None else None

    def _await_warm(self, limit_s: float, then: Callable[[], None]) -> None:
        if self.state is not MaskState.WARMING or self._mask_port is None:
            return
        if self._mask_port.blocks < WARM_BLOCKS and time.monotonic() < limit_s:
            self._endpoint.call_later(FRAME_MS / 2000, partial(self._await_warm, limit_s, then))
            return
        self.state = MaskState.ON
        self._connect()
        self._await_cut(self._mask_port.blocks + CUT_BLOCKS, time.monotonic() + CUT_LIMIT_S, then)

    def _await_cut(self, blocks: int, limit_s: float, then: Callable[[], None]) -> None:
        """Until PJSIP has cut the direct connection; if it does not by so many blocks, the check raises the alarm."""
        if not self.masked or self._mask_port is None:
            return
        fed = any(_feeds(self._caller, sink) for sink in (self._agent, self._heard))
        if fed and self._mask_port.blocks < blocks and time.monotonic() < limit_s:
            self._endpoint.call_later(FRAME_MS / 4000, partial(self._await_cut, blocks, limit_s, then))
            return
        self._check()
        then()

    def _await_released(self, then: Callable[[], None]) -> None:
        if self.state is not MaskState.LEAVING or self._pipeline is None:
            return
        if self._pipeline.masking:
            self._endpoint.call_later(FRAME_MS / 1000, partial(self._await_released, then))
            return
        self.state = MaskState.OFF
        self._alarmed = False
        self._prompts_over()
        self._close_ports()
        self._pipeline = None
        then()

    # ---- the checks --------------------------------------------------------------------------------------

    def _check(self) -> None:
        """While masked: nothing but the mask port may feed the agent's."""
        if not self.masked:
            return
        # At the same moment for all calls of a cell, which wakes up for it, and at another in each cell.
        phase_s = self._endpoint.config.sip_port * FRAME_MS / 1000
        self._timer = self._endpoint.call_later(CHECK_S - (time.monotonic() + phase_s) % CHECK_S, self._check)
        for sink in (self._agent, self._heard):
            if _feeds(self._caller, sink):
                _part(self._caller, sink)
                self._alarm("bridge-connection")

    def _key_heard(self, keys: int) -> None:
        self.keys_heard += keys
        if self.masked:
            self._alarm("key-on-agent-leg")

    def _audio_fault(self, error: str) -> None:
        log.error("audio_path_failed", error=error, name=str(self._pipeline))
        self._alarm("audio-path-error")

    def _alarm(self, kind: AlarmKind) -> None:
        first, self._alarmed = not self._alarmed, True
        for sink in (self._agent, self._heard):
            if sink is not None:
                sink.adjustRxLevel(0.0)
        if first:
            self._on_alarm(kind)


def _feeds(source: pj.AudioMedia | None, sink: pj.AudioMedia | None) -> bool:
    """Whether PJSIP's bridge now carries sound from the one to the other."""
    if source is None or sink is None:
        return False
    info = source.getPortInfo()  # held: its vector lives as long as it does
    return sink.getPortId() in list(info.listeners)


def _join(source: pj.AudioMedia | None, sink: pj.AudioMedia | None) -> None:
    if source is not None and sink is not None:
        with contextlib.suppress(pj.Error):  # one of the legs has just gone
            source.startTransmit(sink)


def _part(source: pj.AudioMedia | None, sink: pj.AudioMedia | None) -> None:
    if source is not None and sink is not None:
        with contextlib.suppress(pj.Error):  # one of the legs has just gone
            source.stopTransmit(sink)
