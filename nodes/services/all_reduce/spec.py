"""All-reduce as a service."""

from __future__ import annotations

from testbed.nodes.services.all_reduce.load import AllReduceLoad, Mix
from testbed.nodes.services.all_reduce.table import Pitfall, Reduction, asks, only_reads, tells
from testbed.nodes.services.gate import Pitfall as GatePitfall
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="all_reduce",
    title="all-reduce rounds of a training: each client contributes, all are told the sum",
    build=Reduction,
    mix=Mix,
    load=AllReduceLoad,
    call_text=words_text,
    result_text=words_text,
    only_reads=only_reads,
    properties=("barrier", "sums"),
    asks=asks,
    tells=tells,
    pitfalls=(*Pitfall, *GatePitfall),
)
