"""Fixtures: what the operators' phones of a test got is taken from the wire by tshark and searched for keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.phones import capture


@pytest.fixture(scope="session", autouse=True)
def tapped() -> Iterator[None]:
    """tshark runs from the first node on."""
    with capture.tapped():
        yield


@pytest.fixture(autouse=True)
def no_key_reaches_an_operator(request: pytest.FixtureRequest, tapped: None) -> Iterator[None]:
    """No tone, no RFC 4733 event and no INFO with a key went to an operator's phone, in a capture or not.

    A test in which keys are to pass on, as no capture runs, says which with the marker ``keys_pass``: then these,
    and no others, have to be found.
    """
    yield
    passed = request.node.get_closest_marker("keys_pass")
    try:
        found = capture.search()
    finally:
        capture.forget()
    capture.assert_keys(found, **(passed.kwargs if passed else {}))
