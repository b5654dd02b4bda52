"""A field that the caller cannot key is done without in a real call: the line stays masked, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paycall.domain.errors import StateError
from paycall.domain.fields import Field
from tests.phones.call import Call
from tests.phones.rtp import Stream
from tests.phones.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as node:
        yield node


def test_the_next_field_is_asked_for_under_the_mask(site: Site) -> None:
    call = Call(site)
    payment = call.capture(fields=[Field.SECURITY_CODE, Field.EXPIRY])
    call.caller_plays(Stream().silence(0.2).events("12", 0.06, 0.06))
    with pytest.raises(StateError):
        site.panel.run(site.panel.hub.drop_field(call.call_id, "pay_" + "a" * 22, Field.SECURITY_CODE))
    site.panel.run(site.panel.hub.drop_field(call.call_id, payment, Field.SECURITY_CODE))
    site.panel.wait("capture.field", 2, call_id=call.call_id)
    call.caller_plays(Stream().silence(0.2).events("1230", 0.06, 0.06))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.EXPIRY: "1230"}
    assert [event.masked for event in site.panel.of_type("call.mask")] == [True]
