"""A failure detector of class eventually strong: heartbeats, and timeouts that grow with each suspicion in vain."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.core import CancelTimer, Effects, SetTimer

BEAT, SUSPECT = "beat", "suspect"
_MOST_DOUBLINGS = 16


@dataclass(slots=True)
class Detector:
    """Whom this node suspects to have crashed. A peer is suspected when no heartbeat of it has come for ``first_ns``,
    and trusted again with its next word. If that is of the same life, it was suspected in vain, and is given twice as
    long from then on. The detector is at work while ``watches``; whoever is suspected then, stays so, until heard.

    Timers: ``beat``, when the own heartbeat is due (every ``beat_ns``), and ``suspect <peer>``.
    """

    peers: Collection[int]
    beat_ns: int
    first_ns: int
    grows: bool = True
    watches: bool = False
    suspects: set[int] = field(default_factory=set)
    doublings: dict[int, int] = field(default_factory=dict)
    lives: dict[int, int] = field(default_factory=dict)  # each peer's latest that was heard

    def watch(self, now_ns: int) -> Effects:
        """To work."""
        if self.watches:
            return []
        self.watches = True
        trusted = [peer for peer in self.peers if peer not in self.suspects]
        return [self.beat(now_ns), *(self._wait(peer, now_ns) for peer in trusted)]

    def rest(self) -> Effects:
        """There is nobody to watch for now."""
        self.watches = False
        return [CancelTimer(BEAT), *(CancelTimer(f"{SUSPECT} {peer}") for peer in self.peers)]

    def beat(self, now_ns: int) -> SetTimer:
        """The next heartbeat."""
        return SetTimer(BEAT, now_ns + self.beat_ns)

    def hear(self, peer: int, life: int, beats: bool, now_ns: int) -> Effects:
        """``peer`` said something in its so-manieth ``life``; whether it ``beats``: it was its heartbeat."""
        suspected = peer in self.suspects
        if suspected:
            self.suspects.remove(peer)
            if self.grows and life == self.lives.get(peer, life):
                self.doublings[peer] = min(self.doublings.get(peer, 0) + 1, _MOST_DOUBLINGS)
        self.lives[peer] = life
        return [self._wait(peer, now_ns)] if self.watches and (beats or suspected) else []

    def suspect(self, peer: int) -> None:
        """Its time is over."""
        self.suspects.add(peer)

    def _wait(self, peer: int, now_ns: int) -> SetTimer:
        return SetTimer(f"{SUSPECT} {peer}", now_ns + (self.first_ns << self.doublings.get(peer, 0)))
