"""What a training is coordinated by: barriers, all-reduce, a parameter server; workers that are cut off, held up, or
come back."""

from __future__ import annotations

from typing import Any

import pytest
from service_story import served

from testbed.nodes.registry import service_spec
from testbed.nodes.services.all_reduce.load import AllReduceLoad
from testbed.nodes.services.all_reduce.load import Mix as AllReduceMix
from testbed.nodes.services.all_reduce.table import Reduction
from testbed.nodes.services.barrier.table import Barrier
from testbed.nodes.services.parameter_server.load import Mix as ServerMix
from testbed.nodes.services.parameter_server.load import TrainingLoad
from testbed.nodes.services.parameter_server.table import Model
from testbed.nodes.services.spec import Asker, Load, StateMachine
from testbed.nodes.services.words import pack_words, words_text


def ask(state: StateMachine, *words: Any) -> str:
    return words_text(state.apply(pack_words(*words)))


def test_a_barrier_opens_when_the_last_one_has_come_and_a_worker_counts_once() -> None:
    state = Barrier()
    assert ask(state, "enter", 0, 1, 3) == "waiting 0 1"
    assert ask(state, "enter", 0, 1, 3) == "waiting 0 1", "its next life"
    assert ask(state, "enter", 1, 1, 3) == "waiting 1 ", "nobody is there yet"
    assert ask(state, "enter", 0, 0, 3) == "waiting 0 0,1"
    assert ask(state, "poll", 0) == "waiting 0 0,1"
    assert ask(state, "enter", 0, 2, 3) == "open 0"
    assert ask(state, "poll", 0) == "open 0"
    assert ask(state, "enter", 0, 1, 3) == "open 0"
    assert ask(state, "poll", 1) == "waiting 1 "
    planted = Barrier(["counts_arrivals"])
    assert [ask(planted, "enter", 0, 1, 3) for _ in range(3)][-1] == "open 0"


def test_a_sum_is_told_when_all_have_contributed_and_forgotten_when_all_have_seen_it() -> None:
    state = Reduction()
    assert ask(state, "contribute", 0, 0, 2, [1, 2]) == "waiting 0 0"
    assert ask(state, "contribute", 0, 0, 2, [1, 2]) == "waiting 0 0", "its next life"
    assert ask(state, "contribute", 0, 1, 2, [10, 20, 30]) == "sum 0 11,22,30"
    assert ask(state, "contribute", 1, 0, 2, [5]) == "waiting 1 0"
    again = Reduction()
    again.restore(state.snapshot())
    assert again.snapshot() == state.snapshot()
    assert ask(again, "poll", 0) == "sum 0 11,22,30"
    assert ask(again, "contribute", 1, 1, 2, [6]) == "sum 1 11"
    assert ask(again, "poll", 0) == "past 2"
    planted = Reduction(["adds_again"])
    ask(planted, "contribute", 0, 0, 2, [1])
    ask(planted, "contribute", 0, 0, 2, [1])
    assert ask(planted, "contribute", 0, 1, 2, [10]) == "sum 0 12"


def test_a_model_is_given_to_who_is_not_too_far_ahead_and_takes_each_gradient_once() -> None:
    state = Model()
    assert ask(state, "pull", 0, 0, 2) == "model 0,0 "
    assert ask(state, "push", 0, 0, [1]) == "pushed 0"
    assert ask(state, "push", 0, 0, [1]) == "pushed 0", "its next life"
    assert ask(state, "push", 2, 0, [9]) == "refused", "1 has not come"
    assert ask(state, "pull", 1, 0, 2) == "waiting 1,0"
    assert ask(state, "pull", 1, 1, 2) == "model 1,0 1"
    assert ask(state, "push", 0, 1, [10]) == "pushed 0"
    assert ask(state, "pull", 1, 0, 2) == "model 1,1 11"
    again = Model()
    again.restore(state.snapshot())
    assert again.snapshot() == state.snapshot()
    assert ask(state, "pull", 0, 0, 0) == "refused"
    planted = Model(["pushes_again"])
    ask(planted, "push", 0, 0, [1])
    ask(planted, "push", 0, 0, [1])
    assert ask(planted, "pull", 1, 5, 2) == "model 1,0 2"


@pytest.mark.parametrize(
    ("state", "load"),
    [
        (Reduction(), AllReduceLoad(Asker(1, "h.1"), AllReduceMix())),
        (Model(), TrainingLoad(Asker(1, "h.1"), ServerMix())),
    ],
    ids=["all_reduce", "parameter_server"],
)
def test_a_worker_that_comes_back_goes_on_where_the_others_are(state: StateMachine, load: Load) -> None:
    def said(load: Load, times: int) -> list[str]:
        found = []
        for number in range(times):
            call = load.call(number, 0)
            result = state.apply(call)
            load.returned(call, result)
            found.append(f"{words_text(call).split()[0]} {words_text(call).split()[1]}")
        return found

    before = said(load, 20)
    after = said(type(load)(Asker(1, "h.2"), load.mix), 8)  # type: ignore[attr-defined, call-arg]
    assert int(after[-1].split()[1]) > int(before[-1].split()[1])
    assert len(after) - len(set(after)) <= 1, "it does not do over what is done"


WORKERS: dict[str, Any] = {"hosts": ["host[456]"], "operations": 70}
BEFALL = ["at 4ms nic_down host6 for 5ms", "at 6ms node_kill host4 for 1ms", "at 10ms nic_down host1 for 5ms"]
"""A worker is cut off in the middle of a round, another comes back with nothing, and then a replica is cut off."""


@pytest.mark.parametrize(
    ("name", "consensus", "reads"),
    [("barrier", "zab", "log"), ("all_reduce", "raft", "index"), ("all_reduce", "paxos", "log"),
     ("parameter_server", "multi_paxos", "lease"), ("parameter_server", "epaxos", "log")],
)  # fmt: skip
def test_a_training_goes_on_right_whatever_befalls_its_workers(name: str, consensus: str, reads: str) -> None:
    protocol = {"consensus": consensus, "instances": 400}
    _, service = served({"kind": name, "reads": reads}, WORKERS, BEFALL, protocol=protocol)
    assert service.violations == ()
    assert service.properties == dict.fromkeys(("durability", *service_spec(name).properties), True)
    assert service.done > 150
    assert service.open <= 1, "what the life that ended had asked for"


HELD_UP = ["at 4ms node_pause host6 for 6ms", "at 6ms node_kill host4 for 1ms"]


@pytest.mark.parametrize(
    ("name", "pitfall", "broken", "said"),
    [
        ("barrier", "counts_arrivals", {"barrier"}, "before worker 2 had entered it"),
        ("all_reduce", "counts_arrivals", {"barrier", "sums"}, "before worker 2 had entered it"),
        ("all_reduce", "adds_again", {"sums"}, "; what was contributed comes to "),
        ("parameter_server", "waits_for_nobody", {"staleness"}, "lacks more than 0 iterations of worker 2"),
    ],
)
def test_what_is_wrong_with_it_is_found(name: str, pitfall: str, broken: set[str], said: str) -> None:
    _, sound = served({"kind": name}, WORKERS, HELD_UP)
    assert sound.holds
    _, planted = served({"kind": name}, WORKERS, HELD_UP, (pitfall,))
    assert {name for name, holds in planted.properties.items() if not holds} == broken
    assert any(said in told for told in planted.violations)


def test_a_worker_may_be_ahead_by_as_much_as_the_staleness_allows_and_no_more() -> None:
    def furthest(staleness: int) -> int:
        """In which iteration host4 was when host6, which stands still, was in its third or so."""
        clients = {**WORKERS, "mix": {"staleness": staleness}}
        history, service = served({"kind": "parameter_server"}, clients, ["at 2ms node_pause host6 for 20ms"])
        assert service.holds
        pulled = [
            words_text(one.what.call).split() for one in history.events if type(one.what).__name__ == "Invoke"
            and one.node == "host4" and one.t_ns < 20_000_000
        ]  # fmt: skip
        return max(int(words[1]) for words in pulled if words[0] == "pull")

    assert furthest(3) == furthest(0) + 3
