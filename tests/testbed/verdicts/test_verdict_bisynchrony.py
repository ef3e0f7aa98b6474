"""When bisynchrony holds in a round, and when and how it breaks."""

from dataclasses import replace

import pytest
from verdict_story import US, WINDOW, Story, pair, plan_on, star

from testbed.nodes.core import Outcome, Resolve, RoundStart, swap_id
from testbed.nodes.core.lies import Lie, LieKind
from testbed.nodes.core.record import Died, Noted, Started, TimerFired
from testbed.plan import Fault
from testbed.verdicts import judge


def told(*endings: tuple[str, str, str, int], plan=None, round_: int = 0, **history) -> object:
    story = Story(plan or plan_on(pair())).round(round_)
    for node, peer, outcome, t_ns in endings:
        story.resolve(node, peer, outcome, t_ns, round_)
    return judge(story.plan, story.history(**history)).bisynchrony


def both(one: tuple[str, int], other: tuple[str, int], **more) -> object:
    return told(("host1", "host2", *one), ("host2", "host1", *other), **more)


def test_a_swap_committed_at_both_ends_in_time_holds() -> None:
    verdict = both(("committed", 20 * US), ("committed", 10 * US))
    assert verdict.holds
    assert verdict.rounds == 1
    assert verdict.swaps == {"committed": 1, "aborted": 0, "split": 0, "blocked": 0, "excluded": 0}


def test_aborting_at_both_ends_is_atomic_too() -> None:
    verdict = both(("aborted", WINDOW), ("aborted", WINDOW))
    assert verdict.holds
    assert verdict.swaps["aborted"] == 1


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (("committed", 20 * US), ("aborted", WINDOW), "split"),
        (("committed", 20 * US), ("in_doubt", WINDOW), "blocked"),
        (("aborted", WINDOW), ("aborted", WINDOW + 1), "late"),
        (("committed", 20 * US), ("committed", 60 * US), "skew"),
        (("committed", 20 * US), ("aborted", WINDOW + 9), "split"),  # also late: the split goes first
        (("in_doubt", WINDOW + 9), ("in_doubt", WINDOW), "blocked"),  # blocked before late
        (("committed", 1), ("committed", WINDOW + 1), "late"),  # late before skew
    ],
)
def test_kinds_and_which_goes_first(one: tuple[str, int], other: tuple[str, int], kind: str) -> None:
    verdict = both(one, other)
    assert [broken.kind for broken in verdict.breaks] == [kind]
    assert verdict.broken_rounds == (0,)
    assert sum(verdict.swaps.values()) == 1


def test_exactly_at_the_window_and_exactly_epsilon_apart_is_in_time() -> None:
    assert both(("aborted", WINDOW), ("aborted", WINDOW)).holds
    assert both(("committed", 20 * US), ("committed", 50 * US)).holds


def test_an_end_that_never_resolves_blocks() -> None:
    verdict = told(("host1", "host2", "committed", 20 * US))
    assert verdict.breaks[0].kind == "blocked"
    assert verdict.swaps["blocked"] == 1


def test_what_was_in_doubt_at_the_window_stays_blocked_though_it_commits_later() -> None:
    verdict = told(
        ("host1", "host2", "committed", 20 * US),
        ("host2", "host1", "in_doubt", WINDOW),
        ("host2", "host1", "committed", WINDOW + 40 * US),
    )
    assert verdict.breaks[0].kind == "blocked"


def test_what_was_in_doubt_and_then_ends_differently_is_a_split() -> None:
    verdict = told(
        ("host1", "host2", "committed", 20 * US),
        ("host2", "host1", "in_doubt", WINDOW),
        ("host2", "host1", "aborted", WINDOW + 40 * US),
    )
    assert verdict.breaks[0].kind == "split"


def test_a_late_timer_within_the_engines_tolerance_is_on_time() -> None:
    story = Story(plan_on(pair())).round(0)
    story.resolve("host1", "host2", "aborted", WINDOW)
    story.resolve("host2", "host1", "aborted", WINDOW + 5 * US)
    history = story.history()
    history.meta["timer_tolerance_ns"] = 5 * US
    assert judge(story.plan, history).bisynchrony.holds


def test_two_aborts_that_lag_within_the_tolerance_are_not_skewed() -> None:
    story = Story(plan_on(pair(), epsilon_ns=1 * US)).round(0)
    story.resolve("host1", "host2", "aborted", WINDOW)
    story.resolve("host2", "host1", "aborted", WINDOW + 5 * US)
    history = story.history()
    history.meta["timer_tolerance_ns"] = 5 * US
    assert judge(story.plan, history).bisynchrony.holds
    history.meta["timer_tolerance_ns"] = 5 * US - 1
    assert judge(story.plan, history).bisynchrony.breaks[0].kind == "late"


@pytest.mark.parametrize(("first", "then"), [("committed", "aborted"), ("aborted", "committed")])
def test_an_end_that_ends_both_ways_is_a_split_whatever_its_peer_says(first: str, then: str) -> None:
    verdict = told(
        ("host1", "host2", first, 20 * US), ("host1", "host2", then, 30 * US), ("host2", "host1", first, 20 * US)
    )
    assert (verdict.breaks[0].kind, verdict.swaps["split"]) == ("split", 1)


def test_an_end_that_ends_both_ways_is_named_when_no_frame_is_to_blame() -> None:
    story = Story(plan_on(pair())).round(0)
    story.fly("host1", "host2", 1, 0, 10 * US)
    story.fly("host2", "host1", 2, 10 * US, 20 * US)
    for node, peer, outcome in (("host1", "host2", "committed"), ("host2", "host1", "committed")):
        story.resolve(node, peer, outcome, 20 * US)
    story.resolve("host2", "host1", "aborted", WINDOW)
    (found,) = judge(story.plan, story.history()).bisynchrony.breaks
    assert (found.kind, found.cause, found.detail) == ("split", "unknown", "host2 ended it both ways")


class TestValues:
    """Each node offers one register to all neighbours of a round: a, b and c here."""

    def broken(self, **told_of_c: bytes) -> list[tuple[str, str]]:
        """The swaps that break when host1 and host2 committed these values of host3."""
        story = Story(plan_on(star(3))).round(0)
        offered = {"host1": b"a", "host2": b"b", "host3": b"c"}
        for node in offered:
            for peer, value in offered.items():
                if node != peer:
                    committed = told_of_c.get(node, value) if peer == "host3" else value
                    story.resolve(node, peer, "committed", 20 * US, value=committed)
        return [(found.link, found.kind) for found in judge(story.plan, story.history()).bisynchrony.breaks]

    def test_every_neighbour_holding_the_same_is_atomic(self) -> None:
        assert self.broken() == []

    def test_a_value_that_another_neighbour_did_not_get_is_a_split(self) -> None:
        assert self.broken(host2=b"d") == [("host1<->host3", "split"), ("host2<->host3", "split")]

    def pair_that_committed(self, value: bytes) -> list[str]:
        """The breaks when host1, of two, committed ``value`` where host2 offered b."""
        story = Story(plan_on(pair()))
        for node, offered in (("host1", b"a"), ("host2", b"b")):
            story.event(0, node, RoundStart(0, offered))
        story.resolve("host1", "host2", "committed", 20 * US, value=value)
        story.resolve("host2", "host1", "committed", 20 * US, value=b"a")
        return [found.kind for found in judge(story.plan, story.history()).bisynchrony.breaks]

    def test_a_committed_value_that_was_never_offered_is_a_split_on_a_pair_too(self) -> None:
        """No third node tells of the register there: only the offer itself does."""
        assert self.pair_that_committed(b"b") == []
        assert self.pair_that_committed(b"d") == ["split"]

    def test_a_committed_value_that_the_peer_itself_denies_is_a_split(self) -> None:
        story = Story(plan_on(pair(), horizon="reconcile")).round(0)
        story.resolve("host1", "host2", "committed", 20 * US, value=b"d")
        story.resolve("host2", "host1", "in_doubt", WINDOW, value=b"b")
        story.resolve("host2", "host1", "committed", WINDOW + 9, value=b"a")
        assert judge(story.plan, story.history()).bisynchrony.breaks[0].kind == "split"


def test_a_round_nobody_started_and_one_that_the_runs_end_cuts_off_are_not_judged() -> None:
    plan = plan_on(pair())  # ends at 2000 us: round 10 would end at 2100 us
    story = Story(plan).round(0).round(10)
    for end, peer in (("host1", "host2"), ("host2", "host1")):
        story.resolve(end, peer, "committed", 20 * US)
    assert judge(plan, story.history()).bisynchrony.rounds == 1


def test_a_run_cut_short_is_judged_as_far_as_it_went() -> None:
    story = Story(plan_on(pair())).round(0).round(1)
    for end, peer in (("host1", "host2"), ("host2", "host1")):
        story.resolve(end, peer, "aborted", WINDOW)
    verdicts = judge(story.plan, story.history(complete=False, why="interrupted"))
    assert verdicts.bisynchrony.rounds == 1
    assert not verdicts.fidelity.trusted


def test_what_a_cut_short_record_lacks_is_not_held_against_the_round() -> None:
    """host2's record ends with the instant at which host1 aborted; its own abort may be what is missing."""
    story = Story(plan_on(pair())).round(0)
    story.resolve("host1", "host2", "aborted", WINDOW)
    story.event(WINDOW, "host2", TimerFired("horizon", WINDOW))
    story.event(3 * WINDOW // 2, "host1", Noted("late", -1, "of little interest", None, -1))
    assert judge(story.plan, story.history(complete=False, why="killed")).bisynchrony.rounds == 0
    assert judge(story.plan, story.history()).bisynchrony.breaks[0].kind == "blocked"


class TestLives:
    """Who counts as live."""

    plan = plan_on(star(3), faults=(Fault("node_kill", at_ns=50 * US, target="host3"),))

    def story(self, died_at: int, rounds: int = 2) -> Story:
        story = Story(self.plan)
        for round_ in range(rounds):
            story.round(round_)
            start = round_ * 2 * WINDOW
            for one, other in (("host1", "host2"), ("host1", "host3"), ("host2", "host3")):
                story.resolve(one, other, "aborted", start + WINDOW, round_)
                story.resolve(other, one, "aborted", start + WINDOW, round_)
        story.events = [e for e in story.events if e.node != "host3" or e.t_ns < died_at]
        story.fault(died_at, "host3", 0)
        story.event(died_at, "host3", Died())
        return story

    def test_a_killed_node_is_excluded_from_the_round_of_its_death_on(self) -> None:
        story = self.story(50 * US)
        swaps = judge(self.plan, story.history()).bisynchrony.swaps
        assert swaps == {"committed": 0, "aborted": 2, "split": 0, "blocked": 0, "excluded": 4}

    def test_one_that_dies_between_rounds_was_live_in_the_one_before(self) -> None:
        story = self.story(WINDOW + 1)
        assert judge(self.plan, story.history()).bisynchrony.swaps["excluded"] == 2

    def test_one_that_dies_at_the_very_window_was_not(self) -> None:
        """Faults come before timers at equal instants: it never resolved."""
        story = self.story(WINDOW)
        assert judge(self.plan, story.history()).bisynchrony.swaps["excluded"] == 4

    def test_a_restarted_node_is_live_again_from_the_next_round_on(self) -> None:
        story = self.story(50 * US)
        story.event(70 * US, "host3", Started(kept=True, told_ns=0))
        start = 2 * WINDOW
        for peer in ("host1", "host2"):
            story.resolve("host3", peer, "aborted", start + WINDOW, 1)
        verdict = judge(self.plan, story.history()).bisynchrony
        assert verdict.swaps["excluded"] == 2
        assert verdict.swaps["aborted"] == 4

    @pytest.mark.parametrize("state", ["fresh", "kept"])
    def test_a_node_restarted_at_the_very_start_of_a_round_is_not_yet_live(self, state: str) -> None:
        """A fresh machine joins what begins later, and the life before may have begun this round and said something."""
        story = self.story(50 * US)
        story.event(2 * WINDOW, "host3", Started(state == "kept", 2 * WINDOW))
        assert judge(self.plan, story.history()).bisynchrony.swaps["excluded"] == 4

    def test_a_restarted_node_that_tells_an_old_ending_again_changes_nothing(self) -> None:
        plan = plan_on(pair())
        story = Story(plan).round(0)
        for end, peer in (("host1", "host2"), ("host2", "host1")):
            story.resolve(end, peer, "committed", 20 * US)
        story.event(150 * US, "host2", Died())
        story.event(160 * US, "host2", Started(kept=True, told_ns=0))
        story.resolve("host2", "host1", "committed", 160 * US)
        assert judge(plan, story.history()).bisynchrony.holds

    def test_a_split_with_a_node_that_died_does_not_break_the_round_but_is_told(self) -> None:
        plan = plan_on(pair(), faults=(Fault("node_kill", at_ns=50 * US, target="host1"),))
        story = Story(plan).round(0)
        story.resolve("host1", "host2", "committed", 20 * US)
        story.event(50 * US, "host1", Died())
        story.resolve("host2", "host1", "aborted", WINDOW)
        verdicts = judge(plan, story.history())
        assert verdicts.bisynchrony.holds
        assert "1 of the excluded swaps ended split" in verdicts.notes[0]


def test_message_engines_have_no_swaps_to_judge() -> None:
    plan = plan_on(pair(), consensus="paxos")
    verdict = judge(plan, Story(plan).history()).bisynchrony
    assert (verdict.rounds, sum(verdict.swaps.values())) == (0, 0)


# -- lies --------------------------------------------------------------------------------------------------------------


def test_a_swap_of_a_liar_is_excluded_and_what_it_tells_of_others_is_no_evidence() -> None:
    """host1 lies: its swap with host2 ends split, and it tells of another register of host3's than host3 offered."""
    honest = plan_on(star(3))
    lying = replace(honest, nodes=(replace(honest.nodes[0], lies=(Lie(LieKind.WRONG_VALUE),)), *honest.nodes[1:]))
    judged = {}
    for name, plan in (("honest", honest), ("lying", lying)):
        story = Story(plan)
        for host in ("host1", "host2", "host3"):
            story.event(0, host, RoundStart(0, host.encode()))
        for node, swap, outcome, value in (
            ("host1", (0, 1), Outcome.COMMITTED, b"host2"),
            ("host2", (0, 1), Outcome.ABORTED, b"host2"),
            ("host1", (0, 2), Outcome.COMMITTED, b"made up"),
            ("host3", (0, 2), Outcome.COMMITTED, b"host1"),
            ("host2", (1, 2), Outcome.COMMITTED, b"host3"),
            ("host3", (1, 2), Outcome.COMMITTED, b"host2"),
        ):
            story.event(50 * US, node, Resolve(swap_id(0, *swap), outcome, value))
        judged[name] = judge(plan, story.history())
    assert judged["honest"].bisynchrony.swaps["split"] == 3
    assert judged["lying"].bisynchrony.holds
    swaps = judged["lying"].bisynchrony.swaps
    assert (swaps["committed"], swaps["excluded"], swaps["split"]) == (1, 2, 0)
    assert judged["lying"].lies == {"host1": {}}
    assert judged["lying"].notes == ("host1 lies (no lie is in the record): the verdicts bind the others only",)
