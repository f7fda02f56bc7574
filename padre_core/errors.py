"""Every error that leaves PaDRe, grouped by what the caller does about it.

```
PadreError
├── NotFoundError (KeyError)          ├── AccessDeniedError (PermissionError)
├── ConflictError                     │   ├── AuthenticationError
│   └── AlreadyExistsError            │   └── ReadOnlyError
├── InvalidObjectError (ValueError)   ├── UnsupportedError (NotImplementedError)
├── BackendError (OSError)            └── PluginError
│   ├── UnavailableError                  ├── PluginNotFoundError   ├── PluginConflictError
│   └── CorruptObjectError                ├── PluginLoadError       └── IncompatiblePluginError
```

A message names the object, the backend and the way out; it never holds a secret.
"""

from __future__ import annotations


class PadreError(Exception):
    """Base of all errors that PaDRe raises."""

    def __str__(self) -> str:
        # KeyError would show the repr of the message, OSError its argument tuple.
        return str(self.args[0]) if self.args else ""


class NotFoundError(PadreError, KeyError):
    """The object, stream, blob or name does not exist (or may not be seen)."""


class ConflictError(PadreError):
    """Somebody else changed the object; read it again and decide.

    Attributes:
        next: For a stream, the sequence number that the store expects next.
    """

    def __init__(self, message: str, *, next: int | None = None) -> None:
        super().__init__(message)
        self.next = next


class AlreadyExistsError(ConflictError):
    """The name is taken."""


class InvalidObjectError(PadreError, ValueError):
    """The input is malformed, too large or unknown; nothing was stored."""


class BackendError(PadreError, OSError):
    """The storage failed: disk full, I/O error, refused by the system."""


class UnavailableError(BackendError):
    """The storage cannot be reached now; the same call may succeed later."""


class CorruptObjectError(BackendError):
    """Stored bytes are not what was written; `padre verify` lists what is damaged."""


class AccessDeniedError(PadreError, PermissionError):
    """The caller may not do this."""


class AuthenticationError(AccessDeniedError):
    """The caller is not signed in, or the token is no longer valid."""


class ReadOnlyError(AccessDeniedError):
    """The store was opened for reading only."""


class UnsupportedError(PadreError, NotImplementedError):
    """This backend cannot do it; the message says whether it is impossible or not yet built."""


class PluginError(PadreError):
    """Something is wrong with an installed plugin."""


class PluginNotFoundError(PluginError):
    """No installed plugin serves this scheme or name."""


class PluginLoadError(PluginError):
    """A plugin is installed but fails to import; the cause is chained."""


class PluginConflictError(PluginError):
    """Two plugins claim the same name; choose one with `provider=`."""


class IncompatiblePluginError(PluginError):
    """A plugin was made for another version of the plugin API."""
