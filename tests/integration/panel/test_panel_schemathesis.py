"""schemathesis over the panel's OpenAPI document: no server error, no answer that is not described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from paycall.panel.roles import Role
from paycall.panel.services import accounts
from paycall.panel.services.webhook_address import WebhookUrlError
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import PASSWORD, new_payment

accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
# It would sign itself out, lock itself out, or follow a stream that never ends.
_LEFT_OUT = ("/api/v1/session", "/api/v1/account/password", "/api/v1/account/second-factor", "/api/v1/events")


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PanelServer, dict[str, str], dict[str, str]]]:
    """A panel with a call and a payment, an administrator's cookie, and the ids that exist."""

    async def nowhere(*_: object) -> None:
        raise WebhookUrlError

    with pytest.MonkeyPatch.context() as patch, PanelServer(tmp_path_factory.mktemp("panel")) as server:
        # Webhooks of made-up addresses are made here: no name of theirs is looked up.
        patch.setattr("paycall.panel.services.webhook_sender.find_target", nowhere)
        server.world.add("root", Role.ADMINISTRATOR)
        operator_id = server.world.add("somebody")  # locked and reset at random, and not who asks
        signed_in = httpx.post(f"{server.url}/api/v1/session", json={"name": "root", "password": PASSWORD})
        cookies = dict(signed_in.cookies)

        async def prepare() -> dict[str, str]:
            client = await server.world.signed_in("root")
            call_id = await server.world.cell.call_in()
            payment = await new_payment(client, call_id)
            webhook = {"url": "http://127.0.0.1:9/", "events": ["payment.*"]}
            made = (await client.post("/api/v1/webhook-subscriptions", json=webhook)).json()
            key = (await client.post("/api/v1/api-keys", json={"name": "a", "scopes": ["calls:read"]})).json()
            return {
                "call_id": call_id,
                "payment_id": payment["id"],
                "operator_id": operator_id,
                "webhook_id": made["webhook"]["id"],
                "key_id": key["api_key"]["id"],
            }

        yield server, cookies, server.do(prepare())


def _told(error: BaseException) -> str:
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
    return " | ".join(f"{type(part).__name__} {str(part)[:400]}" for part in parts)


def test_the_api_keeps_to_its_description(
    running: tuple[PanelServer, dict[str, str], dict[str, str]],
) -> None:
    server, cookies, known = running
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json").exclude(path=list(_LEFT_OUT))
    schema.config.generation.update(
        with_security_parameters=False
    )  # it is signed in; made-up keys would hide that
    complaints: list[str] = []
    statuses: Counter[int] = Counter()
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    tried = 0

    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def one(case: schemathesis.Case) -> None:
            for name in case.path_parameters or {}:
                if name in known:
                    case.path_parameters[name] = known[name]
            answer = case.call(base_url=server.url, cookies=cookies)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=checks)

        try:
            given(case=operation.as_strategy())(one)()
            tried += 1
        except (Exception, FailureGroup) as error:
            complaints.append(f"{operation.label}: {_told(error)}")
    assert complaints == [], "\n\n".join(complaints)
    assert tried > 15
    assert not statuses[401] and statuses[200] + statuses[201] + statuses[202] + statuses[204] > 50, statuses
