"""Ends ports on a running PJSIP bridge at the worst moment: a callback is under way and waits for the interpreter.

Run as a process of its own: it would not survive the fault.
"""

from __future__ import annotations

import os
import sys
import time

from paycall.media.endpoint import KEEP_OBJECTS_S, EndpointConfig, SipEndpoint
from paycall.media.ports import MaskPort, destroy_later
from tests.phones.rtp import free_port

PORTS = 8
HELD_S = 0.05  # the clock thread comes every 20 ms


def main() -> None:
    endpoint = SipEndpoint(EndpointConfig("127.0.0.1", free_port(), free_port(count=4), 4))
    endpoint.start(lambda *_: None)
    sys.setswitchinterval(1.0)  # nobody takes the interpreter away from who holds it
    for number in range(PORTS):
        endpoint.call_later(number * 2 * HELD_S, lambda: end_one(endpoint))
    endpoint.call_later(PORTS * 2 * HELD_S + KEEP_OBJECTS_S + 0.2, endpoint.stop)
    endpoint.run()
    print("survived", flush=True)
    os._exit(0)


def end_one(endpoint: SipEndpoint) -> None:
    destroy_later(endpoint, MaskPort(lambda _: None, lambda _: None))
    endpoint.call_later(KEEP_OBJECTS_S - HELD_S / 2, hold)


def hold() -> None:
    end = time.monotonic() + HELD_S
    while time.monotonic() < end:
        pass


if __name__ == "__main__":
    main()
