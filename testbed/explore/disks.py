"""A node's disk as a value: what the records written so far amount to (testbed.nodes.core.disk, without the bytes)."""

from __future__ import annotations

from typing import NamedTuple

from testbed.nodes.core.disk import Record, State, whole


class Disk(NamedTuple):
    """held: what is synced, by key. tail: records since, and those of a batch that is not complete."""

    held: tuple[tuple[str, bytes], ...] = ()
    tail: tuple[Record, ...] = ()

    def written(self, record: Record) -> Disk:
        """After another record."""
        return Disk(self.held, (*self.tail, record))

    def synced(self) -> Disk:
        """What is whole is held for good."""
        count = whole(self.tail)
        held = dict(self.held)
        for key, data, _ in self.tail[:count]:
            if data is None:
                held.pop(key, None)
            else:
                held[key] = data
        return Disk(tuple(sorted(held.items())), self.tail[count:])

    def found(self, state: State) -> Disk:
        """What the next life finds, and goes on behind."""
        if state is State.LOST:
            return Disk()
        if state is State.UNSYNCED_LOST:
            return Disk(self.held)
        tail = self.tail[:-1] if state is State.TORN else self.tail
        return Disk(self.held, tail).synced()._replace(tail=())
