"""The OAE engine's algorithm: whatever is heard, no two nodes disagree; one good phase, and all decide."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest
from consensus_harness import Decision, crash_patterns, run_crashes, run_rounds, subsets
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.consensus.oae import Oae, Pitfall, rounds_needed
from testbed.nodes.consensus.oae.algorithm import Vote
from testbed.nodes.oae.algorithm import AlgorithmFactory


def instance(inputs: tuple[int, ...], f: int = 1, pitfalls: tuple[Pitfall, ...] = ()) -> dict[int, Oae]:
    members = tuple(range(len(inputs)))
    return {me: Oae(me, members, f, value, pitfalls) for me, value in enumerate(inputs)}


# -- every heard-of set, any number of phases -------------------------------------------------------------------------


class Node(NamedTuple):
    """All that matters of a node's state: what belongs to past phases is left out, None sorts as ()."""

    value: int
    mru: tuple[int, ...] = ()  # phase, value
    candidate: tuple[int, ...] = ()  # value, of the current phase
    vote: tuple[int, ...] = ()  # value, of the current phase
    decision: tuple[int, ...] = ()


class Explorer:
    """Breadth-first over all states that instances of n nodes can reach, whichever sets of nodes each of them hears in
    each round, its own register not excepted. Two reductions keep the states finite, and neither loses a behaviour:
    phases of votes are renumbered in order after each phase (the algorithm only compares them), and nodes are sorted
    (the algorithm knows no names). So a search that ends covers any number of phases. The code under test is Oae
    itself: its state is set, its message taken, its deliver called."""

    def __init__(self, pitfalls: tuple[Pitfall, ...] = ()) -> None:
        self.pitfalls = pitfalls
        self.outcomes = cache(self._outcomes)

    def search(self, inputs: tuple[int, ...]) -> tuple[int, int | None]:
        """(states, None), or (states until then, rounds of the shortest way to a disagreement)."""
        start = 0, tuple(sorted(Node(value) for value in inputs))
        seen, layer, rounds = {start}, [start], 0
        while layer:
            rounds += 1
            following = []
            for step, nodes in layer:
                for state in self._successors(step, nodes):
                    if state in seen:
                        continue
                    seen.add(state)
                    following.append(state)
                    decided = {node.decision for node in state[1]} - {()}
                    if len(decided) > 1:
                        return len(seen), rounds
                    assert decided <= {(value,) for value in inputs}
            layer = following
        return len(seen), None

    def _successors(self, step: int, nodes: tuple[Node, ...]) -> Iterator[tuple[int, tuple[Node, ...]]]:
        # Above all phases voted in. After sub-round 1 those may include the current one itself; no harm is done, as
        # sub-round 2 looks at the votes of the current phase only, and they are loaded with the number given here.
        phase = max((node.mru[0] for node in nodes if node.mru), default=-1) + 1
        offered = tuple(self._load(node, len(nodes), phase).message(3 * phase + step) for node in nodes)
        choices = [self.outcomes(node, step, phase, tuple(sorted(offered))) for node in nodes]
        combinations = {tuple(sorted(chosen)) for chosen in itertools.product(*choices)}
        for chosen in combinations:
            yield ((step + 1) % 3, chosen if step < 2 else self._renumbered(chosen))

    def _outcomes(self, node: Node, step: int, phase: int, offered: tuple[bytes, ...]) -> frozenset[Node]:
        found = set()
        for heard in subsets(range(len(offered))):
            algorithm = self._load(node, len(offered), phase)
            algorithm.deliver(3 * phase + step, {sender: offered[sender] for sender in heard})
            found.add(self._store(algorithm, phase, step))
        return frozenset(found)

    def _load(self, node: Node, n: int, phase: int) -> Oae:
        algorithm = Oae(0, tuple(range(n)), 0, node.value, self.pitfalls)
        algorithm.mru_vote = Vote(*node.mru) if node.mru else None
        algorithm.candidate = Vote(phase, *node.candidate) if node.candidate else None
        algorithm.vote = Vote(phase, *node.vote) if node.vote else None
        algorithm.decision = node.decision[0] if node.decision else None
        return algorithm

    @staticmethod
    def _store(algorithm: Oae, phase: int, step: int) -> Node:
        candidate, vote, decision = algorithm.candidate, algorithm.vote, algorithm.decision
        return Node(
            algorithm.value,
            tuple(algorithm.mru_vote or ()),
            (candidate.value,) if candidate and candidate.phase == phase and step < 1 else (),
            (vote.value,) if vote and vote.phase == phase and step < 2 else (),
            () if decision is None else (decision,),
        )

    @staticmethod
    def _renumbered(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        rank = {phase: i for i, phase in enumerate(sorted({node.mru[0] for node in nodes if node.mru}))}
        return tuple(sorted(node._replace(mru=(rank[node.mru[0]], node.mru[1]) if node.mru else ()) for node in nodes))


@pytest.mark.parametrize(("inputs", "states"), [((0, 1), 127), ((0, 0, 1), 1301), ((0, 1, 1), 4109), ((0, 1, 2), 7808)])
def test_no_disagreement_is_reachable_by_any_heard_of_sets(inputs: tuple[int, ...], states: int) -> None:
    assert Explorer().search(inputs) == (states, None)


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "states"), [((0, 0, 0, 1), 9170), ((0, 0, 1, 1), 13_093), ((0, 1, 1, 1), 30_702)])
def test_nor_among_four_nodes(inputs: tuple[int, ...], states: int) -> None:
    assert Explorer().search(inputs) == (states, None)


FOUND_HERE = (Pitfall.PHASE_IGNORED,)


def finds(pitfall: str) -> bool:
    """Whether the search shows the known bug (for the conformance suite)."""
    return Explorer((Pitfall(pitfall),)).search((0, 1, 1))[1] is not None


@pytest.mark.parametrize(
    ("pitfall", "inputs", "rounds"),
    [
        # two nodes that each count as a quorum of themselves
        (Pitfall.HALF_IS_ENOUGH, (0, 1), 3),
        # a vote for 0 in phase 0, a decision for 1 in phase 1, and in phase 2 the old vote is preferred
        (Pitfall.PHASE_IGNORED, (0, 1, 1), 9),
        # a decision in phase 0 that nobody remembers in phase 1
        (Pitfall.VOTE_NOT_KEPT, (0, 1, 1), 6),
    ],
)
def test_the_same_search_finds_each_known_bug_by_the_shortest_way(
    pitfall: Pitfall, inputs: tuple[int, ...], rounds: int
) -> None:
    assert Explorer((pitfall,)).search(inputs)[1] == rounds


# -- many nodes, many phases: random sets -----------------------------------------------------------------------------


def chaotic_run(rng: random.Random, phases: int, pitfalls: tuple[Pitfall, ...] = ()) -> set[int]:
    """Losses of a changing probability, cut-off nodes, halves that do not hear each other: values decided."""
    n = rng.randrange(2, 8)
    inputs = tuple(rng.randrange(2**32) for _ in range(n))
    moods = [rng.choice((0.02, 0.2, 0.4, 0.6)) for _ in range(phases)]
    sides = [[rng.random() < 0.5 for _ in range(n)] for _ in range(phases)]

    def hears(round_: int, receiver: int) -> set[int]:
        phase = round_ // 3
        side = sides[phase] if phase % 3 == 0 else None
        return {
            sender
            for sender in range(n)
            if sender == receiver or (rng.random() >= moods[phase] and (side is None or side[sender] == side[receiver]))
        }

    values = {decision.value for decision in run_rounds(instance(inputs, 1, pitfalls), hears, 3 * phases).values()}
    assert values <= set(inputs)
    return values


def test_three_hundred_chaotic_runs_without_a_disagreement() -> None:
    # seeds 0 .. 299, 12 phases each; the exhaustive search above is the proof for small n, this looks beyond it
    results = [chaotic_run(random.Random(seed), 12) for seed in range(300)]
    assert max(map(len, results)) == 1
    assert sum(map(len, results)) > 150  # the runs are not so bad that nothing is ever decided


@pytest.mark.parametrize("pitfall", Pitfall)
def test_the_same_chaos_shows_each_known_bug(pitfall: Pitfall) -> None:
    assert any(len(chaotic_run(random.Random(seed), 12, (pitfall,))) > 1 for seed in range(2000))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), n=st.integers(2, 6))
def test_any_past_and_then_one_good_phase(data: st.DataObject, n: int) -> None:
    # Termination: in sub-round 0 all hear the same majority, in 1 and 2 everybody hears some majority.
    sets = st.frozensets(st.integers(0, n - 1))
    quorums = st.frozensets(st.integers(0, n - 1), min_size=n // 2 + 1)
    inputs = data.draw(st.tuples(*[st.integers(0, 3)] * n))
    bad_rounds = 3 * data.draw(st.integers(0, 3))
    past = data.draw(st.lists(st.tuples(*[sets] * n), min_size=bad_rounds, max_size=bad_rounds))
    good = [(data.draw(quorums),) * n, data.draw(st.tuples(*[quorums] * n)), data.draw(st.tuples(*[quorums] * n))]
    heard_of = [*past, *good]
    decisions = run_rounds(instance(inputs), lambda round_, me: heard_of[round_][me], len(heard_of))
    assert set(decisions) == set(range(n))
    assert len({decision.value for decision in decisions.values()}) == 1


# -- termination in synchronous rounds --------------------------------------------------------------------------------


def latest_decision(n: int, f: int, all_inputs: list[tuple[int, ...]]) -> int:
    """Rounds until the last live node has decided, over all patterns of at most f crashes; agreement is asserted."""
    latest = 0
    for crashes in crash_patterns(n, f, rounds_needed(f)):
        dead = {crash.node for crash in crashes}
        for inputs in all_inputs:
            decisions = run_crashes(instance(inputs, f), crashes, rounds_needed(f))
            assert set(decisions) >= set(range(n)) - dead
            assert len({decision.value for decision in decisions.values()}) == 1
            latest = max(latest, *(decision.round + 1 for decision in decisions.values()))
    return latest


def test_three_rounds_without_failures() -> None:
    decisions = run_rounds(instance((7, 3, 9, 5)), lambda *_: set(range(4)), 9)
    assert set(decisions.values()) == {Decision(2, 3)}
    assert rounds_needed(0) == 3


def test_one_crash_costs_one_phase_and_no_more() -> None:
    # the bound 3 (f + 1) holds for every pattern, and some pattern needs it
    assert latest_decision(3, 1, list(itertools.product(range(3), repeat=3))) == rounds_needed(1) == 6
    assert latest_decision(4, 1, [(0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 1, 0)]) == 6


def test_sampled_patterns_of_two_crashes_among_five() -> None:
    rng = random.Random(11)
    patterns = list(crash_patterns(5, 1, rounds_needed(2)))
    latest = 0
    for _ in range(800):
        crashes = [*rng.choice(patterns), *rng.choice(patterns)]
        if len({crash.node for crash in crashes}) < len(crashes):
            continue
        inputs = tuple(rng.sample(range(5), 5))
        decisions = run_crashes(instance(inputs, 2), crashes, rounds_needed(2))
        assert set(decisions) >= set(range(5)) - {crash.node for crash in crashes}
        assert len({decision.value for decision in decisions.values()}) == 1
        latest = max(latest, *(decision.round + 1 for decision in decisions.values()))
    assert latest <= rounds_needed(2)


# -- what no algorithm can do -----------------------------------------------------------------------------------------


def test_a_process_per_round_that_loses_messages_keeps_it_undecided_for_good() -> None:
    # Santoro, Widmayer 1989; Gafni, Losa 2023: synchronous rounds in which one process, a different one each time,
    # loses messages that it sends are no stronger than FLP's model. Here the adversary tries, in each round, every
    # sender and every subset of its messages, and follows a way on which nobody ever decides; 20 phases of it.
    losses = [(sender, lost) for sender in range(3) for lost in subsets([p for p in range(3) if p != sender])]

    def after(nodes: dict[int, Oae], round_: int, sender: int, lost: frozenset[int]) -> dict[int, Oae]:
        copies: dict[int, Oae] = pickle.loads(pickle.dumps(nodes))
        offered = {me: node.message(round_) for me, node in copies.items()}
        for me, node in copies.items():
            node.deliver(round_, {s: r for s, r in offered.items() if s != sender or me not in lost})
        return copies

    nodes = instance((0, 1, 1))
    for phase in range(20):
        for ways in itertools.product(losses, repeat=3):
            candidate = nodes
            for step, way in enumerate(ways):
                candidate = after(candidate, 3 * phase + step, *way)
            if all(node.decision is None for node in candidate.values()):
                nodes = candidate
                break
        else:
            pytest.fail(f"the adversary is at an end in phase {phase}")


# -- odds and ends ----------------------------------------------------------------------------------------------------


def test_a_decided_node_goes_on_helping_one_that_missed_everything() -> None:
    nodes = instance((5, 6, 7))
    cut = {0: {0, 1}, 1: {0, 1}, 2: {2}}
    together = {0, 1, 2}
    decisions = run_rounds(nodes, lambda round_, me: cut[me] if round_ < 3 else together, 6)
    assert decisions == {0: Decision(2, 5), 1: Decision(2, 5), 2: Decision(5, 5)}


def test_rounds_that_a_node_slept_through_are_rounds_in_which_it_heard_nobody() -> None:
    node, *others = instance((4, 5, 6)).values()
    everyone = [node, *others]
    node.deliver(0, {i: other.message(0) for i, other in enumerate(everyone)})
    assert node.message(1) != bytes(16)
    assert node.message(4) == bytes(16)  # its candidate was one of phase 0
    assert node.message(5) == bytes(16)


def test_it_makes_instances_for_the_round_machine() -> None:
    make: AlgorithmFactory = Oae
    algorithm = make(3, (1, 3, 5), 1, 0xFFFFFFFF)
    assert all(len(algorithm.message(round_)) == 16 for round_ in range(6))
    assert pickle.loads(pickle.dumps(algorithm)) == algorithm


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.binary(min_size=16, max_size=16), max_size=4), min_size=6, max_size=6))
def test_registers_of_random_bytes_do_no_harm(rounds: list[list[bytes]]) -> None:
    algorithm = Oae(0, (0, 1, 2, 3, 4), 2, 7)
    for round_, registers in enumerate(rounds):
        algorithm.deliver(round_, {0: algorithm.message(round_), **dict(enumerate(registers, 1))})
