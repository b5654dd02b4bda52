"""The ledger as a page for people. A test set-up's page: open to whoever can reach the simulator."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from gateway_adapters.sandbox.simulation import simulator_of
from paycall.domain.money import Money

router = APIRouter()


@router.get("/", response_class=HTMLResponse)
async def ledger_page(request: Request) -> HTMLResponse:
    """The newest authorizations and movements."""
    ledger = simulator_of(request).ledger
    authorizations = "".join(
        _row(
            row.created_at[:19],
            row.reference,
            row.wire,
            f"{row.brand} …{row.last4}",
            str(Money(row.amount_minor, row.currency)),
            row.response_code,
            row.state,
            row.charged_minor,
        )
        for row in ledger.authorizations(limit=200)
    )
    movements = "".join(
        _row(row.created_at[:19], row.kind, row.reference, row.amount_minor, row.response_code)
        for row in ledger.movements(limit=200)
    )
    return HTMLResponse(
        _PAGE.format(authorizations=authorizations, movements=movements),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Acquirer simulator</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem}}table{{border-collapse:collapse;margin-bottom:2rem}}
td,th{{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left}}</style></head>
<body><h1>Acquirer simulator</h1><h2>Authorizations</h2>
<table><tr><th>Time (UTC)<th>Reference<th>Wire<th>Card<th>Amount<th>Code<th>State<th>Charged (minor)</tr>
{authorizations}</table>
<h2>Movements</h2><table><tr><th>Time (UTC)<th>Kind<th>Reference<th>Amount (minor)<th>Code</tr>
{movements}</table></body></html>"""
