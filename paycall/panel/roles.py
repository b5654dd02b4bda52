"""Roles, what each may do, and who is asking.

Rules: nothing is allowed unless it stands here. An API key has the permissions of its scopes, a person those of
the role.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a route can ask for."""

    SEE_CALLS = "see-calls"
    SEE_PAYMENTS = "see-payments"
    TAKE_PAYMENTS = "take-payments"
    SETTLE = "settle"
    VOID = "void"
    REFUND = "refund"
    REVIEW = "review"
    DELETE_CARDS = "delete-cards"
    SEE_ALL = "see-all"
    SEE_REPORTS = "see-reports"
    EXPORT = "export"
    MANAGE_PEOPLE = "manage-people"
    MANAGE_PROGRAMS = "manage-programs"
    SEE_AUDIT = "see-audit"
    OWN_ACCOUNT = "own-account"


class Role(StrEnum):
    """What a person is."""

    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


_P = Permission
_OPERATOR = frozenset({_P.SEE_CALLS, _P.SEE_PAYMENTS, _P.TAKE_PAYMENTS, _P.SETTLE, _P.VOID, _P.OWN_ACCOUNT})
_SUPERVISOR = _OPERATOR | {_P.REFUND, _P.REVIEW, _P.DELETE_CARDS, _P.SEE_ALL, _P.SEE_REPORTS, _P.EXPORT}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OPERATOR: _OPERATOR,
    Role.SUPERVISOR: _SUPERVISOR,
    Role.ADMINISTRATOR: frozenset(_P),
    Role.AUDITOR: frozenset(
        {_P.SEE_CALLS, _P.SEE_PAYMENTS, _P.SEE_ALL, _P.SEE_REPORTS, _P.EXPORT, _P.SEE_AUDIT, _P.OWN_ACCOUNT}
    ),
}


class Scope(StrEnum):
    """What a program's API key may be given."""

    CALLS_READ = "calls:read"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    PAYMENTS_REFUND = "payments:refund"
    REPORTS_READ = "reports:read"


# A program sees the whole site's calls and payments, as a supervisor does, and never more than that.
SCOPES: dict[Scope, frozenset[Permission]] = {
    Scope.CALLS_READ: frozenset({_P.SEE_CALLS, _P.SEE_ALL}),
    Scope.PAYMENTS_READ: frozenset({_P.SEE_PAYMENTS, _P.SEE_ALL}),
    Scope.PAYMENTS_WRITE: frozenset(
        {_P.SEE_PAYMENTS, _P.SEE_ALL, _P.TAKE_PAYMENTS, _P.SETTLE, _P.VOID, _P.DELETE_CARDS}
    ),
    Scope.PAYMENTS_REFUND: frozenset({_P.SEE_PAYMENTS, _P.SEE_ALL, _P.REFUND}),
    Scope.REPORTS_READ: frozenset({_P.SEE_REPORTS, _P.SEE_ALL}),
}


@dataclass(frozen=True)
class Principal:
    """Who is asking: a signed-in person or a program with an API key.

    ``id`` owns idempotency keys; ``operator_id`` is the person's, None for a program.
    """

    id: str
    name: str
    operator_id: str | None
    permissions: frozenset[Permission]
    language: str
    theme: str = "auto"
    role: Role | None = None
    session_hash: str | None = None
    unfinished: bool = False  # a new password or a second factor is due before anything else

    @property
    def limit_name(self) -> str:
        """The name under which a site sets this one's limits."""
        return self.role.value if self.role else "api-key"

    def may(self, permission: Permission) -> bool:
        """Whether the permission is given."""
        return permission in self.permissions

    @property
    def sees_all(self) -> bool:
        """Whether other operators' calls and payments may be seen."""
        return Permission.SEE_ALL in self.permissions
