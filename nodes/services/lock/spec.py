"""The lock as a service."""

from __future__ import annotations

from testbed.nodes.services.leases import Pitfall as LeasePitfall
from testbed.nodes.services.lock.load import LockLoad, Mix
from testbed.nodes.services.lock.table import Locks, Pitfall, lock_of, only_reads, tells
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="lock",
    title="a lock with leases and fencing tokens, and what it guards: acquire, release, write, read",
    build=Locks,
    mix=Mix,
    load=LockLoad,
    call_text=words_text,
    result_text=words_text,
    part_of=lock_of,
    only_reads=only_reads,
    properties=("exclusion",),
    tells=tells,
    pitfalls=(*Pitfall, *LeasePitfall),
)
