"""One instance of Ben-Or's algorithm for crashes at one node (Ben-Or 1983, protocol A; Aguilera, Toueg 2012).

Messages in, messages out. A node's own messages are among those it must receive: who runs the instance decides
when. The machine hands them back at once, so that the own message is always counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from testbed.nodes.consensus.ben_or.messages import NO_VALUE, Message, Phase
from testbed.nodes.core.inputs import draw


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    MAJORITY_OF_HEARD = "majority_of_heard"  # proposes what most of the reports heard say, not what most nodes say
    ONE_PROPOSAL = "one_proposal"  # decides on a single proposal instead of more than t
    COMMON_COIN = "common_coin"  # all nodes toss one coin: who has seen it fall has the others go against it, for good
    SILENT_ONCE_DECIDED = "silent_once_decided"  # decides without a word for the round after: the others may wait


@dataclass(slots=True)
class BenOr:
    """n nodes, of which t < n/2 may crash; value is 0 or 1; coin_seed names this node's coins in this instance."""

    n: int
    t: int
    value: int
    coin_seed: int
    pitfalls: Collection[Pitfall] = ()
    round: int = 1
    phase: Phase = Phase.REPORT
    heard: dict[tuple[int, Phase], dict[int, int]] = field(default_factory=dict)
    said: dict[tuple[int, Phase], Message] = field(default_factory=dict)
    decision: int | None = None

    @property
    def done(self) -> bool:
        """Decided, and everything said that the others need to decide as well."""
        return self.decision is not None

    @property
    def waiting_for(self) -> tuple[int, Phase]:
        """The round and phase whose messages are awaited."""
        return self.round, self.phase

    def start(self) -> list[Message]:
        """What to send at first."""
        return [self._say(self.round, Phase.REPORT, self.value)]

    def has_heard(self, src: int) -> bool:
        """Whether ``src``'s message of the current phase is here."""
        return src in self.heard.get(self.waiting_for, ())

    def receive(self, src: int, message: Message) -> list[Message]:
        """What to send in answer. Messages of phases to come are kept, those of past phases and repetitions dropped."""
        if self.done or (message.round, message.phase) < self.waiting_for:
            return []
        self.heard.setdefault((message.round, message.phase), {}).setdefault(src, message.value)
        if len(self.heard.get(self.waiting_for, ())) < self.n - self.t:
            return []
        values = Counter(self.heard.pop(self.waiting_for).values())
        # One phase at a time: the own message of the next one comes through here before that one is counted.
        return self._propose(values) if self.phase is Phase.REPORT else self._conclude(values)

    def _propose(self, reports: Counter[int]) -> list[Message]:
        [(value, count)] = reports.most_common(1)
        of = reports.total() if Pitfall.MAJORITY_OF_HEARD in self.pitfalls else self.n
        self.phase = Phase.PROPOSAL
        return [self._say(self.round, Phase.PROPOSAL, value if 2 * count > of else NO_VALUE)]

    def _conclude(self, proposals: Counter[int]) -> list[Message]:
        del proposals[NO_VALUE]
        for value, count in proposals.most_common(1):  # all proposals of a round are for one value
            self.value = value
            if count > self.t or Pitfall.ONE_PROPOSAL in self.pitfalls:
                return self._decide()
        if not proposals:
            self.value = draw(self.coin_seed, "coin", self.round) & 1
        self.round, self.phase = self.round + 1, Phase.REPORT
        return [self._say(self.round, Phase.REPORT, self.value)]

    def _decide(self) -> list[Message]:
        """Everybody enters the next round with this value: both messages of that round are known already."""
        self.decision = self.value
        self.heard.clear()
        if Pitfall.SILENT_ONCE_DECIDED in self.pitfalls:
            return []
        return [self._say(self.round + 1, phase, self.value) for phase in Phase]

    def _say(self, round_: int, phase: Phase, value: int) -> Message:
        message = self.said[round_, phase] = Message(round_, phase, value)
        return message
