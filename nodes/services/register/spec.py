"""The register as a service."""

from __future__ import annotations

from testbed.nodes.services.register.load import Mix, RegisterLoad
from testbed.nodes.services.register.table import Pitfall, Registers, name_of, only_reads
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="register",
    title="atomic registers with versions, as configurations are kept: read, write, compare-and-set",
    build=Registers,
    mix=Mix,
    load=RegisterLoad,
    call_text=words_text,
    result_text=words_text,
    part_of=name_of,
    only_reads=only_reads,
    pitfalls=tuple(Pitfall),
)
