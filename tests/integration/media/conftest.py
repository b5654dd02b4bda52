"""Media tests: a node in its own process, real phones, everything on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.phones.site import Site


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    """One node with one cell for the tests of a module."""
    with Site() as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The module's node; what a test leaves behind is hung up."""
    yield shared_site
    panel = shared_site.panel
    assert panel is not None
    arrived = {event.call_id for event in panel.of_type("call.arrived")}
    ended = {event.call_id for event in panel.of_type("call.ended")}
    for call_id in arrived - ended:
        panel.run(panel.hub.hang_up(call_id))
    for call_id in arrived:
        panel.wait("call.ended", call_id=call_id)
    shared_site.hang_up_all()
