"""How many crashes each engine bears, sharp both ways: with f dead members all others decide all, with one more none.

The engines of the asynchronous model stall beyond their bound; floodset, which waits for nobody, answers wrongly. Who
keeps its state outside of any disk (EngineSpec.recovers) counts as dead until the others have told it what it lost.
"""

from __future__ import annotations

import pytest

from testbed.engines.sim import SimEngine
from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core import Decide
from testbed.nodes.registry import engine_specs
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge
from testbed.verdicts.model import Consensus

LATE_NS = 45_000_000  # members die at 20 ms, somebody else leads soon after, and all ends at 60 ms
INDULGENT = [spec for spec in engine_specs() if spec.decides and spec.indulgent]
indulgent = pytest.mark.parametrize("spec", INDULGENT, ids=[spec.name for spec in INDULGENT])


def with_dead(spec: EngineSpec, more: int) -> tuple[Consensus, int]:
    """As few members as bear a crash, f and ``more`` of them dead, the first to lead among them: the verdict, and how
    much the others have decided since long after that."""
    n = next(n for n in range(2, 10) if spec.most_f(n) >= 1)
    f = spec.most_f(n)
    swaps = {"rounds": 600, "window": "100us", "handshake": "simultaneous"}
    scenario = {
        "name": "bounds",
        "topology": {"kind": "star", "hosts": n},
        "links": {"default": {"delay": "20us"}},
        "protocol": {"consensus": spec.name, "f": f, "retry": "300us"}
        | (swaps if spec.made_of_swaps else {"instances": 60, "window": "1ms"}),
        "faults": [{"at": "20ms", "do": "node_kill", "on": f"host{number}"} for number in range(1, f + more + 1)],
    }
    plan = compile_plan(from_data(scenario))
    history = SimEngine(hops=False).run(plan)
    verdict = judge(plan, history).consensus
    assert verdict is not None
    return verdict, sum(t_ns > LATE_NS for t_ns, _, _ in history.events.of_kind(Decide))


@indulgent
def test_with_f_members_dead_the_others_decide_everything(spec: EngineSpec) -> None:
    verdict, since = with_dead(spec, 0)
    assert (verdict.disagreements, verdict.invalid, verdict.undecided) == ((), (), ())
    assert verdict.decided > 0
    assert since > 0


@indulgent
def test_with_one_more_nothing_is_decided_any_more_and_nothing_wrongly(spec: EngineSpec) -> None:
    verdict, since = with_dead(spec, 1)
    assert (verdict.disagreements, verdict.invalid) == ((), ())
    assert since == 0
    assert verdict.undecided


@pytest.mark.parametrize(("f", "disagreements"), [(1, 1), (2, 0)])
def test_two_deaths_are_too_many_for_rounds_meant_for_one(f: int, disagreements: int) -> None:
    """floodset: host1 tells its value, the least, to host2 alone and dies; host2 tells it to host3 alone and dies. In
    f + 1 = 2 rounds host4 never hears of it and decides otherwise; in three it does."""
    rounds = f + 1
    scenario = {
        "name": "chain",
        "topology": {"kind": "star", "hosts": 4},
        "links": {"default": {"delay": "20us"}},
        "protocol": {
            "consensus": "floodset", "f": f, "rounds": rounds, "window": "100us", "period": "200us",
            "handshake": "simultaneous",
        },
        "faults": [
            {"when": {"node": "host1", "after_sends": 1, "round": 0}, "do": "node_kill"},
            {"when": {"node": "host2", "after_sends": 2, "round": 1}, "do": "node_kill"},
        ],
    }  # fmt: skip
    plan = compile_plan(from_data(scenario))
    verdict = judge(plan, SimEngine().run(plan)).consensus
    assert verdict is not None
    assert len(verdict.disagreements) == disagreements
    assert verdict.decided == 1
