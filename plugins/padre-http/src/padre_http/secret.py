"""Text that must not be shown."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Secret:
    """A token or a password: shows as `***` wherever somebody prints it, and cannot be pickled or copied into JSON."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The text, for where it is used and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret stays in the process that has it")
