"""A PJSIP bridge without a network, for ``CallAudio``: one port keys and talks, one port records.

Run as a process of its own (PJSIP aborts are then the test's own); prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
import pjsua2 as pj

import dsp
from paycall.media import mask
from paycall.media.counts import Counts
from paycall.media.endpoint import KEEP_OBJECTS_S, EndpointConfig, SipEndpoint
from paycall.media.frames import FrameWriter, read_samples
from paycall.media.mask import CallAudio
from paycall.media.ports import SAMPLES, audio_format
from paycall.media.record_port import RecordPort, RecordPorts
from tests.phones.rtp import free_port

KEEP: list[Any] = []


def _since(blocks: list[tuple[float, np.ndarray]], moment: float) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int16), *(block for at, block in blocks if at >= moment)])


class Talker(pj.AudioMediaPort):
    """Plays a sound for ever."""

    def __init__(self, sound: np.ndarray) -> None:
        super().__init__()
        self.sound = sound[: sound.size // SAMPLES * SAMPLES]
        self.at = 0
        self.writer = FrameWriter(SAMPLES)
        self.createPort("talker", audio_format())

    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        self.writer.write(frame, self.sound[self.at : self.at + SAMPLES])
        self.at = (self.at + SAMPLES) % self.sound.size

    def onFrameReceived(self, frame: pj.MediaFrame) -> None: ...


class Recorder(pj.AudioMediaPort):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[float, np.ndarray]] = []
        self.createPort("recorder", audio_format())

    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        self.blocks.append((time.monotonic(), read_samples(frame, SAMPLES).copy()))

    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE

    def since(self, moment: float) -> np.ndarray:
        return _since(self.blocks, moment)


def _count_calls(port: type, callback: str, calls: list[int]) -> None:
    real = getattr(port, callback)

    def counted(self: Any, frame: pj.MediaFrame) -> None:
        calls[0] += 1
        real(self, frame)

    setattr(port, callback, counted)


class _Broken:
    def process(self, pcm: np.ndarray) -> np.ndarray:
        raise ValueError("a stage fails")

    engaged = True


class _Leaky:
    def process(self, pcm: np.ndarray) -> np.ndarray:
        return pcm

    engaged = True


def main(case: str) -> dict[str, Any]:
    """Run one case; gives what the agent's side heard and what was alarmed."""
    endpoint = SipEndpoint(EndpointConfig("127.0.0.1", free_port(), free_port(count=10), 10))
    endpoint.start(lambda *_: None)
    keys = np.concatenate(
        [np.concatenate([dsp.dtmf_tone(key, 0.1, -10.0), dsp.silence(0.1)]) for key in "159"]
    )
    caller, agent = Talker(keys), Recorder()
    alarms: list[str] = []
    pressed: list[str] = []
    audio = CallAudio(endpoint, "silence", lambda key, *_: pressed.append(key), alarms.append, Counts())
    if case in ("broken", "leaky"):
        stage = _Broken() if case == "broken" else _Leaky()
        real = mask.build_pipeline

        def build(*args: Any) -> Any:
            pipeline = real(*args)
            pipeline._hush._following = stage  # the masker itself is what fails
            return pipeline

        mask.build_pipeline = build
    if case == "stalled":
        received = mask.MaskPort.onFrameReceived

        def stall(port: mask.MaskPort, frame: pj.MediaFrame) -> None:
            received(port, frame)
            if port.blocks == mask.WARM_BLOCKS:
                time.sleep(0.5)  # the clock thread has no time, just when the direct connection is to be cut

        mask.MaskPort.onFrameReceived = stall
    moments: dict[str, float] = {}
    in_python = [0]  # how often PJSIP's clock thread asked the ports between the legs
    for port, callback in ((mask.MaskPort, "onFrameReceived"), (mask.ListenPort, "onFrameReceived")):
        _count_calls(port, callback, in_python)
    taped: list[tuple[float, np.ndarray]] = []  # what a recording of the agent's side gets
    said: list[tuple[float, np.ndarray]] = []
    other = Talker((6000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.int16))
    tape = RecordPorts(
        RecordPort(lambda block: taped.append((time.monotonic(), block.copy()))),
        RecordPort(lambda block: said.append((time.monotonic(), block.copy()))),
    )

    def masked() -> None:
        moments["on"] = time.monotonic()
        if case == "joined":
            endpoint.call_later(0.2, lambda: caller.startTransmit(agent))
        if case == "moved":
            endpoint.call_later(0.3, lambda: audio.set_legs(caller, other))
        if case == "taped":
            endpoint.call_later(0.2, lambda: caller.startTransmit(tape.heard))

    def finish() -> None:
        moments["end"] = time.monotonic()
        audio.close()
        endpoint.stop()

    audio.set_legs(caller, agent)
    audio.record(tape)
    endpoint.call_later(0.59, lambda: moments.update(python_before=in_python[0]))
    endpoint.call_later(0.6, lambda: audio.on(masked))

    def joined_directly() -> None:
        moments["off"] = time.monotonic()
        endpoint.call_later(KEEP_OBJECTS_S + 0.3, lambda: moments.update(python_masked=in_python[0]))

    if case == "off":
        endpoint.call_later(1.6, lambda: audio.off(joined_directly))
    endpoint.call_later(3.6 if case == "off" else 2.8, finish)
    endpoint.run()
    KEEP.extend((caller, agent, other, audio, tape))
    heard = agent.since(moments["on"] + 0.03)
    return {
        "before": "".join(key for key, _, _ in dsp.detect(agent.since(0.0)[:4000])),
        "masked": "".join(key for key, _, _ in dsp.detect(heard[: 5600 if case == "off" else None])),
        "loudest_late": int(np.abs(agent.since(moments["on"] + 1.2).astype(int)).max(initial=0)),
        "after": len(dsp.detect(agent.since(moments["off"]))) if "off" in moments else None,
        "taped_before": "".join(key for key, _, _ in dsp.detect(_since(taped, 0.0)[:4000])),
        # the block that was being filled when the mask came on is the first to hold masked sound only
        "taped_masked": "".join(
            key
            for key, _, _ in dsp.detect(
                _since(taped, moments["on"] + 0.13)[: 4000 if case == "off" else None]
            )
        ),
        "taped_loudest_late": int(np.abs(_since(taped, moments["on"] + 1.2).astype(int)).max(initial=0)),
        "said_loudest": [
            max(
                (int(np.abs(block.astype(int)).max()) for at, block in said if after <= at < before),
                default=-1,
            )
            for after, before in ((0.0, moments["on"] + 0.25), (moments["on"] + 1.0, moments["end"]))
        ],
        "python": [moments.get("python_before"), moments.get("python_masked"), in_python[0]],
        "alarms": alarms,
        "pressed": len(pressed),
        "heard_by_listener": audio.keys_heard,
    }


if __name__ == "__main__":
    print("\n" + json.dumps(main(sys.argv[1])), flush=True)
    os._exit(0)  # a port that is freed after PJSIP aborts
