"""What a client does about an office: campaigns, leads for a while, resigns; observes who leads meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.core.inputs import draw
from testbed.nodes.services.election.table import CALLS, RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words

OFFICE = "office"


@dataclass(frozen=True, slots=True)
class Mix:
    """What clients ask for."""

    lease_ns: int = field(
        default=2_000_000,
        metadata={"about": "For how long a leader leads if it does not resign.", "ge": 1, "le": 1 << 62, "time": True},
    )
    observe: int = field(default=40, metadata={"about": "Of a hundred calls, how many observe.", "ge": 0, "le": 100})
    resign: int = field(
        default=30, metadata={"about": "Of a hundred calls of a leader, how many resign.", "ge": 0, "le": 100}
    )


class ElectionLoad:
    """One client's operations; it campaigns again when its term is over, or was refused."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.asker, self.mix = asker, mix
        self.term: int | None = None  # in which this client leads, as far as it knows

    def call(self, number: int, now_ns: int) -> bytes:
        """The command of operation ``number``."""
        if self.term is not None:
            resigns = draw(self.asker.seed, "resign", self.asker.name, number) % 100 < self.mix.resign
            return pack_words("resign", OFFICE, self.term) if resigns else pack_words("observe", OFFICE)
        if draw(self.asker.seed, "observe", self.asker.name, number) % 100 < self.mix.observe:
            return pack_words("observe", OFFICE)
        return pack_words("campaign", OFFICE, self.asker.name, now_ns, self.mix.lease_ns)

    def returned(self, call: bytes, result: bytes) -> None:
        """Who observes another leader, or a later term, leads no more."""
        match read_words(call, CALLS), read_words(result, RESULTS):
            case ["campaign", *_], ["leads", term]:
                self.term = term
            case ["resign", *_], _:
                self.term = None
            case ["observe", _], [*_, term] if term != self.term:
                self.term = None
