"""What a client does with locks: acquires one, writes to what it guards, releases it, and so on."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.core.inputs import draw
from testbed.nodes.services.lock.table import CALLS, RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words


@dataclass(frozen=True, slots=True)
class Mix:
    """What clients ask for."""

    locks: int = field(
        default=1,
        metadata={"about": "How many locks there are; the fewer, the more clients meet.", "ge": 1, "le": 1_000_000},
    )
    lease_ns: int = field(
        default=2_000_000, metadata={"about": "For how long a lock is held.", "ge": 1, "le": 1 << 62, "time": True}
    )
    writes: int = field(default=2, metadata={"about": "How many writes under one token.", "ge": 0, "le": 1_000_000})
    reads: int = field(
        default=20,
        metadata={
            "about": "Of a hundred calls without a lock, how many read instead of acquiring.",
            "ge": 0,
            "le": 100,
        },
    )


class LockLoad:
    """One client's operations. It does not look at its clock before it writes: whatever it would see then, it may be
    held up behind it, so that its lease has run out when what it writes arrives."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.asker, self.mix = asker, mix
        self.held: tuple[str, int] | None = None  # the lock, and its token
        self.left = 0  # so many writes

    def call(self, number: int, now_ns: int) -> bytes:
        """The command of operation ``number``."""
        if self.held is not None and self.left > 0:
            return pack_words("write", *self.held, f"{self.asker.name}.{number}")
        if self.held is not None:
            return pack_words("release", *self.held)
        lock = f"lock{draw(self.asker.seed, 'lock', self.asker.name, number) % self.mix.locks}"
        if draw(self.asker.seed, "read", self.asker.name, number) % 100 < self.mix.reads:
            return pack_words("read", lock)
        return pack_words("acquire", lock, self.asker.name, now_ns, self.mix.lease_ns)

    def returned(self, call: bytes, result: bytes) -> None:
        """A lock that is lost is noticed when something is refused."""
        match read_words(call, CALLS), read_words(result, RESULTS):
            case ["acquire", lock, *_], ["granted", token]:
                self.held, self.left = (lock, token), self.mix.writes
            case ["write", *_], ["written"]:
                self.left -= 1
            case ["write", lock, token, _], ["fenced", _]:
                self._lost(lock, token)
            case ["release", lock, token], _:
                self._lost(lock, token)

    def _lost(self, lock: str, token: int) -> None:
        if self.held == (lock, token):
            self.held = None
