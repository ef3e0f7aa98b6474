"""The barrier as a service."""

from __future__ import annotations

from testbed.nodes.services.barrier.load import BarrierLoad, Mix
from testbed.nodes.services.barrier.table import Barrier, asks, only_reads, tells
from testbed.nodes.services.gate import Pitfall
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="barrier",
    title="a barrier: nobody leaves a round before all clients have entered it",
    build=Barrier,
    mix=Mix,
    load=BarrierLoad,
    call_text=words_text,
    result_text=words_text,
    only_reads=only_reads,
    properties=("barrier",),
    asks=asks,
    tells=tells,
    pitfalls=tuple(Pitfall),
)
