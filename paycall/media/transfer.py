"""The agent hands the call on (REFER): one transfer of a call at a time.

Rules: the new leg takes a place in PJSIP beside the old one until one of them is gone. Which of them the caller
talks to is the bridge's choice. PJSIP dials the new leg itself, and where it can't it tells nobody: targets that are
no SIP address are refused before. Everything runs in the SIP thread.
"""

from __future__ import annotations

import re

import pjsua2 as pj

from paycall.domain.errors import InputError
from paycall.media.endpoint import SipEndpoint
from paycall.media.legs import Leg, LegObserver
from paycall.media.sip_text import uri_of

_TARGET = re.compile(
    r"sip:(?:[^\s<>@]+@)?[A-Za-z0-9.-]+(?::[0-9]{1,4}|:[1-5][0-9]{4})?"
    r"(?:;transport=(?:udp|tcp|tls))?(?:;[^\s<>?]*)?(?:\?[^\s<>]*)?",
    re.IGNORECASE,
)
_MAX_TARGET = 300  # of an event's address


class Transfer:
    """A transfer of a call's agent leg that is under way.

    Raises
    ------
    InputError
        If ``refer_to`` is no SIP address.
    """

    def __init__(
        self, endpoint: SipEndpoint, observer: LegObserver, refer_to: str, account: pj.Account
    ) -> None:
        uri = uri_of(refer_to) or refer_to
        self.agent_uri = uri.partition("?")[0]  # without the headers that are meant for the new INVITE
        if len(self.agent_uri) > _MAX_TARGET or not _TARGET.fullmatch(uri):
            raise InputError("the target of a transfer is no SIP address")
        # PJSIP dials it, and tells the old leg how it goes; it wants the old one's account
        self.leg = Leg(endpoint, observer, account=account)
