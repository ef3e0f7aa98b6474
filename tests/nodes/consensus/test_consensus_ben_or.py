"""Ben-Or: the published chain to the last digit, the machine against the chain, and agreement whatever happens."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from builders import Fed, engine, node_config
from consensus_harness import FIRST, Chaos, port_to
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import ROOT
from network import Timed

sys.path.insert(0, str(ROOT / "benchmarks"))
from ben_or_chain import N, T, chain, mean
from ben_or_figures import lockstep

from testbed.nodes import frames
from testbed.nodes.consensus.ben_or import BenOr, BenOrMachine, Pitfall
from testbed.nodes.consensus.ben_or.messages import ASK, NO_VALUE, Message, Phase, read
from testbed.nodes.consensus.ben_or.spec import coin_rounds
from testbed.nodes.core import Decide, Note, Propose, Send
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Kind

DELAY_NS = 10_000
PERIOD_NS = 1_000_000


def machines(n: int, pitfalls: tuple[Pitfall, ...] = (), seed: int = 0, **protocol: Any) -> dict[int, BenOrMachine]:
    settings_ = {
        "consensus": "ben_or",
        "f": (n - 1) // 2,
        "period_ns": PERIOD_NS,
        "retry_ns": 100_000,
        "inputs": "random",
        "seed": seed,
        **protocol,
    }
    return {
        node: Fed(BenOrMachine(node_config(node, n, node_seed=1000 * seed + node, **settings_), pitfalls))
        for node in range(n)
    }


def message(instance: int, what: Message, flags: int = 0) -> frames.Message:
    return frames.Message(Kind.DATA, instance, what.phase, what.body(), flags)


# -- the published chain ------------------------------------------------------------------------------------------


def test_the_chain_with_the_own_message_always_counted() -> None:
    first, last = chain(own_always=True)
    assert first[0] == Fraction(51981, 65536)
    assert [round(float(p), 5) for p in first[:3]] == [0.79317, 0.19355, 0.01243]
    assert round(mean(first), 4) == 1.2210
    assert [round(float(p), 5) for p in last[:3]] == [0.58611, 0.38732, 0.02487]
    assert round(mean(last), 4) == 1.4423


def test_the_chain_with_any_four_of_the_five_messages_counted() -> None:
    first, _ = chain(own_always=False)
    assert first[0] == Fraction(2459963, 3125000)
    assert round(float(first[0]), 5) == 0.78719
    assert round(mean(first), 4) == 1.2287


# -- the engine against the chain -------------------------------------------------------------------------------------


def lockstep_machines(instances: int, seed: int) -> list[list[int]]:
    """Rounds in which the five machines decide, per instance. Phase by phase, the frames of the others come to each
    node in an order drawn anew: so it counts its own message and any three of the other four."""
    rng = random.Random(seed)
    nodes = machines(N, seed=seed, f=T, instances=instances)
    results: list[list[int]] = []
    wire: list[tuple[int, int, frames.Message]] = []

    def perform(me: int, effects: list[Any]) -> None:
        peers = nodes[me].config.peers
        wire.extend((me, peers[effect.port].node, effect.message) for effect in effects if isinstance(effect, Send))
        results[-1].extend(effect.round - effect.instance + 1 for effect in effects if isinstance(effect, Decide))

    for instance in range(instances):
        results.append([])
        for me, node in nodes.items():
            perform(me, node.on_timer("instance", instance * PERIOD_NS) if instance else node.on_start(0, {}))
        while wire:
            phase = wire[:]
            wire.clear()
            rng.shuffle(phase)
            for src, dst, said in phase:
                perform(dst, nodes[dst].on_message(port_to(nodes[dst], src), said, FIRST, instance * PERIOD_NS))
    return results


def assert_distributed(rounds: list[int], expected: list[Fraction]) -> None:
    """Every probability within the normal interval of error rate 1e-4 around what is expected (and the mean too)."""
    z, trials = 3.89, len(rounds)
    counts = Counter(rounds)
    for round_, p in enumerate(map(float, expected[:3]), 1):
        assert abs(counts[round_] / trials - p) < z * math.sqrt(p * (1 - p) / trials), f"round {round_}"
    square = float(sum(round_**2 * p for round_, p in enumerate(expected, 1)))
    deviation = math.sqrt((square - mean(expected) ** 2) / trials)
    assert abs(sum(rounds) / trials - mean(expected)) < z * deviation


@pytest.mark.slow
def test_the_machines_in_random_lockstep_follow_the_chain_with_the_own_message_counted() -> None:
    results = lockstep_machines(1500, seed=1)
    assert all(len(decided) == N for decided in results)
    first, last = chain(own_always=True)
    assert_distributed([min(decided) for decided in results], first)
    assert_distributed([max(decided) for decided in results], last)


@pytest.mark.slow
def test_the_algorithm_with_its_own_message_shuffled_in_follows_the_other_chain() -> None:
    rng = random.Random(2)
    results = [lockstep(rng, own_always=False) for _ in range(3000)]
    first, last = chain(own_always=False)
    assert_distributed([earliest for earliest, _ in results], first)
    assert_distributed([latest for _, latest in results], last)


# -- the rules --------------------------------------------------------------------------------------------------------


def hear(node: BenOr, phase: Phase, *values: int, round_: int = 1) -> list[Message]:
    """Messages of nodes 0, 1, .. come in."""
    answers: list[Message] = []
    for src, value in enumerate(values):
        answers += node.receive(src, Message(round_, phase, value))
    return answers


@pytest.mark.parametrize(
    ("reports", "proposal"), [((1, 1, 1, 0), 1), ((0, 0, 1, 0), 0), ((1, 1, 0, 0), NO_VALUE), ((1, 1, 1, 1), 1)]
)
def test_a_proposal_names_what_more_than_half_of_all_nodes_reported(reports: tuple[int, ...], proposal: int) -> None:
    assert hear(BenOr(5, 1, 0, 0), Phase.REPORT, *reports) == [Message(1, Phase.PROPOSAL, proposal)]
    # three alike of four heard are most of those heard, but only half of six nodes
    assert hear(BenOr(6, 2, 0, 0), Phase.REPORT, 1, 1, 1, 0) == [Message(1, Phase.PROPOSAL, NO_VALUE)]


def after_proposals(*proposals: int) -> BenOr:
    node = BenOr(5, 1, 0, 7)
    hear(node, Phase.REPORT, 1, 1, 0, 0)
    hear(node, Phase.PROPOSAL, *proposals)
    return node


def test_more_than_t_proposals_decide_one_is_adopted_none_leaves_it_to_the_coin() -> None:
    assert after_proposals(1, NO_VALUE, NO_VALUE, 1).decision == 1
    adopted = after_proposals(1, NO_VALUE, NO_VALUE, NO_VALUE)
    assert (adopted.decision, adopted.value, adopted.round) == (None, 1, 2)
    coins = set()
    for seed in range(20):
        node = BenOr(5, 1, 0, seed)
        hear(node, Phase.REPORT, 1, 1, 0, 0)
        hear(node, Phase.PROPOSAL, *[NO_VALUE] * 4)
        coins.add(node.value)
    assert coins == {0, 1}


def test_who_decides_says_at_once_what_it_will_say_in_the_next_round() -> None:
    node = BenOr(3, 1, 1, 0)
    hear(node, Phase.REPORT, 1, 1)
    assert hear(node, Phase.PROPOSAL, 1, 1) == [Message(2, Phase.REPORT, 1), Message(2, Phase.PROPOSAL, 1)]
    assert node.done
    assert hear(node, Phase.REPORT, 0, 0, round_=2) == []


def test_messages_of_rounds_to_come_are_kept_and_repetitions_dropped() -> None:
    node = BenOr(3, 1, 1, 0)
    assert hear(node, Phase.PROPOSAL, 1, 1) == []
    assert node.receive(0, Message(1, Phase.REPORT, 1)) == []
    assert node.receive(0, Message(1, Phase.REPORT, 0)) == []  # the first word counts
    assert node.receive(1, Message(1, Phase.REPORT, 1)) == [Message(1, Phase.PROPOSAL, 1)]
    # its own proposal comes, and with it the phase is complete
    assert node.receive(2, Message(1, Phase.PROPOSAL, 1))[0] == Message(2, Phase.REPORT, 1)
    assert node.decision == 1
    late = BenOr(3, 1, 1, 0)
    hear(late, Phase.REPORT, 1, 0)
    assert late.receive(2, Message(1, Phase.REPORT, 1)) == []  # that phase is past


def test_messages_survive_the_wire() -> None:
    for what in (Message(1, Phase.REPORT, 0), Message(0xFFFFFFFF, Phase.PROPOSAL, NO_VALUE)):
        assert read(message(0, what)) == what


# -- the machine ------------------------------------------------------------------------------------------------------


def test_equal_inputs_are_decided_after_two_message_delays() -> None:
    net = Timed(machines(5, f=1, instances=200), lambda *_: DELAY_NS)
    net.start()
    net.run(201 * PERIOD_NS)
    equal = [i for i in range(200) if len({p.value for _, p in net.proposals if p.instance == i}) == 1]
    assert len(equal) > 3  # expected: 200 / 16
    for instance in equal:
        assert {at - instance * PERIOD_NS for at, _ in net.decided(instance).values()} == {2 * DELAY_NS}


def test_a_single_node_decides_alone_and_at_once() -> None:
    net = Timed(machines(1, instances=2), lambda *_: DELAY_NS)
    net.start()
    net.run(2 * PERIOD_NS)
    assert [(at, decide.instance, decide.round) for at, _, decide in net.decisions] == [(0, 0, 0), (PERIOD_NS, 1, 1)]


def check(net: Timed, instances: int, nodes: set[int]) -> None:
    """Agreement and validity of all decisions, and that ``nodes`` have all decided."""
    for instance in range(instances):
        values = {decide.value for _, decide in net.decided(instance).values()}
        assert len(values) == 1
        assert values <= {p.value for _, p in net.proposals if p.instance == instance}
        assert set(net.decided(instance)) >= nodes


def test_two_message_delays_a_round() -> None:
    net = Timed(machines(5, f=1, instances=50), lambda *_: DELAY_NS)
    net.start()
    net.run(60 * PERIOD_NS)
    check(net, 50, set(range(5)))
    for at_ns, _, decide in net.decisions:
        rounds = decide.round - decide.instance + 1
        assert at_ns - decide.instance * PERIOD_NS == 2 * DELAY_NS * rounds
    assert not any(frame.message.flags for _, frame in net.frames)  # nothing had to be asked for


def test_f_nodes_that_never_come_up() -> None:
    net = Timed(machines(5, f=2, instances=30), lambda *_: DELAY_NS)
    net.start(1, 2, 4)
    net.run(60 * PERIOD_NS)
    check(net, 30, {1, 2, 4})


@pytest.mark.parametrize("seed", range(20))
def test_two_of_five_die_in_the_middle_and_a_third_of_the_frames_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    net = Timed(
        machines(5, seed=seed, instances=3), lambda *_: rng.randrange(1_000, 300_000) if rng.random() > 1 / 3 else None
    )
    net.start()
    net.run(rng.randrange(300_000))
    net.kill(0)
    net.run(net.now_ns + rng.randrange(2_000_000))
    net.kill(1)
    net.run(10**9)
    check(net, 3, {2, 3, 4})


def test_one_seed_one_story() -> None:
    runs = []
    for _ in range(2):
        net = Timed(
            machines(5, f=1, seed=9, instances=20),
            lambda src, dst, frame: 1_000 + 7 * frame.key.seq * (src + 2 * dst) % 991,
        )
        net.start()
        net.run(30 * PERIOD_NS)
        runs.append((net.decisions, net.frames))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("at_ns", [0, 5_000, 10_000, 15_000, 25_000])
def test_a_node_restarted_with_its_state_goes_on_where_it_was(at_ns: int) -> None:
    for seed in range(5):
        net = Timed(machines(3, seed=seed, instances=3, keeps=True), lambda *_: DELAY_NS)
        net.start()
        net.run(at_ns)
        net.kill(2)
        net.run(at_ns + 35_000)
        net.machines[2] = Fed(BenOrMachine(replace(net.machines[2].config, epoch=2)))
        net.start(2)
        net.run(20 * PERIOD_NS)
        check(net, 3, {0, 1, 2})


def test_a_node_restarted_without_its_state_stays_out_of_what_has_begun() -> None:
    net = Timed(machines(3, instances=2), lambda *_: DELAY_NS)
    net.start(0)
    net.run(50_000)
    second = node_config(1, 3, epoch=2, f=1, period_ns=PERIOD_NS, inputs="random", instances=2)
    net.machines[1] = Fed(BenOrMachine(second))
    net.start(1)
    net.run(10 * PERIOD_NS)
    assert not net.decided(0)
    assert set(net.decided(1)) == {0, 1}
    assert {note.what for _, note in net.notes} == {"absent"}


def test_who_is_asked_says_again_what_it_said() -> None:
    machine = machines(3)[0]
    first = machine.on_start(0, {})
    report = Message(1, Phase.REPORT, 1)
    said = next(effect.message for effect in first if isinstance(effect, Send))
    answers = [e for e in machine.on_message(0, message(0, report, flags=ASK), FIRST, 10) if isinstance(e, Send)]
    assert (answers[0].message.step, answers[0].message.body, answers[0].message.flags) == (said.step, said.body, 0)
    # what it has not said yet it can't repeat
    ahead = message(0, Message(9, Phase.REPORT, 1), flags=ASK)
    assert machine.on_message(0, ahead, FIRST, 20) == []


def test_a_retry_that_is_over_does_nothing() -> None:
    net = Timed(machines(3), lambda *_: DELAY_NS)
    net.start()
    net.run(PERIOD_NS)
    assert net.machines[0].on_timer("retry 0", PERIOD_NS) == []


def test_strays_are_noted() -> None:
    machine = machines(3)[0]
    machine.on_start(0, {})
    good = message(0, Message(1, Phase.REPORT, 1))
    for bad in (
        good._replace(step=3),
        message(0, Message(0, Phase.REPORT, 1)),
        message(0, Message(1, Phase.REPORT, NO_VALUE)),
        message(0, Message(1, Phase.PROPOSAL, 3)),
    ):
        [note] = machine.on_message(0, bad, FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"


def test_more_crashes_than_it_can_bear_are_refused() -> None:
    with pytest.raises(ValueError, match=r"f < n/2 crashes, not f = 2 of n = 4"):
        Fed(BenOrMachine(node_config(0, 4, f=2)))


def test_inputs_are_bits() -> None:
    machine = Fed(BenOrMachine(node_config(2, 4, f=1, inputs="distinct", period_ns=PERIOD_NS, instances=2)))
    assert Propose(0, of_int(0)) in machine.on_start(0, {})
    assert Propose(1, of_int(1)) in machine.on_timer("instance", PERIOD_NS)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.integers(0, 3),
            st.integers(0, 4),
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(0, 255),
        ),
        max_size=20,
    )
)
def test_messages_with_any_content_do_no_harm(said: list[tuple[int, int, int, int, int, int]]) -> None:
    machine = machines(3, instances=2)[0]
    machine.on_start(0, {})
    for seq, (src, step, round_, value, instance, flags) in enumerate(said):
        body = round_.to_bytes(4, "big") + value.to_bytes(4, "big")
        machine.on_message(src - 1, frames.Message(Kind.DATA, instance, step, body, flags), FIRST, 10 * seq)
    for name in ("retry 0", "instance"):
        machine.on_timer(name, PERIOD_NS)


# -- everything that asynchrony allows --------------------------------------------------------------------------------


def disagreements(seeds: range, n: int, f: int, pitfalls: tuple[Pitfall, ...] = ()) -> int:
    """Walks with two different decisions."""
    found = 0
    for seed in seeds:
        nodes = machines(n, pitfalls, seed=seed, f=f)
        decisions = Chaos(nodes, random.Random(seed), loss=0.02).run(stages=60)
        found += len({decide.value for decide in decisions}) > 1
    return found


def test_no_walk_ends_in_disagreement() -> None:
    assert disagreements(range(150), n=4, f=1) == 0
    assert disagreements(range(80), n=5, f=2) == 0


@pytest.mark.parametrize("pitfall", [Pitfall.MAJORITY_OF_HEARD, Pitfall.ONE_PROPOSAL])
def test_the_same_walks_show_each_known_bug(pitfall: Pitfall) -> None:
    assert disagreements(range(150), 4, 1, (pitfall,)) > 0


@pytest.mark.parametrize(
    ("n", "t", "rounds", "left"),
    [(3, 1, 49, 1e-6), (4, 1, 104, 1e-6), (5, 1, 30, 1e-6), (5, 2, 215, 1e-6), (7, 3, 878, 1e-6), (9, 4, 1000, 0.02)],
)
def test_the_time_to_settle_leaves_an_instance_undecided_as_seldom_as_is_said(
    n: int, t: int, rounds: int, left: float
) -> None:
    """Counted over all falls of n coins: any n - t of them show a majority when more than n/2 + t are alike."""
    falls = [sum(coins) for coins in itertools.product((0, 1), repeat=n)]
    sure = Fraction(sum(2 * max(heads, n - heads) > n + 2 * t for heads in falls), len(falls))
    assert coin_rounds(n, t) == rounds
    assert (1 - sure) ** rounds <= left < (1 - sure) ** (rounds - 1)


# -- a coin in common -------------------------------------------------------------------------------------------------

HELD = 200


def rounds_held_open(seed: int, pitfalls: tuple[Pitfall, ...] = ()) -> int:
    """For how many rounds, HELD at most, a scheduler that sees all states keeps three nodes from deciding. It crashes
    nobody, and what it holds back is what nobody waits for: each hears itself and one of the two others.

    Two that differ go ahead, and nobody proposes a value to them; one tosses its coin. The third is a round behind, and
    can be shown nothing, so that it tosses the last round's coin, or what somebody proposed. Whichever makes it differ
    from the coin that has just fallen, it is shown; its proposal is then there for whoever is behind next.
    """
    nodes = machines(3, pitfalls, seed, inputs="distinct")
    for node in nodes.values():
        node.on_start(0, {})
    states: list[BenOr] = [engine(node).instances[0] for node in nodes.values()]

    def tell(me: int, src: int, phase: Phase) -> None:
        said = message(0, states[src].said[states[me].round, phase])
        nodes[me].on_message(port_to(nodes[me], src), said, FIRST, 0)

    ahead, other, behind = 1, 0, 2
    for round_ in range(1, HELD + 1):
        tell(ahead, other, Phase.REPORT)
        tell(other, ahead, Phase.REPORT)
        tell(ahead, other, Phase.PROPOSAL)
        coin = states[ahead].value
        if round_ > 1:
            tell(behind, other if states[other].value != coin else ahead, Phase.PROPOSAL)
        if states[behind].value == coin:
            return round_ - 1
        alike = next(node for node in (ahead, other) if states[node].said[round_, Phase.REPORT].value != coin)
        tell(behind, alike, Phase.REPORT)
        tell(behind, ahead, Phase.PROPOSAL)
        assert [state.decision for state in states] == [None] * 3
        other, behind = behind, other
    return HELD


def test_a_coin_in_common_lets_a_scheduler_hold_a_decision_back_for_good() -> None:
    """It needs luck in the first round alone, in which nobody is behind yet. Against coins that fall for each node by
    itself it loses a round in four."""
    assert {rounds_held_open(seed, (Pitfall.COMMON_COIN,)) for seed in range(40)} == {0, HELD}
    held = [rounds_held_open(seed) for seed in range(40)]
    assert 0 < max(held) < 30


FOUND_HERE = (Pitfall.COMMON_COIN,)


def finds(pitfall: str) -> bool:
    """Whether the scheduler shows the known bug (for the conformance suite)."""
    return any(rounds_held_open(seed, (Pitfall(pitfall),)) == HELD for seed in range(40))


def test_silence_after_deciding_leaves_others_waiting_for_good() -> None:
    def undecided(pitfalls: tuple[Pitfall, ...]) -> int:
        missing = 0
        for seed in range(60):
            rng = random.Random(seed)
            net = Timed(machines(5, pitfalls, seed=seed, f=1), lambda *_, rng=rng: rng.randrange(1_000, 50_000))
            net.start()
            net.run(50 * PERIOD_NS)
            missing += 5 - len(net.decided())
        return missing

    assert undecided(()) == 0
    assert undecided((Pitfall.SILENT_ONCE_DECIDED,)) > 0
