"""Accounts: who may sign in, as what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError, NotFoundError, StateError
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.roles import Role
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of, place_of
from paycall.panel.schemas import Account, Accounts, AddOperator, ChangeOperator, Id, Invited
from paycall.panel.services import accounts
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.store.database import reading, writing
from paycall.store.tables import OperatorRow

router = APIRouter(prefix="/api/v1", tags=["people"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)


class NameTakenError(InputError):
    """There is an account of this name already, or the name is not usable."""

    code = "name-taken"
    text = "this name is taken or not usable"


class LastAdministratorError(StateError):
    """The site would be without an administrator."""

    code = "last-administrator"
    text = "somebody has to remain administrator"


@dataclass(frozen=True)
class PeoplePage(Page):
    """All accounts."""

    template: ClassVar[str] = "people.html"
    people: list[Account]
    roles: tuple[str, ...]


@pages.get("/people", name="people_page")
def people_page(request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """The page."""
    return render(
        PeoplePage(
            principal=principal,
            language=principal.language,
            site_name=site_name(request),
            here="people",
            people=_all(context),
            roles=tuple(role.value for role in Role),
        )
    )


@router.get("/operators", name="list_operators")
def list_operators(context: InContext) -> Accounts:
    """All accounts."""
    return Accounts(operators=_all(context))


@router.post("/operators", name="add_operator", status_code=201)
def add_operator(body: AddOperator, request: Request, principal: SignedIn, context: InContext) -> Invited:
    """Make an account; hand the invitation to its owner."""
    now = context.now()
    with writing(context.deps.database) as session:
        try:
            operator_id = accounts.add_operator(
                session,
                body.name,
                body.role,
                now,
                display_name=body.display_name,
                language=body.language,
                agent_uri=body.agent_uri,
                must_change_password=False,
            )
        except InputError:
            raise NameTakenError from None
        row = _account(session, operator_id)
        note(session, now, principal.operator_id, "operator-add", target=row.id, address=address_of(request))
        link = _link(request, accounts.invite(session, row, now))
        return Invited(operator=_view(row), invitation=link)


@router.patch("/operators/{operator_id}", name="change_operator")
def change_operator(
    operator_id: Id, body: ChangeOperator, request: Request, principal: SignedIn, context: InContext
) -> Account:
    """Change name, role, phone, or lock the account. A lock or another role ends its sessions."""
    now = context.now()
    with writing(context.deps.database) as session:
        row = _account(session, operator_id)

        def tell(action: str, result: str = "done") -> None:
            address = address_of(request)
            note(
                session,
                now,
                principal.operator_id,
                action,
                target=operator_id,
                result=result,
                address=address,
            )

        if body.display_name:
            row.display_name = body.display_name
        if body.agent_uri is not None:
            row.agent_uri = body.agent_uri
        if body.role is not None and body.role.value != row.role:
            row.role = body.role.value
            accounts.end_sessions(session, row.id)
            tell("operator-role", row.role)
        if body.locked is not None:
            row.locked = body.locked
            row.locked_until = None
            if body.locked:
                accounts.end_sessions(session, row.id)
            tell("operator-lock" if body.locked else "operator-unlock")
        if body.display_name or body.agent_uri is not None:
            tell("operator-change")
        session.flush()
        _keep_an_administrator(session)
        return _view(row)


@router.post("/operators/{operator_id}/invitation", name="invite_operator")
def invite_operator(operator_id: Id, request: Request, principal: SignedIn, context: InContext) -> Invited:
    """Take the password and the second factor away and give a new invitation."""
    now = context.now()
    with writing(context.deps.database) as session:
        row = _account(session, operator_id)
        if row.id == principal.operator_id:
            raise StateError("change your own password on your account's page")
        accounts.forget_factors(session, row)
        link = _link(request, accounts.invite(session, row, now))
        note(
            session, now, principal.operator_id, "operator-reset", target=row.id, address=address_of(request)
        )
        return Invited(operator=_view(row), invitation=link)


def _all(context: Context) -> list[Account]:
    with reading(context.deps.database) as session:
        rows = session.scalars(select(OperatorRow).order_by(OperatorRow.display_name)).all()
        return [_view(row) for row in rows]


def _account(session: Session, operator_id: str) -> OperatorRow:
    row = session.get(OperatorRow, operator_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def _keep_an_administrator(session: Session) -> None:
    left = session.scalar(
        select(func.count())
        .select_from(OperatorRow)
        .where(OperatorRow.role == Role.ADMINISTRATOR.value, ~OperatorRow.locked)
    )
    if not left:
        raise LastAdministratorError


def _link(request: Request, token: str) -> str:
    return f"{place_of(request).origin}/invitation/{token}"


def _view(row: OperatorRow) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        display_name=row.display_name,
        role=Role(row.role),
        language=row.language,
        agent_uri=row.agent_uri,
        locked=row.locked,
        invited=row.password_hash is None,
        second_factor=row.totp_sealed is not None,
        created_at=row.created_at,
        last_sign_in_at=row.last_sign_in_at,
    )
