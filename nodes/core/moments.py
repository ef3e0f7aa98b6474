"""Protocol moments: what a fault may wait for, or a lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Moment:
    """A protocol moment at which a fault strikes, once: a transition of a link, or after so many sends or writes.

    index: which fault of the plan this is; negative ones are lies' (testbed.nodes.core.lies). enters / leaves: a
    LinkState's name, or empty. after_sends: strike right after that many sends of ``round`` (0 = not by sends).
    after_writes: when that many records of a life have been written to the disk, before the last is synced (0 = not by
    writes). round and
    peer: -1 means any.
    """

    index: int
    enters: str = ""
    leaves: str = ""
    after_sends: int = 0
    after_writes: int = 0
    round: int = -1
    peer: int = -1

    @staticmethod
    def from_json(data: dict[str, Any]) -> Moment:
        """The inverse of ``dataclasses.asdict``."""
        return Moment(**data)
