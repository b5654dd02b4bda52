"""Secrets: every way that Python, or a library of ours, has to show an object is tried."""

from __future__ import annotations

import copy
import gc
import io
import json
import logging
import marshal
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pydantic
import pytest
import structlog
from fastapi.encoders import jsonable_encoder

from paycall.domain import capture_events as happened
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Card
from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError
from paycall.domain.secret import DigitBuffer, KeyBuffer, Pan, Secret, SecurityCode

NUMBER = "4242424242424242"
SECRETS = [
    (Pan(NUMBER), NUMBER),
    (SecurityCode("7391"), "7391"),
    (DigitBuffer("424242"), "424242"),
    (KeyBuffer("4242#7391"), "4242#7391"),
]
every_secret = pytest.mark.parametrize(("secret", "content"), SECRETS, ids=lambda value: type(value).__name__)


@dataclass
class Holder:
    """Something that was written without a thought of secrets."""

    what: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    what: Secret


SHOWN: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "f-string": lambda secret: f"{secret} {secret!r} {secret!s:>40}",
    "a format specification": lambda secret: f"{secret:>40}" + format(secret, "s"),
    "%s and %r": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - the old way leaks, too
    "str.format": lambda secret: "{} {!r}".format(secret, secret),  # noqa: UP032
    "in a list": lambda secret: repr([secret, {"a": (secret,)}]),
    "pprint": pprint.pformat,
    "a dataclass's repr": lambda secret: repr(Holder(secret)),
    "a pydantic model": lambda secret: repr(Model(what=secret)) + str(Model(what=secret).model_dump()),
    "json with default=str": lambda secret: json.dumps({"a": secret}, default=str),
    "an exception": lambda secret: str(ValueError(secret)) + repr(KeyError(secret)),
    "logging": lambda secret: logged(secret),
    "structlog": lambda secret: structlogged(secret),
    "dir": lambda secret: repr(dir(secret)),
    "an effect": lambda secret: repr(happened.StoreField(happened.Field.CARD_NUMBER, secret)),
}


def logged(secret: Secret) -> str:
    stream = io.StringIO()
    logger = logging.getLogger("test-secret")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(args)s %(kept)s"))
    logger.addHandler(handler)
    logger.warning("%s %r", secret, secret, extra={"kept": secret})
    logger.removeHandler(handler)
    return stream.getvalue()


def structlogged(secret: Secret) -> str:
    stream = io.StringIO()
    for renderer in (structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)):
        logger = structlog.wrap_logger(structlog.PrintLogger(stream), processors=[renderer])
        logger.warning("happened", field=secret, nested={"a": [secret]})
    return stream.getvalue()


@every_secret
@pytest.mark.parametrize("way", SHOWN)
def test_no_way_of_showing_an_object_shows_a_secret(secret: Secret, content: str, way: str) -> None:
    shown = SHOWN[way](secret)
    assert shown
    assert content not in shown


@every_secret
def test_what_is_shown_is_the_same_for_every_content(secret: Secret, content: str) -> None:
    assert repr(secret) == str(secret) == f"{secret:>99}" == f"<{type(secret).__name__}>"


REFUSED: dict[str, Callable[[Any], object]] = {
    **{f"pickle {protocol}": lambda s, p=protocol: pickle.dumps(s, p) for protocol in range(6)},
    "pickle of a holder": lambda secret: pickle.dumps(Holder(secret)),
    "marshal": marshal.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a holder": lambda secret: copy.deepcopy(Holder([secret])),
    "asdict": lambda secret: asdict(Holder(secret)),
    "json": json.dumps,
    "pydantic's json": lambda secret: Model(what=secret).model_dump_json(),
    "fastapi's encoder": jsonable_encoder,
    "vars": vars,
    "iteration": lambda secret: list(secret),
    "unpacking": lambda secret: "".join([*secret]),
    "an index": lambda secret: secret[0],
    "bytes": bytes,
    "int": int,
    "a number in %": lambda secret: "%d" % secret,  # noqa: UP031
    "adding text": lambda secret: secret + "",
    "joining": lambda secret: "".join([secret]),
    "hash": hash,
    "a set": lambda secret: {secret},
    "order": lambda secret: secret < secret,
    "membership": lambda secret: "4" in secret,
    "the state": lambda secret: secret.__getstate__(),
}


@every_secret
@pytest.mark.parametrize("way", REFUSED)
def test_what_would_copy_a_secret_is_refused_without_naming_it(
    secret: Secret, content: str, way: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        REFUSED[way](secret)
    assert content not in "".join(traceback.TracebackException.from_exception(refused.value).format())


@every_secret
def test_a_traceback_with_variables_does_not_show_a_secret(secret: Secret, content: str) -> None:
    def work(keyed: Secret) -> None:
        held = Holder([keyed])
        raise RuntimeError(held)

    with pytest.raises(RuntimeError) as failed:
        work(secret)
    inner = failed.tb.tb_next  # this frame holds the content itself, to compare
    shown = "".join(
        traceback.TracebackException(RuntimeError, failed.value, inner, capture_locals=True).format()
    )
    assert "held = " in shown
    assert content not in shown


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        (Pan, "4242424242424243", CaptureError.INVALID_CARD_NUMBER),
        (Pan, "42424242424242４2", CaptureError.INVALID_CARD_NUMBER),
        (Pan, "4242-4242-4242-4242", CaptureError.INVALID_CARD_NUMBER),
        (SecurityCode, "73918", CaptureError.INVALID_SECURITY_CODE),
        (SecurityCode, "73", CaptureError.INVALID_SECURITY_CODE),
        (SecurityCode, "73९", CaptureError.INVALID_SECURITY_CODE),
        (DigitBuffer, "42424242#", CaptureError.INTERNAL_ERROR),
        (DigitBuffer, "4242424²", CaptureError.INTERNAL_ERROR),
        (KeyBuffer, "42424242é", CaptureError.INTERNAL_ERROR),
        (KeyBuffer, "42424242 ", CaptureError.INTERNAL_ERROR),
        (Secret, "42424242é", CaptureError.INTERNAL_ERROR),
        (Expiry.parse, "1387", CaptureError.INVALID_DATE),
    ],
)
def test_a_refused_value_rides_in_no_exception_and_in_no_frame_of_ours(
    kind: Callable[[str], object], value: str, code: CaptureError
) -> None:
    with pytest.raises(CardDataError) as refused:
        kind(value)
    error = refused.value
    assert error.code == code
    assert error.__context__ is None
    assert error.__cause__ is None
    assert value not in str(error) + repr(error) + repr(error.args) + repr(vars(error))
    ours = error.__traceback__.tb_next if error.__traceback__ else None
    assert ours is not None
    frames = "".join(traceback.TracebackException(type(error), error, ours, capture_locals=True).format())
    assert "self = <" in frames or kind == Expiry.parse
    assert value not in frames


def test_wiping_overwrites_the_bytes_themselves() -> None:
    for secret, content in ((Pan(NUMBER), NUMBER), (SecurityCode("739"), "739"), (DigitBuffer("42"), "42")):
        held = secret._digits
        assert held == content.encode()
        secret.wipe()
        assert held == bytes(len(content))
        assert secret.wiped
        assert secret.expose() == ""
        secret.wipe()


def test_a_secret_that_is_dropped_is_wiped() -> None:
    secret = Pan(NUMBER)
    held = secret._digits
    del secret
    gc.collect()
    assert held == bytes(16)


def test_secrets_are_equal_by_content_within_their_kind_only() -> None:
    assert Pan(NUMBER) == Pan(NUMBER)
    assert Pan(NUMBER) != Pan("4111111111111111")
    assert SecurityCode("739") != SecurityCode("7391")
    assert DigitBuffer("739") != SecurityCode("739")
    assert Pan(NUMBER) != NUMBER
    assert DigitBuffer() == DigitBuffer("")


def test_of_a_buffer_the_length_may_be_told_and_one_more_digit_makes_a_new_one() -> None:
    buffer = DigitBuffer()
    assert len(buffer) == 0
    longer = buffer.plus("4").plus("2")
    assert (len(longer), longer.expose(), len(buffer)) == (2, "42", 0)
    keys = KeyBuffer().plus("4").plus("#").plus("D")
    assert keys.expose() == "4#D"


def test_a_card_shows_nothing_but_its_name() -> None:
    card = Card(Pan(NUMBER), Expiry(2031, 4), SecurityCode("739"), "1051")
    for shown in (repr(card), str(card), f"{card}", repr([card]), repr(replace(card, postal_code="1052"))):
        assert not any(char.isdigit() for char in shown)


def test_a_pan_tells_its_brand_and_last_four_and_no_attribute_can_be_added() -> None:
    pan = Pan(NUMBER)
    assert (pan.last4, pan.brand.value if pan.brand else None) == ("4242", "visa")
    with pytest.raises(AttributeError):
        pan.note = "x"  # type: ignore[attr-defined]
