"""A whole call through a node: sipp as caller and as agent, RTP by hand on both sides."""

from __future__ import annotations

import time
from typing import Any

from tests.phones import sipp
from tests.phones.rtp import Heard, RtpPort, Stream, free_port
from tests.phones.site import Site


class Call:
    """One connected call."""

    def __init__(
        self,
        site: Site,
        *,
        target: str | None = None,
        caller_scenario: str | None = None,
        agent_scenario: str | None = None,
        caller: dict[str, Any] | None = None,
        agent: dict[str, Any] | None = None,
        connected: bool = True,
    ) -> None:
        self.site = site
        self.caller_rtp = site.add(RtpPort())
        self.agent_rtp = site.add(RtpPort())
        self.agent = site.add(
            sipp.Sipp(agent_scenario or sipp.agent(self.agent_rtp.port, **(agent or {})), site.agent_port)
        )
        self.started = time.monotonic()
        self.mark = len(site.panel.events) if site.panel is not None else 0
        self.caller = site.add(
            sipp.Sipp(
                caller_scenario or sipp.caller(self.caller_rtp.port, **(caller or {})),
                free_port(),
                target or site.target,
            )
        )
        self.call_id = ""
        self.caller_payload_type = (caller or {}).get("codecs", (8,))[0]
        if connected:
            self.caller_peer = ("127.0.0.1", self.caller.peer_rtp())
            self.agent_peer = ("127.0.0.1", self.agent.peer_rtp())
            if site.panel is not None:
                self.call_id = site.panel.wait("call.connected", since=self.mark).call_id

    def capture(self, **kwargs: Any) -> str:
        """Start a capture; gives the payment."""
        assert self.site.panel is not None
        return self.site.panel.start_capture(self.call_id, **kwargs)

    def hang_up(self) -> None:
        """End it as the operator would on the panel, and wait for its end."""
        panel = self.site.panel
        assert panel is not None
        if not panel.of_type("call.ended", self.call_id):
            panel.run(panel.hub.hang_up(self.call_id))
        panel.wait("call.ended", call_id=self.call_id)

    def caller_plays(self, stream: Stream, *, wait: bool = True) -> float:
        """The caller's sound; gives the moment of its start."""
        self.caller_rtp.play(stream, self.caller_peer, wait=wait)
        return self.caller_rtp.playing_since

    def agent_plays(self, stream: Stream, *, wait: bool = True) -> float:
        """The agent's sound; gives the moment of its start."""
        self.agent_rtp.play(stream, self.agent_peer, wait=wait)
        return self.agent_rtp.playing_since

    def agent_heard(self, since: float = 0.0) -> Heard:
        """What the agent's phone received."""
        return self.agent_rtp.heard(since)

    def caller_heard(self, since: float = 0.0) -> Heard:
        """What the caller's phone received."""
        return self.caller_rtp.heard(since)
