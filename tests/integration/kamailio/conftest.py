"""A node with two cells, and Kamailio in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.phones.kamailio import Kamailio
from tests.phones.site import Site


@pytest.fixture(scope="module")
def fronted() -> Iterator[tuple[Site, Kamailio]]:
    """A node and the carrier's instance, for the tests of a module."""
    with Site(cells=2) as site:
        kamailio = Kamailio(site)
        try:
            yield site, kamailio
        finally:
            kamailio.close()


@pytest.fixture
def site(fronted: tuple[Site, Kamailio]) -> Iterator[Site]:
    """The module's node; what a test leaves behind is hung up."""
    shared = fronted[0]
    yield shared
    panel = shared.panel
    assert panel is not None
    arrived = {event.call_id for event in panel.of_type("call.arrived")}
    ended = {event.call_id for event in panel.of_type("call.ended")}
    for call_id in arrived - ended:
        panel.run(panel.hub.hang_up(call_id))
    for call_id in arrived:
        panel.wait("call.ended", call_id=call_id)
    shared.hang_up_all()


@pytest.fixture
def carrier(fronted: tuple[Site, Kamailio]) -> Kamailio:
    """The module's Kamailio."""
    return fronted[1]
