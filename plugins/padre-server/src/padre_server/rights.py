"""Who may do what: scopes, roles, and the caller that a token stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from padre_core import InvalidObjectError

EVERYWHERE = "*"
"""Stands for the whole store where a project is named."""


class Scope(StrEnum):
    """What a route asks of a token. None contains another: a token lists what it may."""

    PUBLIC = "public"
    ANY = "any"
    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"


GRANTABLE = (Scope.READ, Scope.WRITE, Scope.DELETE, Scope.ADMIN)
"""The scopes that a token can have."""

ROLES: Mapping[str, frozenset[Scope]] = {
    "viewer": frozenset({Scope.READ}),
    "editor": frozenset({Scope.READ, Scope.WRITE, Scope.DELETE}),
    "owner": frozenset(GRANTABLE),
}
"""What a user may in a project, or with `*` in the whole store."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        name: For people and the audit log.
        subject: What grants are noted under: the user, or the token of none.
        token: The id of the token; None for a caller without one.
        rights: The scopes in each project, by its id or `*`.
    """

    name: str
    subject: str
    token: str | None = None
    expires_at: str | None = None
    rights: Mapping[str, frozenset[Scope]] = field(default_factory=dict)

    def has(self, scope: Scope) -> bool:
        """Whether the caller may do this anywhere."""
        return any(scope in scopes for scopes in self.rights.values())

    def everywhere(self, scope: Scope) -> bool:
        """Whether the caller may do this in the whole store."""
        return scope in self.rights.get(EVERYWHERE, ())

    def projects(self, scope: Scope) -> frozenset[str]:
        """The ids of the projects in which the caller may do this."""
        return frozenset(name for name, scopes in self.rights.items() if scope in scopes)

    def scopes(self) -> list[str]:
        """All scopes that the caller has anywhere."""
        return [scope.value for scope in GRANTABLE if self.has(scope)]


MAX_LABEL = 100

NOBODY = Caller("nobody", "")
"""A caller without a token."""


def check_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Scopes by name, each once, in their order.

    Raises:
        InvalidObjectError: There is no such scope, or none is named.
    """
    wanted = set(names)
    known = {scope.value for scope in GRANTABLE}
    if not wanted or not wanted <= known:
        raise InvalidObjectError(f"scopes are {', '.join(sorted(known))}; name at least one of them")
    return tuple(scope for scope in GRANTABLE if scope.value in wanted)


def check_label(name: str, what: str) -> str:
    """A name of a user or a token, as it stands in lists and the audit log.

    Raises:
        InvalidObjectError: It will not do.
    """
    if not (name.isprintable() and 0 < len(name) <= MAX_LABEL) or name != name.strip():
        raise InvalidObjectError(f"{what} has 1 to {MAX_LABEL} printable characters, without spaces around them")
    return name


def check_role(name: str) -> str:
    """A role by name.

    Raises:
        InvalidObjectError: There is no such role.
    """
    if name not in ROLES:
        raise InvalidObjectError(f"there is no role {name!r:.40}; the roles are {', '.join(ROLES)}")
    return name
