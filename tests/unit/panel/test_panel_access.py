"""Default deny: every route stands in the table, and the table is kept."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.routing import APIRoute

from paycall.domain.ids import new_id
from paycall.panel.access import ACCESS
from paycall.panel.app import ROUTERS
from paycall.panel.roles import PERMISSIONS, Permission, Role
from tests.fakes.panel_world import APPROVED, PanelWorld, new_payment, until

Run = Callable[..., None]
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
PUBLIC = {"health", "openapi", "docs", "sign_in_page", "sign_in_form", "open_session"}
PUBLIC |= {"invitation_page", "invitation_form", "take_webhook"}
PUBLIC |= {"begin_passkey_session", "open_passkey_session", "oidc_begin", "oidc_return"}


def _path(route: APIRoute) -> str:
    path = route.path
    for name in re.findall(r"{(\w+_id)}", path):
        path = path.replace(f"{{{name}}}", new_id(name.partition("_")[0]))
    return path.replace("{", "").replace("}", "")


def test_the_table_and_the_routes_are_the_same() -> None:
    assert {route.name for route in ROUTES} == set(ACCESS)
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert {name for name, needed in ACCESS.items() if needed is None} == PUBLIC


def test_nobody_gets_in_without_signing_in(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        stranger = world.client()
        for route in ROUTES:
            if route.name in PUBLIC:
                continue
            for method in route.methods:
                answer = await stranger.request(method, _path(route), json={})
                assert answer.status_code == 401, (route.name, answer.status_code)
                assert answer.json()["code"] == "not-signed-in"

    run(scenario)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_call_what_its_permissions_say_and_nothing_else(run: Run, role: Role) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("somebody", role)
        client = await world.signed_in("somebody")
        for route in ROUTES:
            needed = ACCESS[route.name]
            if needed is None or route.name in ("close_session", "sign_out_form", "follow_events"):
                continue
            for method in route.methods:
                answer = await client.request(method, _path(route), json={})
                refused = answer.status_code == 403 and answer.json()["code"] == "not-allowed"
                assert refused == (needed not in PERMISSIONS[role]), (route.name, answer.text[:200])

    run(scenario)


def test_an_auditor_reads_everything_and_changes_nothing() -> None:
    changing = {
        Permission.TAKE_PAYMENTS,
        Permission.SETTLE,
        Permission.VOID,
        Permission.REFUND,
        Permission.REVIEW,
    }
    assert not PERMISSIONS[Role.AUDITOR] & (changing | {Permission.MANAGE_PEOPLE})
    assert Permission.SEE_ALL in PERMISSIONS[Role.AUDITOR]


def test_an_operator_does_not_see_anothers_calls_and_payments(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boris")
        world.add("boss", Role.SUPERVISOR)
        anna, boris, boss = [await world.signed_in(name) for name in ("anna", "boris", "boss")]
        call_id = await world.cell.call_in()
        assert (await boris.get(f"/api/v1/calls/{call_id}")).status_code == 200, "nobody has taken it yet"
        payment = await new_payment(anna, call_id)
        for method, path in (
            ("GET", f"/api/v1/calls/{call_id}"),
            ("GET", f"/api/v1/payments/{payment['id']}"),
            ("POST", f"/api/v1/payments/{payment['id']}/cancel"),
            ("POST", f"/api/v1/payments/{payment['id']}/authorize"),
            ("POST", f"/api/v1/calls/{call_id}/hang-up"),
        ):
            assert (await boris.request(method, path)).status_code == 404, path
        stolen = await boris.post(
            f"/api/v1/calls/{call_id}/payments",
            json={"amount_minor": 1, "currency": "EUR"},
            headers={"idempotency-key": "x"},
        )
        assert stolen.status_code == 404
        assert (await boris.get("/api/v1/payments")).json() == {"payments": []}
        assert (await boris.get("/api/v1/calls")).json() == {"calls": []}
        assert call_id not in (await boris.get("/", headers={"accept": "text/html"})).text
        assert call_id not in (await boris.get(f"/fragments/board?call={call_id}")).text
        assert (await boss.get(f"/api/v1/payments/{payment['id']}")).status_code == 200
        await world.cell.key(call_id, APPROVED, "1230", "123")
        await until(anna, payment["id"], "ready")

    run(scenario)
