"""The history of one node: transactions in the order of their zxids, and where it parts from another one's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Zxid(NamedTuple):
    """Names a transaction: the ``counter``-th (from 1) that the primary of ``epoch`` proposed."""

    epoch: int
    counter: int


NO_ZXID = Zxid(0, 0)
"""Before the first transaction."""


class Txn(NamedTuple):
    """A transaction. data: what was submitted."""

    zxid: Zxid
    data: bytes


class History:
    """Transactions by slot, from 0. start: the first slot that is kept; before: the zxid in the slot before it.

    An epoch has one primary, which proposes in the order of its counter, and nothing before a quorum has its initial
    history. So two histories, one of which ends with a zxid, are the same up to the last transaction of the other one
    that is not above that zxid.
    """

    def __init__(self, start: int = 0, before: Zxid = NO_ZXID, txns: Iterable[Txn] = ()) -> None:
        self.start = start
        self.before = before
        self.txns = list(txns)

    @property
    def end(self) -> int:
        """The slot behind the last."""
        return self.start + len(self.txns)

    @property
    def last(self) -> Zxid:
        """With which it ends."""
        return self.txns[-1].zxid if self.txns else self.before

    def at(self, slot: int) -> Txn | None:
        """What stands there, if it is kept."""
        return self.txns[slot - self.start] if self.start <= slot < self.end else None

    def zxid_before(self, slot: int) -> Zxid | None:
        """In the slot before that one; None where it is not known."""
        if slot == self.start:
            return self.before
        txn = self.at(slot - 1)
        return None if txn is None else txn.zxid

    def since(self, slot: int, most: int | None = None) -> Sequence[Txn]:
        """From a slot that is kept, or the end, on; not more than ``most``."""
        first = slot - self.start
        return self.txns[first : None if most is None else first + most]

    def shared(self, last: Zxid) -> int | None:
        """The slot up to which a history that ends with ``last`` is the same; None: it may end before what is kept."""
        if last < self.before:
            return None
        return self.start + bisect_right(self.txns, last, key=lambda txn: txn.zxid)

    def append(self, txn: Txn) -> None:
        """In the slot behind the last."""
        self.txns.append(txn)

    def take_over(self, slot: int, txns: Sequence[Txn], keeps_tail: bool = False) -> None:
        """From ``slot`` on, which is kept or the end, these in place of what stands there. keeps_tail: what stands
        behind the last of them stays (a bug)."""
        first = slot - self.start
        tail = self.txns[first + len(txns) :] if keeps_tail else []
        self.txns[first:] = [*txns, *tail]

    def forget(self, slot: int) -> None:
        """What stands below ``slot`` is kept no more."""
        before = self.zxid_before(slot)
        assert before is not None, "only what is kept is forgotten"
        self.txns = self.txns[slot - self.start :]
        self.start, self.before = slot, before
