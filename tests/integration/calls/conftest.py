"""Who has a call and who dialled it: a node in its own process, real phones, everything on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.phones.site import Site


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    """One node with one cell for the tests of a module, that trusts the operator's header from both sides."""
    with Site(operator_header_from=["agent", "caller"]) as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The module's node; what a test leaves behind is hung up."""
    yield shared_site
    panel = shared_site.panel
    arrived = {event.call_id for event in panel.of_type("call.arrived")}
    for call_id in arrived - {event.call_id for event in panel.of_type("call.ended")}:
        panel.run(panel.hub.hang_up(call_id))
    for call_id in arrived:
        panel.wait("call.ended", call_id=call_id)
    shared_site.hang_up_all()
