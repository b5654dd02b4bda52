"""No card number reaches a log line, on any of the ways that a program writes one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from paycall.logs import REFUSED, configure_logs

PAN = "4111111111111111"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    before, level = logging.getLogger().handlers[:], logging.getLogger().level
    configure_logs("debug", stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before
    logging.getLogger().setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_known_fields_pass_and_others_are_dropped_by_name(lines: io.StringIO) -> None:
    structlog.get_logger().info("call_connected", call_id="call_x", digits=4, pan=PAN, keyed="12")
    (line,) = read(lines)
    assert line["event"] == "call_connected"
    assert line["call_id"] == "call_x"
    assert line["digits"] == 4
    assert line["dropped"] == ["keyed", "pan"]


@pytest.mark.parametrize(
    "value", [PAN, int(PAN), "4111 1111 1111 1111", "4111-1111-1111-1111", [PAN], {"a": PAN}]
)
def test_a_value_that_looks_like_a_card_number_is_refused(lines: io.StringIO, value: object) -> None:
    structlog.get_logger().info("x", reason=value)
    assert read(lines)[0]["reason"] == REFUSED
    structlog.get_logger().info(f"card {PAN}")
    assert PAN not in lines.getvalue()


def test_an_exception_leaves_its_type_and_places_only(lines: io.StringIO) -> None:
    pan = PAN
    try:
        int(f"x{pan}")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed with %s", pan)
    first, second = read(lines)
    assert first["error"] == second["error"] == "ValueError"
    assert any("test_logs.py" in place for place in first["where"])
    assert PAN not in lines.getvalue()


def test_a_librarys_record_loses_its_arguments(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("request %s %s", "PUT", "code=737")
    line = read(lines)[0]
    del line["timestamp"]  # its fractions of a second may be any three digits
    assert line["event"] == "request %s %s"
    assert "737" not in json.dumps(line)
