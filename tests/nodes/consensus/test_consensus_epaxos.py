"""EPaxos*: what is particular to it. What every log owes is tested over all engines (conformance)."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import pytest
from builders import engine, node_config
from consensus_harness import FIRST, port_to
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Network

from testbed.explore.model import all_pairs
from testbed.nodes.consensus.epaxos import EPaxosMachine, Pitfall
from testbed.nodes.consensus.epaxos.commands import Command, Phase, read_command
from testbed.nodes.consensus.epaxos.graph import Blocked, components
from testbed.nodes.consensus.epaxos.machine import most_e
from testbed.nodes.consensus.epaxos.messages import Message, Step, read
from testbed.nodes.consensus.epaxos.needs import Name, covers, union
from testbed.nodes.consensus.logs import NOOP, Submission
from testbed.nodes.core import Decide, Effects, Send
from testbed.nodes.core.commuting import Commuting, Places, Touch
from testbed.nodes.core.config import START_NS, NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.frames import Kind
from testbed.nodes.frames import Message as FrameMessage

RETRY_NS = 1_000
DELAY_NS = 100
TICK_NS = 4 * RETRY_NS


def touched(value: bytes) -> Touch:
    """Values are words: the first letter is the part that they touch, and a capital only reads."""
    return Touch(value.lower()[0], value[:1].isupper())


RULES = Commuting(1000, touched)


class Cluster:
    """Nodes n0, n1 .. which the test submits to. told: node -> what it was told in all its lives, and when."""

    def __init__(self, n: int = 3, pitfalls: Collection[Pitfall] = (), e: int = -1) -> None:
        def build(config: NodeConfig) -> EPaxosMachine:
            machine = EPaxosMachine(config, pitfalls, e=e)
            machine.order_by(RULES)
            return machine

        self.net = Network(all_pairs(n, ProtocolConfig(consensus="epaxos", retry_ns=RETRY_NS)), build=build)
        self.net.record = self._record  # type: ignore[method-assign]
        self.told: dict[str, list[tuple[int, bytes]]] = {name: [] for name in self.net.nodes}
        for name in self.net.nodes:
            self.net.start(name)
        self.play(2 * RETRY_NS + RETRY_NS // 2)  # between two beats

    def _record(self, node: Any, effect: object) -> None:
        if isinstance(effect, Decide):
            self.told[node.config.name].append((self.net.now_ns, effect.value))

    def play(self, for_ns: int) -> None:
        self.net.play(max(self.net.now_ns, START_NS) + for_ns, DELAY_NS)

    def submit(self, name: str, value: bytes) -> None:
        node = self.net.nodes[name]
        node._do(engine(node.machine).submit(value, self.net.now_ns))

    def delays(self, since_ns: int) -> dict[bytes, int]:
        """After how many message delays each value was told first, by whoever it was submitted to."""
        first: dict[bytes, int] = {}
        for told in self.told.values():
            for at, value in told:
                first[value] = min(first.get(value, at), at)
        return {value: (at - since_ns) // DELAY_NS for value, at in first.items() if at >= since_ns}

    def flow(self, *ways: str) -> None:
        """All that is under way there arrives, and the answers to it that go such ways; time stands."""
        names, open_ = self.net.names, {tuple(way.split(">")) for way in ways}
        while due := [way for way in self.net.wire if (names[way.frame.key.src], names[way.frame.dst]) in open_]:
            self.net.deliver(due[0])

    def recover(self, name: str, command: Name) -> None:
        """The node loses patience with it now."""
        node = self.net.nodes[name]
        machine = engine(node.machine)
        node._do(machine.keep(machine._take_over(command)))

    def values(self, name: str) -> list[bytes]:
        return [value for _, value in self.told[name]]

    def machines(self) -> list[EPaxosMachine]:
        """Of those that are up."""
        return [engine(node.machine) for node in self.net.nodes.values() if node.machine is not None]


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_two_delays_at_whoever_it_is_submitted_to_three_at_the_others_and_three_frames_each(n: int) -> None:
    cluster = Cluster(n)
    sent = sum(node._driver._sent for node in cluster.net.nodes.values())
    begun = cluster.net.now_ns
    cluster.submit(f"n{n - 1}", b"x")
    cluster.play(RETRY_NS // 2 - 1)
    for node in range(n):
        delays = 0 if n == 1 else 2 if node == n - 1 else 3
        assert [at - begun for at, _ in cluster.told[f"n{node}"]] == [delays * DELAY_NS]
    assert sum(node._driver._sent for node in cluster.net.nodes.values()) - sent == 3 * (n - 1), (
        "pre-accept, pre-accepted, commit"
    )


@pytest.mark.parametrize("n", [3, 5])
def test_four_delays_for_what_conflicts_with_something_under_way_and_two_for_what_commutes(n: int) -> None:
    """In a fabric of equal delays, with everything submitted at one instant: of two that conflict the one that is heard
    of first everywhere is through at once."""
    cluster = Cluster(n, e=1)
    begun = cluster.net.now_ns
    for node, value in enumerate((b"a", b"a2", b"b")):
        cluster.submit(f"n{node}", value)
    cluster.play(RETRY_NS // 2)
    assert cluster.delays(begun) == {b"b": 2, b"a": 2, b"a2": 4}
    assert all([v for v in cluster.values(name) if v != b"b"] == [b"a", b"a2"] for name in cluster.told)


def test_what_only_reads_conflicts_with_what_writes_alone() -> None:
    cluster = Cluster(5, e=1)
    begun = cluster.net.now_ns
    for node, value in enumerate((b"A", b"A2", b"A3", b"B")):
        cluster.submit(f"n{node}", value)
    cluster.submit("n4", b"b")
    cluster.play(RETRY_NS // 2 - 1)
    delays = cluster.delays(begun)
    assert [delays[value] for value in (b"A", b"A2", b"A3")] == [2, 2, 2]
    assert delays[b"B"] + delays[b"b"] > 4


@pytest.mark.parametrize(("e", "fast"), [(0, [2, 0, 0]), (1, [2, 2, 0]), (2, [2, 2, 2])])
def test_the_fast_path_is_open_after_e_crashes_and_no_more(e: int, fast: list[int]) -> None:
    """Of five members f = 2 may die; the rest is through all the same, when it has waited for those that are dead."""
    cluster = Cluster(5, e=e)
    for crashes, delays in enumerate(fast):
        begun = cluster.net.now_ns
        cluster.submit("n0", b"a%d" % crashes)
        cluster.play(4 * RETRY_NS)
        taken = cluster.delays(begun)[b"a%d" % crashes]
        assert taken == delays if delays else RETRY_NS // 2 // DELAY_NS < taken <= 2 * RETRY_NS // DELAY_NS + 2
        cluster.net.crash(f"n{4 - crashes}")


def test_the_bound_on_e() -> None:
    assert {n: most_e(n) for n in range(1, 10)} == {1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2, 8: 3, 9: 3}


# -- what it bears -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5])
def test_f_crashes_are_borne_and_one_more_is_a_stall(n: int) -> None:
    cluster = Cluster(n)
    for crash in range((n - 1) // 2):
        cluster.net.crash(f"n{n - 1 - crash}")
    cluster.submit("n0", b"a")
    cluster.submit("n1", b"a2")
    cluster.play(4 * TICK_NS)
    assert [cluster.values(name) for name in ("n0", "n1")] in ([[b"a", b"a2"]] * 2, [[b"a2", b"a"]] * 2)
    cluster.net.crash("n1")
    cluster.submit("n0", b"a3")
    cluster.play(50 * TICK_NS)
    assert len(cluster.values("n0")) == 2, "less than a quorum settles nothing"
    cluster.net.start("n1", State.KEPT)
    cluster.play(10 * TICK_NS)
    assert cluster.values("n0")[-1] == b"a3"


def test_a_command_whose_coordinator_dies_is_settled_by_others_and_what_depends_on_it_goes_on() -> None:
    cluster = Cluster()
    cluster.net.cuts = {("n0", "n2")}
    cluster.submit("n0", b"a")
    cluster.play(DELAY_NS)
    cluster.net.crash("n0")
    cluster.submit("n1", b"a2")
    cluster.play(20 * TICK_NS)
    assert cluster.values("n1") == cluster.values("n2")
    assert set(cluster.values("n1")) == {b"a", b"a2"}


def test_a_node_without_its_disk_learns_votes_for_nothing_and_has_others_bring_in_what_it_is_given() -> None:
    cluster = Cluster()
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    cluster.net.crash("n1")
    cluster.net.start("n1", State.LOST)
    cluster.submit("n1", b"a2")
    cluster.play(10 * TICK_NS)
    assert cluster.values("n1") == [b"a", b"a", b"a2"], "both lives"
    cluster.net.crash("n2")
    cluster.submit("n0", b"a3")
    cluster.play(50 * TICK_NS)
    assert cluster.values("n0") == [b"a", b"a2"], "one node of three that may vote is no quorum"


def test_a_read_that_is_brought_in_twice_stands_in_one_place() -> None:
    """n1, which only learns, hands it to n2 and then to n0; a write comes in between."""
    cluster = Cluster()
    cluster.net.crash("n1")
    cluster.net.start("n1", State.LOST)
    cluster.play(TICK_NS)
    cluster.net.cuts = {("n0", "n2"), ("n2", "n0")}
    cluster.submit("n1", b"A")
    cluster.play(TICK_NS + RETRY_NS)  # handed to one, and to the other
    begun = {name.rank for machine in cluster.machines() for name in machine.own}
    assert begun == {0, 2}
    cluster.net.cuts = set()
    cluster.submit("n0", b"a")
    cluster.play(20 * TICK_NS)
    places = {name: cluster.values(name).index(b"A") < cluster.values(name).index(b"a") for name in cluster.told}
    assert len(set(places.values())) == 1, places
    assert all(cluster.values(name).count(b"A") == 1 for name in cluster.told)
    read = [name for name in cluster.machines()[0].commands if name.chain % 2]
    assert read == [], "what may come twice keeps an order with all of its class"


@pytest.mark.parametrize("state", [State.KEPT, State.TORN, State.UNSYNCED_LOST])
def test_a_node_with_its_disk_goes_on_and_is_told_everything_again(state: State) -> None:
    cluster = Cluster()
    for number in range(3):
        cluster.submit(f"n{number}", b"a%d" % number)
    cluster.play(TICK_NS)
    cluster.net.crash("n1")
    cluster.submit("n0", b"b")
    cluster.play(TICK_NS)
    cluster.net.start("n1", state)
    cluster.submit("n1", b"c")
    cluster.play(10 * TICK_NS)
    first, again = cluster.values("n1")[:3], cluster.values("n1")[3:]
    assert again[:3] == first, "what conflicts stands in the order in which it stood"
    assert set(again[3:]) == {b"b", b"c"}
    assert set(cluster.values("n2")) == set(again)


def test_what_others_give_up_for_dead_is_brought_in_again_and_told_once() -> None:
    assert after_being_given_up(()) == [b"a"]


def after_being_given_up(pitfalls: Collection[Pitfall]) -> list[bytes]:
    """What n1 is told of n0's command, which has come to nobody when n2 recovers it with n0, who is alive: so it can't
    have been committed."""
    cluster = Cluster(3, pitfalls)
    cluster.submit("n0", b"a")
    cluster.recover("n2", FIRST_OF_N0)
    cluster.flow("n2>n0", "n0>n2")
    assert settled(cluster.machines(), FIRST_OF_N0) == {(NOOP, ())}
    cluster.play(10 * TICK_NS)
    return cluster.values("n1")


# -- schedules by hand -------------------------------------------------------------------------------------------------

FIRST_OF_N0 = Name(RULES.chain(b"a"), 0, 0)


def settled(machines: Collection[EPaxosMachine], name: Name) -> set[tuple[bytes, object]]:
    """What the command is, and depends on, at those where it is committed."""
    known = [machine.commands[name] for machine in machines if name in machine.commands]
    return {(one.entry, one.needs) for one in known if one.committed}


def unordered(machines: Collection[EPaxosMachine]) -> list[tuple[Name, Name]]:
    """Commands that conflict and are committed, neither of which depends on the other."""
    real = {
        name: command.needs
        for machine in machines
        for name, command in machine.commands.items()
        if command.committed and command.entry != NOOP
    }
    return [
        (one, other)
        for one in real
        for other in real
        if one < other and other.chain in machine_rules(machines).conflicting(one.chain)
        and not covers(real[one], other) and not covers(real[other], one)
    ]  # fmt: skip


def machine_rules(machines: Collection[EPaxosMachine]) -> Commuting:
    """The same in all."""
    return next(iter(machines)).commuting


def test_a_promise_is_no_vote() -> None:
    """The counterexample of Sutra 2019 to one variable for both."""
    assert len(settled_after_a_promise(())) == 1
    assert len(settled_after_a_promise((Pitfall.ONE_BALLOT_VARIABLE,))) == 2


def settled_after_a_promise(pitfalls: Collection[Pitfall]) -> set[tuple[bytes, object]]:
    """As what n0's command is committed. n0 has accepted it with n2; n1 has promised a ballot in which nothing came to
    be, and then answers n2, which recovers the command."""
    cluster = Cluster(3, pitfalls)
    cluster.submit("n2", b"a2")
    cluster.submit("n0", b"a")
    cluster.flow("n0>n2", "n2>n0")  # n2 knows of a2, which n0 did not
    cluster.net.tick(cluster.net.now_ns + 2 * RETRY_NS)  # n1 does not answer: the slow path
    cluster.flow("n0>n2")
    cluster.flow("n2>n0")  # n2 does not hear how it went
    assert [entry[-1:] for entry, _ in settled(cluster.machines(), FIRST_OF_N0)] == [b"a"]
    cluster.recover("n1", FIRST_OF_N0)
    cluster.recover("n2", FIRST_OF_N0)
    cluster.flow("n2>n1", "n1>n2")
    return settled(cluster.machines(), FIRST_OF_N0)


def test_a_recovery_waits_for_what_may_yet_be_committed_without_it() -> None:
    assert unordered_after_a_recovery(()) == []
    for pitfall in (Pitfall.RECOVERY_WAITS_FOR_NOBODY, Pitfall.RECOVERY_IGNORES_CONFLICTS):
        assert len(unordered_after_a_recovery((pitfall,))) == 1


def unordered_after_a_recovery(pitfalls: Collection[Pitfall]) -> list[tuple[Name, Name]]:
    """Of five nodes three are a fast quorum. n0's command has come to n2, n1's to n3 and n4, whose answers are on their
    way; neither knows of the other. n0 dies, and n2 asks n1 and n3 about its command."""
    cluster = Cluster(5, pitfalls, e=2)
    cluster.submit("n0", b"a")
    cluster.submit("n1", b"a2")
    cluster.flow("n0>n2")
    cluster.flow("n1>n3", "n1>n4")
    cluster.net.crash("n0")
    cluster.recover("n2", FIRST_OF_N0)
    cluster.flow("n2>n1", "n1>n2", "n2>n3", "n3>n2")
    cluster.flow("n3>n1", "n4>n1")
    cluster.play(10 * TICK_NS)
    assert all(b"a2" in cluster.values(name) for name in ("n1", "n2", "n3", "n4"))
    return unordered(cluster.machines())


def test_of_two_recoveries_that_wait_for_each_other_one_gives_up() -> None:
    assert settled_while_two_wait(()) == ({NOOP}, 1)
    assert settled_while_two_wait((Pitfall.WAITING_UNHEARD,)) == (set(), 0)


def settled_while_two_wait(pitfalls: Collection[Pitfall]) -> tuple[set[bytes], int]:
    """As what n1's command is settled while no time passes, and as how many things n0's is. n0's has come to n2 and n3,
    n1's to n4. n2 recovers n0's with n3 and n4, n4 n1's with n0 and n3: each hears of the other's command."""
    cluster = Cluster(5, pitfalls, e=2)
    first_of_n1 = FIRST_OF_N0._replace(rank=1)
    cluster.submit("n0", b"a")
    cluster.submit("n1", b"a2")
    cluster.flow("n0>n2", "n0>n3", "n1>n4")
    cluster.recover("n2", FIRST_OF_N0)
    cluster.flow("n2>n3", "n3>n2", "n2>n4", "n4>n2")
    cluster.recover("n4", first_of_n1)
    cluster.flow("n4>n0", "n0>n4", "n4>n3", "n3>n4")
    given_up = {entry for entry, _ in settled(cluster.machines(), first_of_n1)}
    cluster.flow("n4>n2", "n2>n3", "n3>n2", "n2>n4", "n4>n2")
    return given_up, len(settled(cluster.machines(), FIRST_OF_N0))


# -- schedules by chance -----------------------------------------------------------------------------------------------

SIZES = ((3, 1), (5, 1), (5, 2))  # n and e


class Walk:
    """Nodes to which conflicting values are submitted; frames arrive in any order among groups that change, twice, late
    or never; and anybody recovers anything at any time."""

    def __init__(self, seed: int, pitfalls: Collection[Pitfall] = ()) -> None:
        rng = self.rng = random.Random(seed)
        self.n, e = SIZES[seed % len(SIZES)]
        self.left = {"submit": 2 + seed % 4, "recover": seed % 5}
        self.machines = [
            EPaxosMachine(node_config(node, self.n, retry_ns=100), pitfalls, e=e) for node in range(self.n)
        ]
        self.pending: list[tuple[int, int, FrameMessage]] = []
        self.rules = Commuting(1, touched)
        self.places = [Places(self.rules) for _ in self.machines]
        self.chained: dict[object, bytes] = {}
        self.wrong = ""
        for node, machine in enumerate(self.machines):
            machine.order_by(self.rules)
            self._perform(node, machine.on_start(0, {}))
        for _ in range(200):
            if self.wrong:
                break
            group = sorted(rng.sample(range(self.n), rng.randint(2, self.n)))
            for _ in range(rng.choice((1, 2, 4, 8, 30))):
                self._step(group)
            if rng.random() < 0.3:
                self.pending = [way for way in self.pending if rng.random() > 0.2]
            self._check()

    def _step(self, group: list[int]) -> None:
        rng, deed = self.rng, self.rng.random()
        node = rng.choice(group)
        machine = self.machines[node]
        if deed < 0.15 and self.left["submit"]:
            self.left["submit"] -= 1
            self._perform(node, machine.submit(b"a%d" % self.left["submit"], 0))
        elif deed < 0.22 and self.left["recover"] and (names := self._names(machine)):
            self.left["recover"] -= 1
            self._perform(node, machine.keep(machine._take_over(rng.choice(names))))
        elif ready := [at for at, (src, dst, _) in enumerate(self.pending) if src in group and dst in group]:
            at = rng.choice(ready)
            src, dst, message = self.pending[at] if rng.random() < 0.05 else self.pending.pop(at)
            heard = self.machines[dst].on_message(port_to(self.machines[dst], src), message, FIRST, 0)
            self._perform(dst, heard)

    def _names(self, machine: EPaxosMachine) -> list[Name]:
        """What may be recovered: all that anybody knows of and this one does not know to be committed."""
        known = sorted({name for other in self.machines for name in other.commands})
        return [name for name in known if not machine._is_committed(name)]

    def _perform(self, node: int, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.pending.append((node, self.machines[node].config.peers[effect.port].node, effect.message))
            elif isinstance(effect, Decide):
                place = self.places[node].add(effect.value)
                if self.chained.setdefault((place.chain, place.number), effect.value) != effect.value:
                    self.wrong = self.wrong or "order"

    def _check(self) -> None:
        names = {name for machine in self.machines for name in machine.commands}
        if any(len(settled(self.machines, name)) > 1 for name in names):
            self.wrong = self.wrong or "agreement"
        elif unordered(self.machines):
            self.wrong = self.wrong or "visibility"


WALKS = 300


def test_whatever_comes_in_whatever_order_all_agree() -> None:
    assert [(seed, wrong) for seed in range(WALKS) if (wrong := Walk(seed).wrong)] == []


FOUND_HERE = tuple(Pitfall)


def finds(pitfall: str) -> bool:
    """Whether a walk, or a schedule by hand, shows the known bug (for the conformance suite)."""
    planted = (Pitfall(pitfall),)
    match planted[0]:
        case Pitfall.ONE_BALLOT_VARIABLE:
            return len(settled_after_a_promise(planted)) > 1
        case Pitfall.RECOVERY_WAITS_FOR_NOBODY | Pitfall.RECOVERY_IGNORES_CONFLICTS:
            return bool(unordered_after_a_recovery(planted))
        case Pitfall.WAITING_UNHEARD:
            return settled_while_two_wait(planted) != settled_while_two_wait(())
        case Pitfall.NOP_FORGOTTEN:
            return after_being_given_up(planted) != [b"a"]
        case _:
            return any(Walk(seed, planted).wrong for seed in range(WALKS))


# -- the graph ---------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(0, 7), st.sets(st.integers(0, 7)), min_size=1), st.integers(0, 7))
def test_circles_come_whole_and_behind_what_they_depend_on(edges: dict[int, set[int]], missing: int) -> None:
    def after(name: Name) -> set[int]:
        return edges.get(name.place, set()) - {name.place}

    def reach(place: int) -> set[int]:
        found: set[int] = set()
        queue = [place]
        while queue:
            queue += [one for one in after(Name(0, 0, queue.pop())) if one not in found and not found.add(one)]
        return found

    root = Name(0, 0, min(edges))
    found = components(
        root,
        lambda name: (Name(0, 0, place) for place in sorted(after(name))),
        lambda name: name.place != missing or name == root,
    )
    if missing in reach(root.place) and missing != root.place:
        assert found == Blocked(Name(0, 0, missing))
        return
    assert isinstance(found, list)
    done: set[int] = set()
    for circle in found:
        places = {name.place for name in circle}
        assert all((other in reach(one)) for one in places for other in places if one != other)
        assert all(after(name) <= done | places for name in circle)
        assert not done & places
        done |= places
    assert done == reach(root.place) | {root.place}


# -- bytes -------------------------------------------------------------------------------------------------------------

names = st.builds(Name, st.integers(0, 2000), st.integers(0, 2), st.integers(0, 9))
needs = st.lists(names, max_size=4).map(lambda listed: union([tuple(listed)]))
entries = st.one_of(
    st.just(NOOP), st.builds(lambda seq, value: Submission(1, 1, seq, value).entry(), st.integers(0, 9), st.binary())
)
messages = st.builds(
    Message,
    st.sampled_from(Step),
    st.integers(0, 9),
    names,
    needs,
    entries,
    st.integers(0, 3),
    st.integers(0, 9),
    needs,
)
TELLING = (Step.PRE_ACCEPT, Step.ACCEPT, Step.COMMIT, Step.RECOVERED, Step.VALIDATE)


def framed(said: Message) -> FrameMessage:
    said = said if said.step in TELLING else said._replace(entry=b"")
    return FrameMessage(Kind.DATA, said.ballot, said.step, said.body())


@given(messages)
def test_messages_come_back(said: Message) -> None:
    assert framed(read(framed(said)) or said) == framed(said)
    assert read(framed(said)) is not None


@given(messages, st.integers(0, 200), st.integers(1, 255))
def test_bytes_of_any_kind_are_a_message_or_none(said: Message, at: int, flip: int) -> None:
    body = bytearray(framed(said).body)
    body[at % len(body)] ^= flip
    for damaged in (bytes(body), bytes(body[:at])):
        again = read(framed(said)._replace(body=damaged))
        assert again is None or again.body() == damaged


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), messages), max_size=40), st.booleans())
def test_a_machine_bears_whatever_it_hears(heard: list[tuple[int, Message]], learns: bool) -> None:
    machine = EPaxosMachine(node_config(0, 3, retry_ns=100, epoch=2 if learns else 1))
    machine.order_by(RULES)
    machine.on_start(0, {})
    machine.submit(b"a", 0)
    for count, (port, said) in enumerate(heard):
        machine.on_message(port, framed(said), FIRST, count)
        machine.on_timer("beat", count)


def test_a_command_comes_back_from_the_disk() -> None:
    for command in (
        Command(),
        Command(7, 4, Phase.ACCEPTED, NOOP, (), b"first", (Name(1, 0, 3),), 2),
        Command(0, 0, Phase.PREACCEPTED, b"same", (Name(1, 0, 3),), b"same", ()),
    ):
        assert read_command(command.pack()) == command
