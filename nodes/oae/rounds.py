"""Rounds of bilateral swaps with all neighbours, on synchronised clocks, and a consensus algorithm on top of them.

Round r occupies [start + r * period, start + r * period + W]. At its start a node offers one register to every
neighbour; at the horizon it hands what its committed swaps brought to the algorithm. A round's result is fixed at
the horizon: what a holding link commits later still counts for the swap, not for the round.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from testbed.nodes.core import Decide, Effects, Life, Note, Port, Propose, RoundStart, SetTimer, values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import Written, pack, unpack
from testbed.nodes.core.layout import Bodies, Body, numbers
from testbed.nodes.frames import Kind, Message
from testbed.nodes.oae.algorithm import AlgorithmFactory, RoundAlgorithm
from testbed.nodes.oae.link import Link

_REGISTER: Final = struct.Struct("!QQ")
BODIES: Final[Bodies] = {0: Body("register", numbers(8, "node", "round"))}
_ROUNDS, _ALGORITHM, _LINK = "rounds", "algorithm", "link"  # what the keys on the disk begin with
_DATA: Final = Kind.DATA
IN_INSTANCE: Final = 1  # flag: the register is a message of the current consensus instance


def says(message: Message) -> str:
    """The register of a plain swap in words."""
    node, round_ = _REGISTER.unpack(message.body)
    return f"node {node}, round {round_}"


def falsify(config: NodeConfig, message: Message, which: int) -> Message | None:  # noqa: ARG001 - as specs have it
    """The register of a plain swap, of a round to come."""
    if message.kind is not Kind.SWAP:
        return None
    node, round_ = _REGISTER.unpack(message.body)
    return message._replace(body=_REGISTER.pack(node, round_ + which))


def first_round(config: NodeConfig, now_ns: int) -> int:
    """The next round that begins; after a fresh restart strictly later than now, since the last life may have begun the
    round of this very instant and told its peers something that this one has forgotten."""
    elapsed_ns, period_ns = now_ns - config.start_ns, config.protocol.period_ns
    if config.epoch > 1:
        return max(0, elapsed_ns // period_ns + 1)
    return max(0, -(-elapsed_ns // period_ns))


class RoundMachine:
    """The machine of one node (testbed.nodes.core.Consensus): a Link per member that is a peer, and instances of an
    algorithm one after another.

    ``make`` builds an instance of the algorithm; None means plain swaps without consensus. Instance i occupies the
    rounds [i * instance_rounds, (i + 1) * instance_rounds). What is proposed in it before they begin enters it then; a
    node that nothing has been proposed to by then swaps, but stays out of the instance, and so does one that starts
    anew in the middle of it; one with kept state goes on with what it has.

    Where the disk is kept, what an event changes is persisted before anything that comes of it is done: the rounds (one
    record), the algorithm's state at their ends, and per link what is known of the peer and of each swap that may still
    be asked about. A swap that is forgotten leaves the disk.
    """

    def __init__(self, config: NodeConfig, make: AlgorithmFactory | None = None) -> None:
        protocol = config.protocol
        self.config = config
        self.make = make
        self.links = [
            Link(
                config.node,
                peer.node,
                port,
                protocol.depth,
                protocol.handshake,
                protocol.horizon,
                config.epoch,
                config.keeps,
            )
            for port, peer in enumerate(config.peers)
            if peer.node in config.members  # they come first
        ]
        self.algorithm: RoundAlgorithm | None = None
        self.offered = b""
        self.next_round: int | None = None
        self.open_round = -1  # the round whose horizon is still to come
        self.retrying = False  # whether the timer ``retry`` is set
        self.coming: dict[int, bytes] = {}  # instance -> what will enter it
        # The latest ones, to be told again after a restart with kept state: the crash may have swallowed them.
        self.proposal: Propose | None = None
        self.decision: Decide | None = None
        self.written = Written(config.keeps)

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """First life or fresh restart: join at the next round's start. Kept state: catch up with what was missed."""
        if disk:
            self._recall(disk)
            return self._resume(now_ns)
        self.next_round = first_round(self.config, now_ns)
        for link in self.links:
            link.round = self.next_round - 1  # what came before is an earlier life's, if anybody's
        return self._keep_all(self._await_round())

    def _resume(self, now_ns: int) -> Effects:
        effects: Effects = []
        for link in self.links:
            effects += link.resume()
        effects += [told for told in (self.proposal, self.decision) if told is not None]
        if self.open_round >= 0:
            effects.append(SetTimer("horizon", self._deadline_ns(self.open_round)))
        return effects + self._await_round() + self._await_retry(now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A word of the neighbour behind ``port``."""
        kind, round_, _, _, _ = message
        if kind is _DATA or port >= len(self.links):
            return [Note("stray", round_, "no swap protocol", message)]
        effects = self.links[port].on_message(message, life, now_ns)
        if self.written.keeps:
            wanted: dict[str, bytes | None] = {}
            self._want_link(wanted, port)
            return [*self.written.news(wanted), *effects]
        return effects

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``round``: the next round begins. ``horizon``: the open round ends. ``retry``: reconcile repeats."""
        if name == "round":
            return self._keep_all(self._begin_round(now_ns))
        if name == "horizon":
            return self._keep_all(self._end_round(now_ns))
        self.retrying = False
        effects: Effects = []
        for link in self.links:
            effects += link.retry()
        return self._keep_all(effects + self._await_retry(now_ns))

    def awaits(self, now_ns: int) -> int | None:
        """The instance whose first round is due, unless something has been proposed in it."""
        round_ = self.next_round
        if self.make is None or round_ is None or round_ >= self.config.protocol.rounds:
            return None
        instance, step = divmod(round_, self.config.protocol.instance_rounds)
        return None if step or now_ns < self._start_ns(round_) or instance in self.coming else instance

    def propose(self, instance: int, value: bytes, now_ns: int) -> Effects:  # noqa: ARG002 - rounds tell the time
        """Let ``value``, a number, enter ``instance`` when its first round begins."""
        values.to_int(value)
        protocol = self.config.protocol
        first = 0 if self.next_round is None else self.next_round
        if self.make is None or not first <= instance * protocol.instance_rounds < protocol.rounds:
            return [Note("late", instance, "its first round has begun, or it has none")]
        if instance in self.coming:
            return [Note("late", instance, "proposed in already, or stayed out of")]
        self.coming[instance] = value
        return []

    # -- what a later life must know -------------------------------------------------------------------------------

    def _keep_all(self, effects: Effects) -> Effects:
        """The effects, behind all that must be on the disk before them."""
        if not self.written.keeps:
            return effects
        proposal = self.proposal
        proposed = None if proposal is None else (proposal.instance, proposal.value.hex())
        decided = self.decision
        told = None if decided is None else (decided.instance, decided.value.hex(), decided.round)
        wanted: dict[str, bytes | None] = {
            _ROUNDS: pack(self.next_round, self.open_round, self.offered.hex(), proposed, told)
        }
        if self.make is not None:
            wanted[_ALGORITHM] = None if self.algorithm is None else self.algorithm.snapshot()
        for port in range(len(self.links)):
            self._want_link(wanted, port)
        return [*self.written.news(wanted), *effects]

    def _want_link(self, wanted: dict[str, bytes | None], port: Port) -> None:
        link = self.links[port]
        wanted[f"{_LINK} {port}"] = link.known()
        for round_, known in link.news().items():
            wanted[f"{_LINK} {port} {round_}"] = known

    def _recall(self, disk: Mapping[str, bytes]) -> None:
        self.written.read(disk)
        self.next_round, self.open_round, offered, proposed, told = unpack(disk[_ROUNDS])
        self.offered = bytes.fromhex(offered)
        if proposed is not None:
            instance, value = proposed
            self.proposal = Propose(instance, bytes.fromhex(value))
            if _ALGORITHM in disk:
                self.algorithm = self._made(self.proposal.value)
                self.algorithm.restore(disk[_ALGORITHM])
        if told is not None:
            decided, value, round_ = told
            self.decision = Decide(decided, bytes.fromhex(value), round_)
        ends: list[dict[int, bytes]] = [{} for _ in self.links]
        for key, data in disk.items():
            kind, *numbers = key.split()
            if kind == _LINK and len(numbers) == 2:
                port, round_ = map(int, numbers)
                ends[port][round_] = data
        for port, link in enumerate(self.links):
            link.recall(disk[f"{_LINK} {port}"], ends[port], self.next_round - 1)

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _start_ns(self, round_: int) -> int:
        return self.config.start_ns + round_ * self.config.protocol.period_ns

    def _deadline_ns(self, round_: int) -> int:
        return self._start_ns(round_) + self.config.protocol.window_ns

    def _begin_round(self, now_ns: int) -> Effects:
        round_ = self.next_round
        if round_ is None or now_ns < self._start_ns(round_):
            return []
        effects = self._end_round(now_ns)  # with period = W both timers are due at once: the old round ends first
        self.next_round, self.open_round = round_ + 1, round_
        proposed = self._enter_instance(round_)
        self.offered = self._offer(round_)
        effects += [RoundStart(round_, self.offered), *proposed]
        deadline_ns = self._deadline_ns(round_)
        flags = IN_INSTANCE if self.algorithm is not None else 0
        for link in self.links:
            effects += link.start(round_, self.offered, deadline_ns, now_ns, flags)
        effects.append(SetTimer("horizon", deadline_ns))
        return effects + self._await_round()

    def _end_round(self, now_ns: int) -> Effects:
        round_ = self.open_round
        if round_ < 0 or now_ns < self._deadline_ns(round_):
            return []
        self.open_round = -1
        effects: Effects = []
        for link in self.links:
            effects += link.expire(now_ns)
        effects += self._await_retry(now_ns)
        return effects + self._deliver(round_)

    def _await_round(self) -> Effects:
        round_ = self.next_round
        if round_ is None or round_ >= self.config.protocol.rounds:
            return []
        return [SetTimer("round", self._start_ns(round_))]

    def _await_retry(self, now_ns: int) -> Effects:
        if self.retrying or not any(link.in_doubt() for link in self.links):
            return []  # to set it anew in every round would put it off for as long as there are rounds
        self.retrying = True
        return [SetTimer("retry", now_ns + self.config.protocol.retry_ns)]

    # -- consensus ---------------------------------------------------------------------------------------------------

    def _enter_instance(self, round_: int) -> Effects:
        """What is proposed in the instance that begins with ``round_`` enters it, if one does and anything is."""
        instance, step = divmod(round_, self.config.protocol.instance_rounds)
        if self.make is None or step != 0:
            return []
        value = self.coming.pop(instance, None)
        if value is None:
            self.algorithm = None
            return []
        self.algorithm, self.proposal = self._made(value), Propose(instance, value)
        return [self.proposal]

    def _made(self, value: bytes) -> RoundAlgorithm:
        assert self.make is not None
        me, members, f = self.config.node, self.config.members, self.config.protocol.f
        return self.make(me, members, f, values.to_int(value))

    def _offer(self, round_: int) -> bytes:
        if self.algorithm is None:
            return _REGISTER.pack(self.config.node, round_)
        return self.algorithm.message(round_ % self.config.protocol.instance_rounds)

    def _deliver(self, round_: int) -> Effects:
        if self.algorithm is None:
            return []
        heard = {self.config.node: self.offered}
        for link in self.links:
            end = link.committed()
            if end is not None and end.peer_flags & IN_INSTANCE:
                heard[link.peer] = end.peer_value
        instance, step = divmod(round_, self.config.protocol.instance_rounds)
        value = self.algorithm.deliver(step, heard)
        if value is None:
            return []
        self.decision = Decide(instance, values.of_int(value), round_)
        return [self.decision]
