"""Raft as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from nodes.consensus.raft.machine import BATCH, PATIENCE, Change, Plans, RaftMachine, Transfer
from nodes.consensus.raft.messages import falsify, says
from nodes.consensus.raft.pitfalls import Pitfall
from nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from nodes.core import INDEX
from nodes.core.config import NodeConfig, ProtocolConfig

ELECTIONS = 4
"""Elections in a row of which the first to ask is not elected, for another asks too soon after it, that are borne."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """From this time on these are the voters: their places among the members, from 0."""

    at_ns: int = field(default=0, metadata={"time": True})
    members: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlannedTransfer:
    """At this time leadership goes over to this one: its place among the members, from 0."""

    at_ns: int = field(default=0, metadata={"time": True})
    to: int = field(default=0, metadata={"ge": 0})


@dataclass(frozen=True, slots=True)
class Parameters:
    """patience: heartbeats that may stay away before a follower asks to be leader, and up to as many again. batch: most
    entries in one message. voters: so many of the first members vote at first, the others only learn (0: all vote).
    changes, transfers: in the order of their times."""

    patience: int = field(default=PATIENCE, metadata={"ge": 2, "le": 1000})
    batch: int = field(default=BATCH, metadata={"ge": 1, "le": 10_000})
    voters: int = field(default=0, metadata={"ge": 0})
    changes: list[PlannedChange] = field(default_factory=list)
    transfers: list[PlannedTransfer] = field(default_factory=list)


def plans_of(config: NodeConfig) -> Plans:
    """What the parameters plan, with nodes' numbers. Raises ValueError for a place that no member has."""
    own: Parameters = SPEC.parameters_of(config.protocol)
    members = config.members

    def voters(places: Collection[int]) -> tuple[int, ...]:
        if not places or len(set(places)) < len(places) or not all(0 <= place < len(members) for place in places):
            raise ValueError(f"raft: {list(places)} are not places of members; there are 0 to {len(members) - 1}")
        return tuple(sorted(members[place] for place in places))

    changes = (_as(PlannedChange, one) for one in own.changes)
    transfers = (_as(PlannedTransfer, one) for one in own.transfers)
    return Plans(
        voters(range(own.voters or len(members))),
        tuple(Change(one.at_ns, voters(one.members)) for one in changes),
        tuple(Transfer(one.at_ns, voters([one.to])[0]) for one in transfers),
    )


def _as(kind: type[Any], planned: Any) -> Any:
    """Parameters may have crossed a border as JSON."""
    return kind(**planned) if isinstance(planned, dict) else planned


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
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG, INDEX),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    falsify=falsify,
)
