"""Listings: pages of records, and how many there are."""

from __future__ import annotations

from dataclasses import replace

from padre_core.backends.backend import Page
from padre_core.objects.record import Record
from padre_core.query import Query
from padre_http.wire.queries import decode_query, encode_count, query_of
from padre_http.wire.records import encode_page
from padre_server.call import FIRST, GROWTH, Answer, Call
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.routes.records import kind_in
from padre_server.schemas import EXPERIMENT, ID, ref

ENOUGH = 16 * 1024 * 1024
"""So many bytes make a page, even if more records were asked for."""


def _list(call: Call) -> Answer:
    kind = kind_in(call.path["folder"])
    return _page(call, kind, query_of(kind, call.query))


def _search(call: Call) -> Answer:
    kind = kind_in(call.path["folder"])
    return _page(call, kind, decode_query(kind, call.body))


def _count(call: Call) -> Answer:
    kind = kind_in(call.path["folder"])
    return _number(call, kind, query_of(kind, call.query))


def _count_search(call: Call) -> Answer:
    kind = kind_in(call.path["folder"])
    return _number(call, kind, decode_query(kind, call.body))


def _page(call: Call, kind: str, query: Query) -> Answer:
    access = call.access
    limited = access.limited(kind, query)
    asked = limited.query
    found: list[Record] = []
    size, part = 0, FIRST
    while True:  # in growing parts, for objects may be large, and memory is not
        page = call.records.page(kind, replace(asked, limit=min(part, query.limit - len(found))))
        found += page.records
        size += sum(len(record.content) for record in page.records)
        if page.cursor is None or len(found) >= query.limit or size >= ENOUGH:
            if limited.shared is not None:  # what was shared when the first page was made may no longer be
                found = [record for record in found if access.sees(record)]
            cursor = access.seal(limited, page.cursor)
            return Answer(encode_page(Page(tuple(found), cursor), envelope=call.administers))
        asked, part = replace(asked, cursor=page.cursor), part * GROWTH


def _number(call: Call, kind: str, query: Query) -> Answer:
    return Answer(encode_count(call.records.count(kind, call.access.limited(kind, query).query)))


_PARAMETERS = (
    Parameter("where", "A filter, such as `metrics.accuracy.last > 0.9`; see the page on filters."),
    Parameter("order_by", "Fields, each with `-` in front for descending order; by default the time of creation."),
    Parameter("within", "The id of an object: only what lies below it.", ID),
    Parameter("limit", "The size of a page; a greater one than 1,000 means that.", {"type": "integer", "minimum": 1}),
    Parameter("cursor", "Where the page before ended."),
    Parameter("deleted", "Which objects are meant.", {"enum": ["exclude", "only", "include"]}),
)
_FOUND = {200: Reply("A page.", schema=ref("Page"), example={"records": [EXPERIMENT], "cursor": None})}
_COUNTED = {200: Reply("How many.", schema=ref("Count"), example={"count": 7})}
_QUERY = Body(limit=1024 * 1024, schema=ref("Search"), example={"where": 'name == "svc"', "limit": 20}, empty=True)

ROUTES = (
    Route(
        "GET", "/v1/{folder}", Scope.READ, "Lists objects of a kind.", _list, _FOUND, (404, 501), _PARAMETERS,
    ),
    Route(
        "POST", "/v1/{folder}/search", Scope.READ, "Lists objects; for filters that are too long for a URL.", _search,
        _FOUND, (404, 501), body=_QUERY,
    ),
    Route(
        "GET", "/v1/{folder}/count", Scope.READ, "Counts the objects that a filter finds.", _count, _COUNTED,
        (404, 501), _PARAMETERS,
    ),
    Route(
        "POST", "/v1/{folder}/count", Scope.READ, "Counts objects; for filters that are too long for a URL.",
        _count_search, _COUNTED, (404, 501), body=_QUERY,
    ),
)  # fmt: skip
