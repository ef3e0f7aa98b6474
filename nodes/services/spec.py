"""What a service is, and what it says about itself: each folder of testbed.nodes.services declares one ServiceSpec in
spec.py.

Nothing outside its folder names a service. Whoever needs to know something about one asks its spec through
testbed.nodes.registry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from testbed.nodes.consensus.spec import LOG
from testbed.nodes.services.facts import Facts


class StateMachine(Protocol):
    """A deterministic service: equal states answer equal commands alike, on every replica."""

    def apply(self, command: bytes) -> bytes:
        """Carry the command out; its result. Never raises: what is no command has a result as well."""

    def snapshot(self) -> bytes:
        """The state; equal states give equal bytes."""

    def restore(self, snapshot: bytes) -> None:
        """Take on that state, in place of what was."""


class Build(Protocol):
    """Makes the initial state, with known bugs planted in it."""

    def __call__(self, pitfalls: Collection[str] = ()) -> StateMachine: ...


class Asker(NamedTuple):
    """Whom a load is for: one life of a client. seed: the client's. name: no other client has it, and no other life.
    place: which of the clients it is, one of ``of``, from 0."""

    seed: int
    name: str
    place: int = 0
    of: int = 1


class Load(Protocol):
    """What one client asks of the service."""

    def call(self, number: int, now_ns: int) -> bytes:
        """The command of its operation ``number`` (0, 1, ..), asked for when its clock shows ``now_ns``."""

    def returned(self, call: bytes, result: bytes) -> None:
        """An operation is over."""


def never(command: bytes) -> bool:  # noqa: ARG001 - whatever it is
    """For services all of whose commands may change something."""
    return False


def nothing(*said: bytes) -> Facts:  # noqa: ARG001 - whatever it is
    """For services without properties of their own."""
    return ()


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service. name: its folder's, and what a scenario calls it. title: what it is, in a line.

    build: its initial state. load: a client's load, with its mix. mix: a frozen dataclass, what clients ask for
    (``clients.mix`` of a scenario), each field with a default. call_text and result_text: a command, and the result of
    one, in words. part_of: of a command, the part of the state that alone it touches or tells of, so that histories can
    be judged part by part; None: more than one. only_reads: of a command, whether it leaves every state as it is, so
    that it needs no entry of the log (LogParameters.reads).

    properties: what it promises besides (testbed.verdicts.coordination), judged by what calls say by themselves (asks)
    and with their results (tells). pitfalls: known bugs that can be planted, each of which the tests must find.
    """

    name: str
    title: str
    build: Build
    mix: type
    load: Callable[[Asker, Any], Load]
    call_text: Callable[[bytes], str]
    result_text: Callable[[bytes], str]
    part_of: Callable[[bytes], Hashable | None] | None = None
    only_reads: Callable[[bytes], bool] = never
    properties: tuple[str, ...] = ()
    asks: Callable[[bytes], Facts] = nothing
    tells: Callable[[bytes, bytes], Facts] = nothing
    pitfalls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogParameters:
    """How members keep the log of a service. batch: most operations in one entry. snapshot_every: after so many entries
    the state is written down in place of them. reads: how commands that only read are carried out: as entries like all
    others (``log``); by the state here, when the engine says that nothing newer was over when they were asked for
    (``index``, ``lease``: testbed.nodes.core.Log.read); or by the state here as it is, provided that the client has
    seen none that is newer (``local``)."""

    batch: int = field(default=64, metadata={"ge": 1, "le": 10_000})
    snapshot_every: int = field(default=64, metadata={"ge": 1, "le": 1_000_000})
    reads: str = LOG
