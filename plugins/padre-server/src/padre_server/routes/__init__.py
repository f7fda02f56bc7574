"""The route table: everything the server answers."""

from padre_server.routes import batches, blobs, lists, records, service, sessions, streams, uploads

TABLE = (
    *service.ROUTES,
    *sessions.ROUTES,
    *batches.ROUTES,
    *streams.ROUTES,
    *blobs.ROUTES,
    *uploads.ROUTES,
    # With a parameter where the others have a word, so behind them.
    *lists.ROUTES,
    *records.ROUTES,
)
"""All routes; the first whose path fits answers."""
