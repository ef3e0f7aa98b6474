"""Registers and elections: what their commands do, and that what is wrong with them is found under load."""

from __future__ import annotations

import pytest
from service_story import served

from testbed.nodes.registry import service_spec
from testbed.nodes.services.election.table import Offices
from testbed.nodes.services.register.table import Registers
from testbed.nodes.services.spec import StateMachine
from testbed.nodes.services.words import pack_words, words_text


def ask(state: StateMachine, *words: str | int) -> str:
    return words_text(state.apply(pack_words(*words)))


def test_a_register_is_exchanged_where_its_version_is_the_one_expected() -> None:
    state = Registers()
    assert ask(state, "read", "r") == "is  0"
    assert ask(state, "cas", "r", 0, "one") == "is one 1"
    assert ask(state, "cas", "r", 0, "two") == "differs one 1"
    assert ask(state, "write", "r", "one") == "is one 2", "the same value is another version"
    assert ask(state, "cas", "r", 1, "two") == "differs one 2"
    assert ask(state, "read", "other") == "is  0"
    assert ask(state, "cas", "r") == "refused"
    again = Registers()
    again.restore(state.snapshot())
    assert ask(again, "cas", "r", 2, "two") == "is two 3"


def test_a_leader_leads_until_it_resigns_or_its_lease_has_run_out_and_each_term_is_new() -> None:
    state = Offices()
    assert ask(state, "observe", "o") == "nobody 0"
    assert ask(state, "campaign", "o", "me", 0, 50) == "leads 1"
    assert ask(state, "campaign", "o", "you", 49, 50) == "follows me 1"
    assert ask(state, "observe", "o") == "leader me 1"
    assert ask(state, "resign", "o", 1) == "resigned"
    assert ask(state, "observe", "o") == "nobody 1"
    assert ask(state, "campaign", "o", "you", 49, 50) == "leads 2"
    assert ask(state, "campaign", "o", "me", 99, 50) == "leads 3", "the lease has run out"
    assert ask(state, "resign", "o", 2) == "stale 3"
    again = Offices()
    again.restore(state.snapshot())
    assert ask(again, "observe", "o") == "leader me 3"


LOADS = {"register": {}, "election": {"lease_ns": "1ms"}}
CUT_OFF = ["at 4ms nic_down host4 for 4ms", "at 6ms nic_down host1 for 6ms"]


@pytest.mark.parametrize(("name", "consensus"), [("register", "multi_paxos"), ("election", "raft")])
def test_it_holds_while_a_client_and_a_replica_are_cut_off(name: str, consensus: str) -> None:
    _, service = served({"kind": name}, {"mix": LOADS[name]}, CUT_OFF, protocol={"consensus": consensus})
    assert service.violations == ()
    assert service.consistency == {"linearizable": True}
    assert service.properties == dict.fromkeys(("durability", *service_spec(name).properties), True)
    assert (service.done, service.open) == (120, 0)


def test_an_exchange_whatever_is_there_is_not_linearizable() -> None:
    _, service = served({"kind": "register"}, {"mix": LOADS["register"]}, (), ("cas_ignores_version",))
    assert service.consistency == {"linearizable": False}


def test_a_term_with_two_leaders_is_found() -> None:
    _, service = served({"kind": "election"}, {"mix": LOADS["election"]}, CUT_OFF, ("token_again",))
    assert service.properties["leadership"] is False
    assert any("office was given under" in told and "twice" in told for told in service.violations)
