"""The drivers by scheme."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from padre_cloud.drivers.base import Driver, Limits
from padre_cloud.places import Place
from padre_core.errors import PadreError, PluginLoadError, UnsupportedError

_DRIVERS = {
    "s3": ("s3", "S3Driver", "s3fs", "s3"),
    "gs": ("gcs", "GcsDriver", "gcsfs", "gcs"),
    "az": ("azure", "AzureDriver", "adlfs", "azure"),
    "abfs": ("azure", "AzureDriver", "adlfs", "azure"),
    "sftp": ("sftp", "SftpDriver", "paramiko", "sftp"),
    "webdav": ("webdav", "WebdavDriver", "webdav4", "webdav"),
    "webdavs": ("webdav", "WebdavDriver", "webdav4", "webdav"),
}


def open_driver(place: Place, options: Mapping[str, Any], limits: Limits) -> Driver:
    """Makes the driver for a place.

    Raises:
        PluginLoadError: What it needs is not installed; the message says what is missing.
        UnsupportedError: An option is unknown.
    """
    module, name, package, extra = _DRIVERS.get(place.scheme, ("", "", "", ""))
    if not module:
        module, name, package = "folders", "FolderDriver", f"the fsspec driver for {place.scheme}://"
    try:
        found = getattr(importlib.import_module(f"padre_cloud.drivers.{module}"), name)
        driver: Driver = found(place, dict(options), limits)
    except ImportError as error:
        way = f"pip install 'padre-cloud[{extra}]'" if extra else f"install {package}"
        raise PluginLoadError(f"{place.url} needs {package}: {way}") from error
    except PadreError:
        raise
    except (TypeError, ValueError) as error:
        raise UnsupportedError(
            f"{place.url} cannot be opened with the options {', '.join(sorted(options)) or '(none)'} (impossible): "
            f"{type(error).__name__}"
        ) from None
    return driver
