"""What a media cell may do: hand a finished field over. The body is read raw, so that no library keeps a copy."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter, Request

from paycall.domain.errors import InputError, PaycallError
from paycall.domain.fields import Field
from paycall.vault.routes.common import ActorDependency, Identifier, ServicesDependency, raw_body

router = APIRouter()
_MAX_BODY_BYTES = 256


@router.put("/v1/payments/{payment_id}/fields/{field}")
async def store_field(
    payment_id: Identifier,
    field: Field,
    request: Request,
    services: ServicesDependency,
    actor: ActorDependency,
) -> dict[str, str]:
    """Keep a field; the same again changes nothing."""
    value = _value(await raw_body(request, _MAX_BODY_BYTES))
    outcome = "internal-error"
    try:
        token = await asyncio.to_thread(services.tokenizer.store_field, payment_id, field, value, actor)
        outcome = "stored"
    except PaycallError as error:
        outcome = error.code
        raise
    finally:
        services.metrics.field(field.value, outcome)
    return {"token": token}


def _value(body: bytearray) -> str:
    try:
        document = json.loads(body)
    except ValueError:  # its message quotes the input
        raise InputError from None
    value = document.get("value") if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise InputError
    return value
