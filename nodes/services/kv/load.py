"""What a client asks of the store: a mix of gets, puts and compare-and-sets over a few keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.core.inputs import draw
from testbed.nodes.services.kv.store import Do, cas, get, put, read_command
from testbed.nodes.services.spec import Asker


@dataclass(frozen=True, slots=True)
class Mix:
    """What clients ask for; get, put and cas are parts of their sum."""

    get: int = field(default=1, metadata={"about": "How often a key is read.", "ge": 0, "le": 1_000_000})
    put: int = field(default=1, metadata={"about": "How often a key is written.", "ge": 0, "le": 1_000_000})
    cas: int = field(default=1, metadata={"about": "How often a key is compared and set.", "ge": 0, "le": 1_000_000})
    keys: int = field(
        default=4,
        metadata={"about": "How many keys there are; the fewer, the more clients meet.", "ge": 1, "le": 1_000_000},
    )
    value_bytes: int = field(
        default=0, metadata={"about": "How many bytes values have at least.", "ge": 0, "le": 60_000}
    )

    def __post_init__(self) -> None:
        if self.get + self.put + self.cas == 0:
            raise ValueError("get, put and cas are all 0: nothing is asked for")


class KvLoad:
    """One client's operations. Every value is written by one operation only, so that a reader tells whose it read;
    compare-and-set expects what this client has last seen under the key."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.seed, self.name, self.mix = asker.seed, asker.name, mix
        self.seen: dict[bytes, bytes] = {}

    def call(self, number: int, now_ns: int) -> bytes:  # noqa: ARG002 - whenever it is
        """The command of operation ``number``."""
        mix = self.mix
        key = b"k%d" % (draw(self.seed, "key", self.name, number) % mix.keys)
        value = f"{self.name}.{number}".encode().ljust(mix.value_bytes, b".")
        chosen = draw(self.seed, "operation", self.name, number) % (mix.get + mix.put + mix.cas)
        if chosen < mix.get:
            return get(key)
        if chosen < mix.get + mix.put:
            return put(key, value)
        return cas(key, value, self.seen.get(key))

    def returned(self, call: bytes, outcome: bytes) -> None:
        """Whatever was asked for, the result tells what is there now."""
        said = read_command(call)
        if said is None:
            return
        key = said[1][0]
        if len(outcome) > 1:
            self.seen[key] = outcome[1:]
        elif said[0] is not Do.PUT:
            self.seen.pop(key, None)
