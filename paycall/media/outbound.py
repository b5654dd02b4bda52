"""A cell's part in calls that operators dial out: whose INVITE is one, the trunk's account, what is known of it."""

from __future__ import annotations

import time

import pjsua2 as pj
import structlog

from paycall.domain.call import Direction
from paycall.domain.errors import NoTrunkError
from paycall.media.bridge import Identity
from paycall.media.endpoint import OnIncoming, SipEndpoint
from paycall.media.sip_text import SipMessage, operator_in
from paycall.media.trunk import TrunkAccount, from_operators, trunk_of
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)


class Outbound:
    """The operators' side of one cell."""

    def __init__(self, endpoint: SipEndpoint, settings: MediaSettings, cell_index: int) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._trunk = trunk_of(settings, cell_index)
        self._account: TrunkAccount | None = None
        self._registering: pj.Account | None = None
        self.registration = "registering" if self._trunk is not None and self._trunk.registers_now else ""

    def start(self, on_incoming: OnIncoming) -> None:
        """Make the trunk's account, if there is a trunk, and register where this is the cell that does."""
        if self._trunk is not None:
            account = self._endpoint.add_account(on_incoming, self._trunk.adjust, self._registered)
            self._account = TrunkAccount(self._trunk, account)
            if self._trunk.registers_another:
                self._registering = self._endpoint.add_account(
                    on_incoming, self._trunk.adjust_registering, self._registered
                )

    @property
    def possible(self) -> bool:
        """Whether there is a trunk."""
        return self._trunk is not None

    def trunk(self) -> TrunkAccount:
        """Where customers are dialled.

        Raises
        ------
        NoTrunkError
            Nowhere.
        """
        if self._account is None:
            raise NoTrunkError
        return self._account

    def is_from_operator(self, peer: str) -> bool:
        """Whether an INVITE from this host:port is an operator's."""
        return from_operators(peer, self._settings.operator_networks)

    def identity(self, call_id: str, number: str, invite: SipMessage | None = None) -> Identity:
        """What is known of the call. Without an ``invite`` paycall rings the operator and shows the number there."""
        shown = f"<sip:{number}@{self._settings.address}>"
        believed = invite is not None and "agent" in self._settings.operator_header_from
        return Identity(
            call_id=call_id,
            caller=number,
            called=self._trunk.caller_id if self._trunk else "",
            started_at=time.time(),
            headers=() if invite is not None else (("P-Asserted-Identity", shown),),
            direction=Direction.OUTBOUND,
            operator=operator_in(invite, self._settings.operator_header) if invite and believed else "",
        )

    def _registered(self, code: int, seconds: int) -> None:
        self.registration = "registered" if code // 100 == 2 else f"not registered ({code})"
        if code // 100 == 2:
            log.info("trunk_registered", seconds=seconds)
        else:
            log.error("trunk_not_registered", code=code)
