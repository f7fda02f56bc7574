"""Logs as JSON: one escaped line an event."""

from __future__ import annotations

import logging
from typing import Any

from padre_core.objects import canonical


class JsonFormatter(logging.Formatter):
    """An event as one line of JSON, in which nothing can begin another line."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "at": canonical.now(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        return canonical.to_json(event).decode()


def configuration(*, access: bool) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes: warnings, and if wanted each request, on standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "padre_server.logs.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "padre_server.app.access": {"level": "INFO" if access else "WARNING"},
            "uvicorn.error": {"level": "WARNING"},
        },
    }
