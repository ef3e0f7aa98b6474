"""What a client asks of registers: a mix of reads, writes and compare-and-sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.core.inputs import draw
from testbed.nodes.services.register.table import CALLS, RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words


@dataclass(frozen=True, slots=True)
class Mix:
    """What clients ask for; read, write and cas are parts of their sum."""

    read: int = field(default=2, metadata={"about": "How often a register is read.", "ge": 0, "le": 1_000_000})
    write: int = field(default=1, metadata={"about": "How often a register is written.", "ge": 0, "le": 1_000_000})
    cas: int = field(
        default=2, metadata={"about": "How often a register is compared and set.", "ge": 0, "le": 1_000_000}
    )
    names: int = field(default=1, metadata={"about": "How many registers there are.", "ge": 1, "le": 1_000_000})

    def __post_init__(self) -> None:
        if self.read + self.write + self.cas == 0:
            raise ValueError("read, write and cas are all 0: nothing is asked for")


class RegisterLoad:
    """One client's operations. Every value is written by one operation only; compare-and-set expects the version that
    this client has last seen."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.asker, self.mix = asker, mix
        self.seen: dict[str, int] = {}

    def call(self, number: int, now_ns: int) -> bytes:  # noqa: ARG002 - whenever it is
        """The command of operation ``number``."""
        mix, value = self.mix, f"{self.asker.name}.{number}"
        name = f"r{draw(self.asker.seed, 'name', self.asker.name, number) % mix.names}"
        chosen = draw(self.asker.seed, "operation", self.asker.name, number) % (mix.read + mix.write + mix.cas)
        if chosen < mix.read:
            return pack_words("read", name)
        if chosen < mix.read + mix.write:
            return pack_words("write", name, value)
        return pack_words("cas", name, self.seen.get(name, 0), value)

    def returned(self, call: bytes, result: bytes) -> None:
        """Whatever was asked for, the result tells what is there now."""
        match read_words(call, CALLS), read_words(result, RESULTS):
            case [_, name, *_], [_, _, version]:
                self.seen[name] = version
