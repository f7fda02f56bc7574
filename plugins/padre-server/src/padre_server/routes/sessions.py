"""Signing in with a name and a password, and what a token is good for."""

from __future__ import annotations

from typing import Any

from padre_http.secret import Secret
from padre_http.wire.info import Identity, Session, decode_sign_in, encode_model
from padre_server.call import Answer, Call
from padre_server.rights import GRANTABLE, Caller, Scope
from padre_server.route import Body, Reply, Route
from padre_server.schemas import TEXT, ref, struct
from padre_server.tokens import GRACE_SECONDS


def _sign_in(call: Call) -> Answer:
    name, password = decode_sign_in(call.body)
    state = call.state
    state.users.check_password(name, password.reveal(), call.client)
    secret, _ = state.tokens.create("session", scopes=GRANTABLE, user=name, seconds=state.settings.session_seconds)
    caller = state.tokens.caller(secret)
    state.audit.note(caller.name, "sign-in", token=caller.token, client=call.client)
    return _session(secret, caller)


def _refresh(call: Call) -> Answer:
    state = call.state
    # A token that an operator made keeps its end: its holder must not prolong it.
    own = call.caller.subject.startswith("user:")
    seconds = state.settings.session_seconds if own else None
    secret = state.tokens.rotate(str(call.caller.token), seconds=seconds, grace=GRACE_SECONDS)
    return _session(secret, state.tokens.caller(secret))


def _sign_out(call: Call) -> Answer:
    call.state.tokens.revoke(str(call.caller.token))
    return Answer(status=204, media_type=None)


def _whoami(call: Call) -> Answer:
    return Answer(encode_model(Identity(**_described(call.caller))))


def _session(secret: str, caller: Caller) -> Answer:
    return Answer(encode_model(Session(**_described(caller), token=Secret(secret))))


def _described(caller: Caller) -> dict[str, Any]:
    projects = tuple(sorted(name for name, scopes in caller.rights.items() if scopes))
    scopes = tuple(caller.scopes())
    return {"user": caller.name, "scopes": scopes, "projects": projects, "expires_at": caller.expires_at}


_ADA = {"user": "ada", "expires_at": "2026-11-23T21:30:00.000000+00:00", "scopes": ["read"], "projects": ["*"]}
_TOKEN = {"token": "padre_…", **_ADA}

ROUTES = (
    Route(
        "POST", "/v1/session", Scope.PUBLIC, "Signs in with a name and a password.", _sign_in,
        {200: Reply("A token for some hours.", schema=ref("Session"), example=_TOKEN)},
        (401, 429),
        body=Body(limit=10_000, schema=struct({"name": TEXT, "password": TEXT}, strict=True),
                  example={"name": "ada", "password": "correct horse battery"}),
    ),
    Route(
        "DELETE", "/v1/session", Scope.ANY, "Ends the token that is used.", _sign_out,
        {204: Reply("It is no longer valid.", media_type=None)},
    ),
    Route(
        "POST", "/v1/session/refresh", Scope.ANY, "Replaces the token that is used by a new one.", _refresh,
        {200: Reply("The new token; the old one ends in two minutes.", schema=ref("Session"), example=_TOKEN)}, (404,),
        body=Body(empty=True, limit=1000),
    ),
    Route(
        "GET", "/v1/whoami", Scope.ANY, "Says whose token it is and what it may do.", _whoami,
        {200: Reply("Name, scopes and projects.", schema=ref("Identity"), example=_ADA)},
    ),
)  # fmt: skip
