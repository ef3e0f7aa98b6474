"""Raft as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.changes import OUT_OF_ORDER, PlannedChange, out_of_order, planned, wrong_voters
from testbed.nodes.consensus.raft.machine import BATCH, PATIENCE, Plans, RaftMachine, Transfer
from testbed.nodes.consensus.raft.messages import BODIES, falsify, says
from testbed.nodes.consensus.raft.pitfalls import Pitfall
from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.core import INDEX
from testbed.nodes.core.config import NodeConfig, ProtocolConfig

ELECTIONS = 4
"""Elections in a row of which the first to ask is not elected, for another asks too soon after it, that are borne."""


@dataclass(frozen=True, slots=True)
class PlannedTransfer:
    """At some time leadership goes over to a member."""

    at_ns: int = field(default=0, metadata={"about": "When, on the run's clock.", "time": True})
    to: int = field(default=0, metadata={"about": "To whom: its place among the members, from 0.", "ge": 0})


@dataclass(frozen=True, slots=True)
class Parameters:
    """Raft's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Heartbeats that may stay away before a follower asks to be leader, and up to as many again.",
            "ge": 2,
            "le": 1000,
        },
    )
    batch: int = field(default=BATCH, metadata={"about": "Most entries in one message.", "ge": 1, "le": 10_000})
    voters: int = field(
        default=0,
        metadata={
            "about": "So many of the first members vote at first, the others only learn (0: all vote).",
            "ge": 0,
            "le": 1 << 16,
        },
    )
    changes: list[PlannedChange] = field(
        default_factory=list,
        metadata={
            "about": "Changes of who votes, in the order of their times.",
            "example": [{"at_ns": "5ms", "members": [0, 1, 2]}],
        },
    )
    transfers: list[PlannedTransfer] = field(
        default_factory=list,
        metadata={
            "about": "Transfers of leadership, in the order of their times.",
            "example": [{"at_ns": "5ms", "to": 1}],
        },
    )


def plans_of(config: NodeConfig) -> Plans:
    """What the parameters plan, with nodes' numbers."""
    own: Parameters = SPEC.parameters_of(config.protocol)
    members = config.members
    return Plans(
        members[: own.voters or config.n],
        tuple(one.among(members) for one in _changes(own)),
        tuple(Transfer(one.at_ns, members[one.to]) for one in _transfers(own)),
    )


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """Members that there are not, times out of order, voters that bear fewer crashes than are to be borne."""
    own: Parameters = SPEC.parameters_of(protocol)
    transfers = _transfers(own)
    wrong = wrong_voters(own.voters, _changes(own), n, protocol.f, [one.to for one in transfers])
    if not wrong and out_of_order([one.at_ns for one in transfers]):
        return OUT_OF_ORDER
    return wrong


def _changes(own: Parameters) -> list[PlannedChange]:
    return planned(PlannedChange, own.changes)


def _transfers(own: Parameters) -> list[PlannedTransfer]:
    return planned(PlannedTransfer, own.transfers)


def _build(config: NodeConfig, pitfalls: Collection[str]) -> RaftMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return RaftMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience, own.batch, plans_of(config))


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - however many there are
    """Each of f leaders may die on the way, and the last one's first elections may fail; then the log is mended, the
    submission handed over again, put in order, and its commitment told."""
    own: Parameters = SPEC.parameters_of(protocol)
    patience_ns = own.patience * protocol.retry_ns
    lost_ns = RETRIES * protocol.retry_ns
    election_ns = 2 * patience_ns + 4 * longest_ns + lost_ns
    entry_ns = 4 * longest_ns + 2 * lost_ns
    return (protocol.f + ELECTIONS) * election_ns + patience_ns + 2 * entry_ns


SPEC = EngineSpec(
    name="raft",
    title="Raft with PreVote, CheckQuorum, joint consensus and snapshots",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    wrong=_wrong,
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG, INDEX),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
