"""A backend behind a network that loses, doubles and delays messages, in a process that may die at any call."""

from dataclasses import dataclass, field

from padre_core.backends.backend import Backend
from padre_core.errors import PadreError, UnavailableError

LOST, ANSWER_LOST, DOUBLED, DELAYED, KILLED, KILLED_AFTER = FATES = (
    "lost", "answer lost", "doubled", "delayed", "killed", "killed after",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """What happens to the n-th call from now on, and what the network still holds back."""

    left: int = -1
    what: str = LOST
    delayed: list = field(default_factory=list)
    sent: list = field(default_factory=list)

    def now(self) -> str | None:
        self.left -= 1
        return self.what if self.left == 0 else None


class Wire(Backend):
    """Hands every call on to another backend, as fate has it."""

    def __init__(self, backend: Backend, fate: Fate, *, network: bool, name: str = "lab") -> None:
        self.backend, self.fate, self.network, self.name = backend, fate, network, name
        self.capabilities = backend.capabilities

    def _call(self, name, *args, **options):
        what = self.fate.now()
        writes = name in ("put", "append_stream", "write_blob")
        if self.network and writes:
            self.fate.sent.append((self.name, name, args, options))
        if what is None or (what in (LOST, ANSWER_LOST, DOUBLED, DELAYED) and not self.network):
            return getattr(self.backend, name)(*args, **options)
        if what == KILLED:
            raise Killed
        if what == DELAYED and writes:
            self.fate.delayed.append((self.name, name, args, options))
        if what not in (LOST, DELAYED):
            result = self._quietly(name, args, options) if what != DOUBLED else self._twice(name, args, options)
            if what == KILLED_AFTER:
                raise Killed
            if what == DOUBLED:
                return result
        raise UnavailableError("the network is away")

    def _twice(self, name, args, options):
        self._quietly(name, args, options)
        return getattr(self.backend, name)(*args, **options)

    def _quietly(self, name, args, options):
        try:
            getattr(self.backend, name)(*args, **options)
        except PadreError:
            return

    def get(self, *args):
        return self._call("get", *args)

    def put(self, *args, **options):
        return self._call("put", *args, **options)

    def put_many(self, writes):
        return [self._one(write) for write in writes]

    def _one(self, write):
        try:
            return self.put(write.record, if_match=write.if_match, **({"notes": write.notes} if write.notes else {}))
        except PadreError as error:
            return error

    def set_envelope(self, *args, **options):
        return self._call("set_envelope", *args, **options)

    def evict(self, *args, **options):
        return self._call("evict", *args, **options)

    def changes(self, *args, **options):
        return self._call("changes", *args, **options)

    def query(self, *args):
        return self._call("query", *args)

    def count(self, *args):
        return self._call("count", *args)

    def append_stream(self, *args):
        return self._call("append_stream", *args)

    def read_stream(self, *args):
        return iter(list(self._call("read_stream", *args)))

    def has_blobs(self, *args):
        return self._call("has_blobs", *args)

    def write_blob(self, *args, **options):
        return self._call("write_blob", *args, **options)

    def open_blob(self, *args):
        return self._call("open_blob", *args)

    def blobs(self):
        return self.backend.blobs()

    def info(self):
        return self.backend.info()

    def close(self):
        return
