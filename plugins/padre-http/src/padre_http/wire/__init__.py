"""What client and server say to each other: bytes and values of every body, for both sides.

`records`, `queries`, `streams`, `blobs`, `errors` and `info` hold a pair of functions for each: `encode_…` makes bytes,
`decode_…` checks and reads them, and raises `InvalidObjectError` for anything else. Nothing in here opens a connection.
"""

from padre_http.wire.shapes import JSON, MAX_JSON, bundled

__all__ = ["JSON", "MAX_JSON", "bundled"]
