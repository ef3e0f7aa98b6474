"""The election as a service."""

from __future__ import annotations

from testbed.nodes.services.election.load import ElectionLoad, Mix
from testbed.nodes.services.election.table import Offices, office_of, only_reads, tells
from testbed.nodes.services.leases import Pitfall
from testbed.nodes.services.spec import ServiceSpec
from testbed.nodes.services.words import words_text

SPEC = ServiceSpec(
    name="election",
    title="election of a leader for a term: campaign, resign, observe",
    build=Offices,
    mix=Mix,
    load=ElectionLoad,
    call_text=words_text,
    result_text=words_text,
    part_of=office_of,
    only_reads=only_reads,
    properties=("leadership",),
    tells=tells,
    pitfalls=tuple(Pitfall),
)
