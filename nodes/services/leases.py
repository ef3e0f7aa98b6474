"""Who holds what until when, as a state machine can know it: by the stamps in commands.

A state machine has no clock, so time comes in with the commands: each says what its sender's clock shows. The time of a
name is the latest stamp that came with it; it stands still while nobody asks. So a holder may lose what it holds early,
to somebody whose clock is fast, or late; its token, which grows from holder to holder, is what others can rely on.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any, NamedTuple


class Pitfall(StrEnum):
    """Known bugs that can be planted."""

    TOKEN_AGAIN = "token_again"  # who takes over what has run out takes over the token as well


class Lease(NamedTuple):
    """holder: empty when it was given up. until_ns: by the stamps."""

    holder: str
    token: int
    until_ns: int


_NOBODY = Lease("", 0, 0)


class Leases:
    """Names and who holds them."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.times: dict[str, int] = {}
        self.held: dict[str, Lease] = {}

    def take(self, name: str, holder: str, stamp_ns: int, lease_ns: int) -> tuple[bool, Lease]:
        """Whether ``holder`` gets it now, and the lease that there is then."""
        now_ns = self.times[name] = max(stamp_ns, self.times.get(name, stamp_ns))
        old = self.of(name)
        if old.holder and now_ns < old.until_ns:
            return False, old
        again = Pitfall.TOKEN_AGAIN in self.pitfalls and old.holder
        new = Lease(holder, old.token + (not again), now_ns + lease_ns)
        self.held[name] = new
        return True, new

    def give_up(self, name: str, token: int) -> bool:
        """Whether that was the token under which it was held."""
        old = self.of(name)
        if not old.holder or old.token != token:
            return False
        self.held[name] = old._replace(holder="")
        return True

    def of(self, name: str) -> Lease:
        """The latest one: it may have run out, of which nobody who asks for the name has told."""
        return self.held.get(name, _NOBODY)

    def packed(self) -> list[Any]:
        """All of it, as plain data."""
        return [sorted(self.times.items()), sorted(self.held.items())]

    def unpacked(self, packed: list[Any]) -> None:
        """Take that on."""
        times, held = packed
        self.times = dict(times)
        self.held = {name: Lease(*lease) for name, lease in held}
