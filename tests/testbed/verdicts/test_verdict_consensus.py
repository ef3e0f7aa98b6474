"""Agreement, validity and termination of instances; here two rounds each, 400 us with their gaps."""

from dataclasses import replace

import pytest
from verdict_story import US, WINDOW, Story, plan_on, star

from testbed.nodes.core import Decide, Propose
from testbed.nodes.core.lies import Lie, LieKind
from testbed.nodes.core.record import Died, Started
from testbed.nodes.core.values import of_int
from testbed.nodes.registry import engine_specs
from testbed.plan import Fault, Plan
from testbed.verdicts import judge
from testbed.verdicts.consensus import PROPERTIES
from testbed.verdicts.model import Consensus
from testbed.verdicts.words import nothing_done, summary

PLAN = plan_on(star(3), consensus="floodset", instance_rounds=2, rounds=6)
HOSTS = PLAN.fabric.hosts


def told(
    decisions: list[tuple[str, int, int]], plan=PLAN, died: tuple[str, int] | None = None, instance: int = 0
) -> Consensus:
    """decisions: (node, value, round)."""
    story = Story(plan)
    for number, node in enumerate(HOSTS):
        story.event(instance * 4 * WINDOW, node, Propose(instance, of_int(10 + number)))
    for node, value, round_ in decisions:
        story.event(round_ * 2 * WINDOW + WINDOW, node, Decide(instance, of_int(value), round_))
    if died:
        story.event(died[1], died[0], Died())
    verdict = judge(plan, story.history()).consensus
    assert verdict is not None
    return verdict


def test_all_decide_one_proposed_value() -> None:
    verdict = told([(node, 10, 1) for node in HOSTS])
    assert verdict == Consensus(1, (), (), 1, (), (), {2: 3}, connected=1)


def struck_story(*faults: Fault, struck_ns: int = WINDOW) -> Story:
    """Five hosts; all but host5 decide the first of their instances, whose time is 3 windows."""
    story = Story(plan_on(star(5), faults, consensus="floodset", instance_rounds=2, rounds=6))
    for index, fault in enumerate(faults):
        story.fault(struck_ns, fault.target, index)
    for name in story.plan.fabric.hosts:
        story.event(0, name, Propose(0, of_int(10)))
        if name != "host5":
            story.event(3 * WINDOW, name, Decide(0, of_int(10), 1))
    return story


def judge_of(story: Story) -> Consensus:
    verdict = judge(story.plan, story.history()).consensus
    assert verdict is not None
    return verdict


def test_who_was_cut_off_is_not_waited_for_by_those_that_were_connected() -> None:
    for fault in (
        Fault("nic_mute", at_ns=WINDOW, target="host5", nic="host5-eth0"),
        Fault("link_down", at_ns=WINDOW, links=((4, "ab"),)),
        Fault("nic_deaf", at_ns=WINDOW, target="host5", nic="host5-eth0", peers=("host1", "host2", "host3", "host4")),
    ):
        verdict = judge_of(struck_story(fault))
        assert (verdict.decided, verdict.connected, verdict.undecided) == (0, 1, (0,)), fault.verb


def test_who_was_connected_and_did_not_decide_is_waited_for() -> None:
    for story in (
        struck_story(),
        struck_story(Fault("nic_mute", at_ns=WINDOW, target="host1", nic="host1-eth0")),
        struck_story(
            Fault("nic_mute", at_ns=3 * WINDOW + 1, target="host5", nic="host5-eth0"), struck_ns=3 * WINDOW + 1
        ),
    ):
        verdict = judge_of(story)
        assert (verdict.decided, verdict.connected) == (0, 0)


def test_where_nothing_was_decided_words_say_so() -> None:
    alone = Consensus(4, (), (), 0, (0, 1, 2, 3), (), {}, connected=0)
    verdicts = replace(judge(PLAN, Story(PLAN).history()), consensus=alone)
    assert nothing_done(verdicts)[0] == "nothing was decided"
    assert summary(verdicts)[-1][0] == "nothing"
    some = replace(verdicts, consensus=replace(alone, rounds_to_decide={1: 2}))
    assert nothing_done(some)[0] == "no instance was decided everywhere"
    for done in (replace(alone, connected=3), replace(alone, decided=1)):
        assert "decided" not in " ".join(nothing_done(replace(verdicts, consensus=done)))


def test_two_values_are_a_disagreement_and_name_who_decided_what() -> None:
    verdict = told([("host1", 10, 1), ("host2", 11, 1), ("host3", 10, 0)])
    (found,) = verdict.disagreements
    assert found.decisions == {"host1": ("10",), "host2": ("11",), "host3": ("10",)}
    assert verdict.rounds_to_decide == {1: 1, 2: 2}


def test_agreement_is_uniform_a_dead_node_is_held_to_its_word() -> None:
    verdict = told([("host1", 10, 0), ("host2", 11, 1), ("host3", 11, 1)], died=("host1", 3 * WINDOW // 2))
    assert len(verdict.disagreements) == 1
    assert verdict.decided == 1


def test_one_node_that_decides_twice_disagrees_with_itself() -> None:
    verdict = told([("host1", 10, 0), ("host1", 11, 1), ("host2", 10, 1), ("host3", 10, 1)])
    assert verdict.disagreements[0].decisions["host1"] == ("10", "11")


def test_a_value_that_nobody_proposed_is_invalid() -> None:
    verdict = told([(node, 99, 1) for node in HOSTS])
    assert verdict.invalid == ((0, "host1", "99"), (0, "host2", "99"), (0, "host3", "99"))
    assert verdict.disagreements == ()


def test_a_node_that_died_is_excused_from_deciding() -> None:
    decisions = [("host1", 10, 1), ("host2", 10, 1)]
    assert told(decisions).undecided == (0,)
    assert told(decisions, died=("host3", 50 * US)).decided == 1


def test_a_decision_after_the_instances_last_round_is_too_late() -> None:
    verdict = told([("host1", 10, 1), ("host2", 10, 1), ("host3", 10, 2)])
    assert (verdict.decided, verdict.undecided, verdict.later) == (0, (0,), 1)


def test_words_tell_decisions_that_came_later_from_those_that_never_came() -> None:
    some = [("host1", 10, 1), ("host2", 10, 1)]
    for third, words in (
        ([("host3", 10, 1)], "1 of 1 instances decided everywhere, 0 disagree, 0 invalid"),
        ([("host3", 10, 2)], "0 of 1 instances decided everywhere in time, 1 later, 0 disagree, 0 invalid"),
        ([], "0 of 1 instances decided everywhere, 0 disagree, 0 invalid"),
    ):
        verdicts = replace(judge(PLAN, Story(PLAN).history()), consensus=told([*some, *third]))
        assert dict(summary(verdicts))["consensus"].replace(" (1 by all connected)", "") == words


def test_an_instance_cut_off_by_the_runs_end_is_neither_decided_nor_undecided() -> None:
    verdict = told([("host1", 10, 9)], instance=4)  # rounds 8 and 9; the run ends with round 9 complete
    assert verdict.undecided == (4,)
    verdict = told([], instance=5)
    assert (verdict.instances, verdict.decided, verdict.undecided, verdict.cut_off) == (1, 0, (), (5,))


def test_an_instance_that_nobody_lived_through_and_nobody_decided_is_neither() -> None:
    story = Story(PLAN)
    for number, node in enumerate(HOSTS):
        story.event(0, node, Propose(0, of_int(number)))
        story.event(50 * US, node, Died())
    verdict = judge(PLAN, story.history()).consensus
    assert verdict is not None
    assert (verdict.instances, verdict.decided, verdict.undecided) == (1, 0, ())


def test_a_node_restarted_as_the_instance_begins_stays_out_of_it_and_is_excused() -> None:
    story = Story(PLAN)
    for node in HOSTS[:2]:
        story.event(4 * WINDOW, node, Propose(1, of_int(10)))
        story.event(7 * WINDOW, node, Decide(1, of_int(10), 3))
    story.event(50 * US, "host3", Died())
    story.event(4 * WINDOW, "host3", Started(kept=False, told_ns=4 * WINDOW))
    verdict = judge(PLAN, story.history()).consensus
    assert verdict is not None
    assert (verdict.decided, verdict.undecided) == (1, ())


def test_without_proposals_there_is_no_verdict() -> None:
    assert judge(PLAN, Story(PLAN).history()).consensus is None


# -- engines whose instances are not made of rounds: they begin at 0 and at 200 us, the run ends at 2 ms --


def of_messages(settle_ns: int) -> Plan:
    return plan_on(star(3), consensus="paxos", rounds=0, instances=2, settle_ns=settle_ns)


def test_an_instance_of_messages_has_its_time_to_settle() -> None:
    late = [(node, 10, 8) for node in HOSTS]  # at 1.7 ms
    assert told(late, plan=of_messages(1_700 * US)).decided == 1
    verdict = told(late, plan=of_messages(1_699 * US))
    assert (verdict.decided, verdict.undecided, verdict.cut_off) == (0, (0,), ())


def test_an_instance_that_the_end_leaves_no_time_is_cut_off_and_not_undecided() -> None:
    """It was counted as undecided, so that the longer a run was, the better its last instances did."""
    verdict = told([("host1", 10, 1)], plan=of_messages(1_900 * US))
    assert (verdict.undecided, verdict.cut_off) == ((0,), ())
    verdict = told([("host1", 10, 1)], plan=of_messages(1_900 * US), instance=1)
    assert (verdict.instances, verdict.decided, verdict.undecided, verdict.cut_off) == (1, 0, (), (1,))


def test_an_instance_in_which_all_decide_in_time_is_decided_wherever_the_run_ends() -> None:
    assert told([(node, 10, 1) for node in HOSTS], plan=of_messages(5_000 * US), instance=1).decided == 1


# -- who lies is bound by nothing, and nobody waits for it -------------------------------------------------------------

LYING = replace(PLAN, nodes=(replace(PLAN.nodes[0], lies=(Lie(LieKind.EQUIVOCATE),)), *PLAN.nodes[1:]))


@pytest.mark.parametrize(
    "decisions",
    [
        [("host1", 12, 1), ("host2", 11, 1), ("host3", 11, 1)],  # another value
        [("host1", 99, 1), ("host2", 11, 1), ("host3", 11, 1)],  # one that nobody proposed
        [("host1", 11, 0), ("host1", 12, 1), ("host2", 11, 1), ("host3", 11, 1)],  # two
        [("host2", 11, 1), ("host3", 11, 1)],  # none
    ],
)
def test_nothing_that_a_liar_decides_is_held_against_it(decisions: list[tuple[str, int, int]]) -> None:
    verdict = told(decisions, LYING)
    assert (verdict.disagreements, verdict.invalid, verdict.undecided, verdict.decided) == ((), (), (), 1)
    honest = told(decisions)
    assert honest.disagreements or honest.invalid or honest.undecided


def test_the_others_are_held_to_their_word_whoever_lied_to_them() -> None:
    assert len(told([("host2", 11, 1), ("host3", 12, 1)], LYING).disagreements) == 1
    assert told([("host2", 99, 1), ("host3", 99, 1)], LYING).invalid == ((0, "host2", "99"), (0, "host3", "99"))
    assert told([("host2", 11, 1)], LYING).undecided == (0,)
    assert told([("host2", 10, 1), ("host3", 10, 1)], LYING).invalid == (), "what a liar proposed was proposed"


# -- what engines promise ----------------------------------------------------------------------------------------------


def test_whatever_an_engine_promises_has_a_checker_and_each_checker_sees_what_it_is_for() -> None:
    """Those of logs alone, integrity and order, see damage in test_verdict_delivery.py."""
    assert {name for spec in engine_specs() for name in spec.properties} == set(PROPERTIES)
    broken = {
        "agreement": told([("host1", 10, 1), ("host2", 11, 1), ("host3", 10, 1)]),
        "validity": told([(node, 99, 1) for node in HOSTS]),
        "termination": told([("host1", 10, 1), ("host2", 10, 1)]),
    }
    for name, verdict in broken.items():
        assert [each for each, held in PROPERTIES.items() if not held(verdict)] == [name]
