"""What the URL of a store in the cloud may say, and which schemes are served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from padre_core.errors import InvalidObjectError, UnsupportedError

GENERIC = "fsspec+"
ALLOWED = "PADRE_FSSPEC_SCHEMES"

# Filesystems that hold what is given to them, elsewhere or in this process. All others read this machine's files, run
# what is written in a file, stand on other filesystems or can only be read: whoever needs one says so in `ALLOWED`.
_STORAGE = frozenset([
    "abfs", "abfss", "adl", "arrow_hdfs", "az", "box", "dropbox", "ftp", "gcs", "gdrive", "gs", "hdfs", "lakefs",
    "memory", "oci", "ocilake", "oss", "s3", "s3a", "sftp", "smb", "ssh", "tos", "tosfs", "webdav", "webdavs",
    "webhdfs",
])  # fmt: skip
_SAME = {"gcs": "gs", "s3a": "s3", "abfss": "abfs", "ssh": "sftp", "dav": "webdav"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is.

    Attributes:
        scheme: The filesystem's, without `fsspec+`.
        generic: Whether the URL asked for fsspec's own filesystem.
        host: Bucket, container or server, as it stands in the URL.
        folder: Without slashes at its ends; empty for all.
        chain: The schemes of filesystems that stand upon each other, the outermost first.
    """

    url: str
    scheme: str
    generic: bool
    host: str
    folder: str
    chain: tuple[str, ...] = ()


def parse(url: str) -> Place:
    """What a URL says.

    Raises:
        InvalidObjectError: It is malformed, holds a password, or more than a place.
        UnsupportedError: The scheme is not allowed here.
    """
    generic = url.lower().startswith(GENERIC)
    links = url[len(GENERIC) * generic :].split("::")
    if len(links) > 1:
        return _chain(url, links, generic=generic)
    parts = urlsplit(url)
    scheme = parts.scheme.lower().removeprefix(GENERIC)
    if ":" in parts.netloc.rpartition("@")[0]:
        raise InvalidObjectError(
            f"{scheme}://***@{parts.hostname}: a URL must not hold a password, for it is stored and shown; "
            "give it as an option, or where the provider's own tools look for it"
        )
    if parts.query or parts.fragment:
        raise InvalidObjectError(f"{scheme}://{parts.netloc}{parts.path}: a URL of a store has no ? and no #")
    if generic:
        _check_allowed(scheme)
    folder = parts.path.strip("/")
    if any(segment in ("", ".", "..") for segment in folder.split("/")) and folder:
        raise InvalidObjectError(f"{url}: a folder has a name, which is neither '.' nor '..'")
    if not parts.netloc and not generic:
        raise InvalidObjectError(f"{url}: expected {scheme}://{'bucket' if scheme in ('s3', 'gs') else 'host'}/folder")
    return Place(url.rstrip("/"), _SAME.get(scheme, scheme), generic, parts.netloc, folder)


def _chain(url: str, links: Sequence[str], *, generic: bool) -> Place:
    """A chain of filesystems, each upon the next, which is served if the operator allows each of them."""
    if not generic:
        raise UnsupportedError(f"{links[0]:.80}::…: a chain of filesystems is opened as {GENERIC}{links[0]:.80}::…")
    schemes = [link.partition(":")[0].lower() for link in links]
    for link, scheme in zip(links, schemes, strict=True):
        _check_allowed(scheme)
        if "@" in link:
            raise InvalidObjectError(f"{scheme}://***: a URL in a chain must not hold a user or a password")
    return Place(url.rstrip("/"), schemes[0], generic, "", "", tuple(schemes))


def _check_allowed(scheme: str) -> None:
    allowed = {name.strip().lower() for name in os.environ.get(ALLOWED, "").split(",")} | _STORAGE
    if scheme not in allowed:
        raise UnsupportedError(
            f"{GENERIC}{scheme}:// is not allowed here (not yet): ${ALLOWED} names the further schemes that may be "
            "opened, with commas between them"
        )
