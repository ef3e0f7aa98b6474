"""The parameter server as a service."""

from __future__ import annotations

from testbed.nodes.services.parameter_server.load import Mix, TrainingLoad
from testbed.nodes.services.parameter_server.table import Model, Pitfall, asks, only_reads, tells
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="parameter_server",
    title="a parameter server of a training, with models that are stale by so many iterations at the most",
    build=Model,
    mix=Mix,
    load=TrainingLoad,
    call_text=words_text,
    result_text=words_text,
    only_reads=only_reads,
    properties=("staleness",),
    asks=asks,
    tells=tells,
    pitfalls=tuple(Pitfall),
)
