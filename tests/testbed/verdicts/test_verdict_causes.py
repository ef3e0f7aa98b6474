"""Why a swap broke: the frame to blame, what happened to it, and where. Depth 2: step 1 there, step 2 back."""

import pytest
from verdict_story import US, WINDOW, Story, pair, plan_on, star

from testbed.nodes.core.record import Dropped, Noted, Refused, Started
from testbed.plan import Fault
from testbed.topologies.impairment import Impairment
from testbed.verdicts import judge
from testbed.verdicts.model import Break

SIM, SWITCH_PORTS_ONLY = True, False
HELD_UP = [("node_pause", "node_resume", "paused"), ("node_slow", "node_quick", "slow")]


def only_break(story: Story) -> Break:
    (broken,) = judge(story.plan, story.history()).bisynchrony.breaks
    return broken


def split(story: Story) -> Break:
    """host2 committed on step 1, host1 waited for step 2 in vain."""
    story.resolve("host2", "host1", "committed", 20 * US)
    story.resolve("host1", "host2", "aborted", WINDOW)
    return only_break(story)


def star_story(*faults: Fault, **more) -> Story:
    return Story(plan_on(star(), faults), **more).round(0)


def first_step(story: Story, host_hops: bool = SIM) -> None:
    story.fly("host1", "host2", 1, 0, 10 * US, 20 * US, host_hops=host_hops)


def test_a_frame_lost_at_the_switch_is_named_with_its_hop() -> None:
    story = star_story()
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
    story.drop(key, 30 * US, "leaf1", "leaf1-eth1", "lost")
    broken = split(story)
    assert (broken.kind, broken.cause, broken.hop) == ("split", "lost", "leaf1-eth1")
    assert broken.frame == "host2>host1 round 0 step 2 (#1)"
    assert broken.link == "host1<->host2"


def test_a_frame_that_netem_swallowed_shows_as_in_without_out() -> None:
    """A capture at switch ports sees no loss, only that the frame came in and never left."""
    story = star_story()
    first_step(story, SWITCH_PORTS_ONLY)
    key = story.send("host2", "host1", 2, 20 * US)
    story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
    broken = split(story)
    assert (broken.cause, broken.hop) == ("lost", "leaf1-eth1")
    assert "vanished at leaf1-eth1" in broken.detail


def test_a_frame_never_seen_by_the_switch_was_lost_at_the_senders_own_nic() -> None:
    story = star_story()
    first_step(story, SWITCH_PORTS_ONLY)
    story.send("host2", "host1", 2, 20 * US)
    story.drop(story.send("host1", "host2", 9, 3 * WINDOW, 1), 3 * WINDOW, "leaf1", "leaf1-eth1", "in")
    broken = split(story)
    assert (broken.cause, broken.hop) == ("lost", "host2-eth0")


def test_without_hops_the_frame_is_named_and_the_hop_stays_empty() -> None:
    story = star_story(captured=False)
    first_step(story)
    story.send("host2", "host1", 2, 20 * US)
    broken = split(story)
    assert (broken.cause, broken.hop) == ("lost", "")
    assert broken.frame.startswith("host2>host1 round 0 step 2")


def test_between_two_hosts_there_is_only_one_hop_it_can_be() -> None:
    story = Story(plan_on(pair())).round(0)
    story.fly("host1", "host2", 1, 0, 10 * US)
    story.send("host2", "host1", 2, 10 * US)
    assert split(story).hop == "host2-eth0"


@pytest.mark.parametrize("host_hops", [SIM, SWITCH_PORTS_ONLY])
def test_a_late_frame_is_blamed_on_the_hop_with_the_greatest_excess(host_hops: bool) -> None:
    story = star_story()
    first_step(story, host_hops)
    story.fly("host2", "host1", 2, 20 * US, 35 * US, 130 * US, host_hops=host_hops)  # 15 us, then 95 us
    broken = split(story)
    assert (broken.cause, broken.hop) == ("late", "leaf1-eth1")
    assert "30.000 us after the window" in broken.detail
    assert "leaf1>host1 took 95.000 us, nominally 10.000 us" in broken.detail


def test_a_late_frame_without_hops() -> None:
    story = star_story(captured=False)
    first_step(story)
    story.fly("host2", "host1", 2, 20 * US, 130 * US)
    broken = split(story)
    assert (broken.cause, broken.hop) == ("late", "")
    assert "host2>host1 took 110.000 us, nominally 20.000 us" in broken.detail


def test_a_frame_that_arrives_at_exactly_the_window_counts() -> None:
    story = star_story()
    first_step(story)
    story.fly("host2", "host1", 2, 20 * US, 30 * US, WINDOW)
    broken = split(story)  # so the machine itself must be at fault
    assert (broken.cause, broken.frame) == ("unknown", "")


def test_a_jitter_burst_is_mentioned() -> None:
    burst = Fault("impair", at_ns=0, links=((0, "ba"),), impairment=Impairment(90 * US))
    story = star_story(burst)
    story.fault(25 * US, "", 0)
    first_step(story)
    story.fly("host2", "host1", 2, 20 * US, 30 * US, 120 * US)
    assert "a fault had changed its impairment" in split(story).detail


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("verb", ["nic_down", "nic_mute"])
def test_a_nic_that_crashed_is_named(captured: bool, verb: str) -> None:
    fault = Fault(verb, at_ns=15 * US, target="host1", nic="host1-eth0")
    story = star_story(fault, captured=captured)
    story.fault(15 * US, "host1", 0)
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    if captured:
        story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
        if verb == "nic_down":
            story.drop(key, 30 * US, "leaf1", "leaf1-eth1", "cut")
        else:
            story.drop(key, 40 * US, "host1", "host1-eth0", "mute")
    broken = split(story)
    assert broken.cause == "crashed"
    assert f"{verb} at host1-eth0 since 0.015 ms" in broken.detail


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize(("peer", "cause"), [("host2", "crashed"), ("host1", "lost")])
def test_a_partition_is_named_if_it_stood_between_these_two(captured: bool, peer: str, cause: str) -> None:
    fault = Fault("nic_deaf", at_ns=15 * US, target="host1", nic="host1-eth0", peers=(peer,))
    story = star_story(fault, captured=captured)
    story.fault(15 * US, "host1", 0)
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    if captured:
        story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
    broken = split(story)
    assert broken.cause == cause
    assert ("nic_deaf to host2 at host1-eth0 since 0.015 ms" in broken.detail) == (cause == "crashed")


def test_a_nic_deaf_in_one_direction_only_is_not_blamed_for_the_other() -> None:
    fault = Fault("nic_half", at_ns=0, target="host1", nic="host1-eth0", direction="tx")
    story = star_story(fault, captured=False)
    story.fault(12 * US, "host1", 0)
    first_step(story)
    story.send("host2", "host1", 2, 20 * US)
    assert split(story).cause == "lost"


def test_a_nic_that_came_back_before_is_not_blamed() -> None:
    faults = (Fault("nic_down", at_ns=0, target="host1"), Fault("nic_up", at_ns=5 * US, target="host1"))
    story = star_story(*faults, captured=False)
    story.fault(1 * US, "host1", 0)
    story.fault(5 * US, "host1", 1)
    first_step(story)
    story.send("host2", "host1", 2, 20 * US)
    assert split(story).cause == "lost"


@pytest.mark.parametrize(
    ("why", "words"),
    [("ENOBUFS", "full queues (netem's limit) dropped 1 frames"), ("ENETDOWN", "1 sends failed")],
)
def test_a_send_that_the_system_refused(why: str, words: str) -> None:
    story = star_story()
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.event(20 * US, "host2", Refused(why, key, 0, 0, 2))
    broken = split(story)
    assert (broken.cause, broken.hop) == ("lost", "host2-eth0")
    assert why in broken.detail
    assert any(words in reason for reason in judge(story.plan, story.history()).fidelity.reasons)


def test_a_corrupted_frame_by_its_mark_on_the_way() -> None:
    story = star_story()
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
    story.drop(key, 40 * US, "host1", "host1-eth0", "in", corrupt=True)
    story.event(40 * US, "host1", Dropped("corrupt", key, 0, 2, 40 * US))
    broken = split(story)
    assert (broken.cause, broken.hop) == ("corrupted", "leaf1-eth1")


def test_a_corrupted_frame_without_any_key_is_matched_by_time() -> None:
    story = Story(plan_on(star(impairment=Impairment(10 * US, corrupt=0.1))), captured=False).round(0)
    first_step(story)
    story.send("host2", "host1", 2, 20 * US)
    story.event(40 * US, "host1", Dropped("corrupt", None, -1, -1, 40 * US))
    broken = split(story)
    assert broken.cause == "corrupted"
    assert "0.04 ms" in broken.detail


@pytest.mark.parametrize(("begun", "ended", "what"), HELD_UP)
def test_a_receiver_that_is_held_up_lets_the_frame_wait(begun: str, ended: str, what: str) -> None:
    faults = (Fault(begun, at_ns=0, target="host1"), Fault(ended, at_ns=0, target="host1"))
    story = star_story(*faults)
    story.fault(30 * US, "host1", 0)
    story.fault(150 * US, "host1", 1)
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.drop(key, 30 * US, "leaf1", "leaf1-eth2", "in")
    story.drop(key, 40 * US, "host1", "host1-eth0", "in")
    story.recv(key, 150 * US, at_ns=40 * US)
    story.resolve("host2", "host1", "committed", 20 * US)
    story.resolve("host1", "host2", "aborted", 150 * US)
    broken = only_break(story)
    assert (broken.kind, broken.cause) == ("split", what)
    assert f"host1 was {what} from 0.03 ms on" in broken.detail


@pytest.mark.parametrize(("begun", "ended", "what"), HELD_UP)
def test_an_initiator_that_is_held_up_never_sends(begun: str, ended: str, what: str) -> None:
    faults = (Fault(begun, at_ns=0, target="host1"), Fault(ended, at_ns=0, target="host1"))
    story = star_story(*faults)
    story.fault(0, "host1", 0)
    story.fault(150 * US, "host1", 1)
    story.resolve("host2", "host1", "aborted", WINDOW)
    story.resolve("host1", "host2", "aborted", 150 * US)
    broken = only_break(story)
    assert (broken.kind, broken.cause) == ("late", what)
    assert "host1 ended 50.000 us after the window" in broken.detail


def test_skew_is_blamed_on_the_last_frame() -> None:
    story = star_story()
    first_step(story)
    story.fly("host2", "host1", 2, 20 * US, 70 * US, 80 * US)
    story.resolve("host2", "host1", "committed", 20 * US)
    story.resolve("host1", "host2", "committed", 80 * US)
    broken = only_break(story)
    assert (broken.kind, broken.cause, broken.hop) == ("skew", "late", "host2-eth0")
    assert broken.frame == "host2>host1 round 0 step 2 (#1)"


def test_a_frame_refused_after_a_restart() -> None:
    story = star_story()
    story.event(-50 * US, "host2", Started(kept=False, told_ns=-50 * US))
    story.events[1] = story.events[1]._replace(t_ns=-100 * US)
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.recv(key, 40 * US)
    story.event(40 * US, "host1", Noted("stale", 0, "of another life", key, 2))
    broken = split(story)
    assert broken.cause == "crashed"
    assert "host2 was restarted" in broken.detail


def test_a_second_copy_that_comes_when_the_round_is_forgotten_does_not_undo_the_first() -> None:
    story = star_story()
    key = story.fly("host1", "host2", 1, 0, 10 * US, 20 * US)
    story.recv(key, 210 * US)
    story.event(210 * US, "host2", Noted("stale", 0, "of a forgotten round", key, 1))
    lost = story.send("host2", "host1", 2, 20 * US)
    story.drop(lost, 30 * US, "leaf1", "leaf1-eth1", "lost")
    broken = split(story)
    assert (broken.cause, broken.frame) == ("lost", "host2>host1 round 0 step 2 (#1)")


def test_a_lost_frame_whose_repetition_came_in_time_is_not_to_blame() -> None:
    """A reconciling end answers a duplicate with its last message again."""
    story = Story(plan_on(star(), depth=3, horizon="reconcile")).round(0)
    story.fly("host1", "host2", 1, 0, 10 * US, 20 * US)
    harmless = story.send("host2", "host1", 2, 20 * US)
    story.drop(harmless, 20 * US, "host2", "host2-eth0", "lost")
    story.fly("host2", "host1", 2, 25 * US, 35 * US, 45 * US)
    harmful = story.send("host1", "host2", 3, 45 * US)
    story.drop(harmful, 45 * US, "host1", "host1-eth0", "lost")
    story.resolve("host1", "host2", "committed", 45 * US)
    story.resolve("host2", "host1", "in_doubt", WINDOW)
    broken = only_break(story)
    assert (broken.cause, broken.frame, broken.hop) == ("lost", "host1>host2 round 0 step 3 (#2)", "host1-eth0")


def test_a_frame_lost_and_repeated_too_late_was_lost() -> None:
    story = Story(plan_on(star(), horizon="reconcile")).round(0)
    first_step(story)
    key = story.send("host2", "host1", 2, 20 * US)
    story.drop(key, 20 * US, "host2", "host2-eth0", "lost")
    story.fly("host2", "host1", 2, 150 * US, 160 * US, 170 * US)
    story.resolve("host2", "host1", "committed", 20 * US)
    story.resolve("host1", "host2", "in_doubt", WINDOW)
    broken = only_break(story)
    assert (broken.cause, broken.frame) == ("lost", "host2>host1 round 0 step 2 (#1)")


def test_an_end_paused_between_its_last_message_and_its_ending() -> None:
    """A fault at the moment of entering COMMITTED holds the resolution back; every message was there by then."""
    story = star_story(Fault("node_pause", at_ns=0, target="host1"))
    first_step(story)
    story.fly("host2", "host1", 2, 20 * US, 30 * US, 40 * US)
    story.fault(40 * US, "host1", 0)
    story.resolve("host2", "host1", "committed", 20 * US)
    broken = only_break(story)
    assert (broken.kind, broken.cause) == ("blocked", "paused")
    assert "host1 did not end in time: host1 was paused from 0.04 ms on" in broken.detail


def test_the_first_missing_step_is_to_blame_not_those_that_never_came_after_it() -> None:
    story = Story(plan_on(star(), depth=4, horizon="hold")).round(0)
    key = story.send("host1", "host2", 1, 0)
    story.drop(key, 0, "host1", "host1-eth0", "lost")
    story.resolve("host1", "host2", "in_doubt", WINDOW)
    story.resolve("host2", "host1", "in_doubt", WINDOW)
    broken = only_break(story)
    assert (broken.kind, broken.cause, broken.frame) == ("blocked", "lost", "host1>host2 round 0 step 1 (#1)")


def test_the_simultaneous_handshake_has_a_first_step_each_way() -> None:
    story = Story(plan_on(star(), handshake="simultaneous")).round(0)
    story.fly("host1", "host2", 1, 0, 10 * US, 20 * US)
    key = story.send("host2", "host1", 1, 0)
    story.drop(key, 0, "host2", "host2-eth0", "lost")
    story.resolve("host2", "host1", "committed", 20 * US)
    story.resolve("host1", "host2", "aborted", WINDOW)
    assert only_break(story).frame == "host2>host1 round 0 step 1 (#1)"


def test_a_frame_under_way_when_the_run_ends_is_late_not_lost() -> None:
    slow = star(impairment=Impairment(3_000 * US))
    story = Story(plan_on(slow, rounds=1), captured=False).round(0)
    story.send("host1", "host2", 1, 0)
    story.resolve("host1", "host2", "in_doubt", WINDOW)
    story.resolve("host2", "host1", "in_doubt", WINDOW)
    broken = only_break(story)
    assert broken.cause == "late"
    assert "when the run ended" in broken.detail


def test_a_run_that_recorded_outcomes_only_says_so() -> None:
    story = star_story()
    broken = split(story)
    assert (broken.cause, broken.frame) == ("unknown", "")
    assert "outcomes only" in broken.detail
