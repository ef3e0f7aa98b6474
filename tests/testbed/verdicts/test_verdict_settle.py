"""Whether an instance ended does not depend on where the run does: for every engine that decides without rounds."""

from __future__ import annotations

import pytest

from testbed.engines.sim import SimEngine
from testbed.nodes.consensus.spec import INSTANCES
from testbed.nodes.registry import engine_spec, engine_specs
from testbed.scenario import from_data
from testbed.scenario.compile import compile_plan
from testbed.verdicts import judge
from testbed.verdicts.model import Consensus

OF_MESSAGES = [spec.name for spec in engine_specs() if spec.decides and not spec.made_of_swaps]


def hosts(consensus: str) -> int:
    """Five, or as many as bear a death."""
    return next(n for n in range(5, 16) if engine_spec(consensus).most_f(n))


def deaths(consensus: str) -> int:
    """Two, if so many are borne."""
    return min(2, engine_spec(consensus).most_f(hosts(consensus)))


def ended(consensus: str, settle: str | None = None, loss: str = "2%", seed: int = 1, depth: int = 4) -> Consensus:
    """Twelve instances on a lossy star, a host or two of which die on the way."""
    data = {
        "name": "ended",
        "topology": {"kind": "star", "hosts": hosts(consensus)},
        "links": {"default": {"delay": "20us", "jitter": "10us", "distribution": "pareto", "loss": loss}},
        "protocol": {
            "consensus": consensus,
            "window": "1ms",
            "retry": "200us",
            "instances": 12,
            "f": deaths(consensus),
            "depth": depth,
        },
        "faults": [
            {"at": "1100us", "do": "node_kill", "on": "host1"},
            {"at": "2850us", "do": "node_kill", "on": "host2"},
        ][: deaths(consensus)],
        "seed": seed,
        "capture": False,
    } | ({} if settle is None else {"settle": settle})
    plan = compile_plan(from_data(data))
    verdict = judge(plan, SimEngine(events="outcomes").run(plan)).consensus
    assert verdict is not None
    return verdict


def due(consensus: str) -> int:
    """How many must end at the least: all instances; what those hosts submit that live on."""
    return 12 if engine_spec(consensus).order == INSTANCES else (hosts(consensus) - deaths(consensus)) * 12


@pytest.mark.parametrize("consensus", OF_MESSAGES)
def test_a_run_that_ends_early_cuts_instances_off_and_calls_none_undecided(consensus: str) -> None:
    cut = 0
    for seed in range(4):
        for settle in ("0us", "60us", "300us", "2ms"):
            early = ended(consensus, settle, loss="40%", seed=seed)
            assert early.undecided == ()
            assert early.decided + len(early.cut_off) >= due(consensus)
            cut += len(early.cut_off)
    assert cut, "some were still at it"


@pytest.mark.parametrize("consensus", OF_MESSAGES)
def test_the_time_to_settle_holds_retries_enough_for_losses(consensus: str) -> None:
    """Ben-Or's was given none, and the time of both grew with the depth of swaps that they do not make."""
    for seed in range(5):
        done = ended(consensus, loss="10%", seed=seed)
        assert done.decided >= due(consensus)
        assert done.undecided == done.cut_off == ()
    assert ended(consensus, depth=200) == ended(consensus, depth=2)


@pytest.mark.parametrize("consensus", OF_MESSAGES)
def test_an_instance_that_cannot_end_is_undecided(consensus: str) -> None:
    verdict = ended(consensus, loss="100%")
    assert (verdict.decided, len(verdict.undecided), verdict.cut_off) == (0, due(consensus), ())
