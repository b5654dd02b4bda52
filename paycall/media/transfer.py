"""The agent hands the call on (REFER): one transfer of a call at a time.

Rules: the new leg takes a place in PJSIP beside the old one until one of them is gone. Which of them the caller
talks to is the bridge's choice. Everything runs in the SIP thread.
"""

from __future__ import annotations

from paycall.media.endpoint import SipEndpoint
from paycall.media.legs import Leg, LegObserver
from paycall.media.sip_text import uri_of


class Transfer:
    """A transfer of a call's agent leg that is under way."""

    def __init__(self, endpoint: SipEndpoint, observer: LegObserver, refer_to: str) -> None:
        uri = uri_of(refer_to) or refer_to
        self.leg = Leg(endpoint, observer)  # PJSIP dials it, and tells the old leg how it goes
        self.agent_uri = uri.partition("?")[0]  # without the headers that are meant for the new INVITE
