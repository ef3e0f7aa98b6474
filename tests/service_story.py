"""Services as stories on the simulator: three replicas, clients beside them, and what befalls them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.nodes.registry import build_machine, engine_spec
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge
from testbed.verdicts.model import Service

CLOSED = {"operations": 60, "think": "50us", "timeout": "4ms"}


def served(
    service: dict[str, Any],
    clients: dict[str, Any],
    faults: Sequence[Any] = (),
    pitfalls: tuple[str, ...] = (),
    protocol: dict[str, Any] = {},  # noqa: B006
    **settings: Any,
) -> tuple[History, Service]:
    """Replicas are host1 to host3, clients host4 and host5 unless ``clients`` says otherwise; host4 begins with host1,
    which leads where the engine is multi_paxos, host5 with host2."""
    data: dict[str, Any] = {
        "name": "x",
        "topology": {"kind": "star", "hosts": 6},
        "links": {"default": {"delay": "20us", "jitter": "5us"}},
        "protocol": {"consensus": "multi_paxos", "window": "1ms", "instances": 60, "retry": "300us",
                     "participants": ["host[123]"], **protocol},
        "service": {"snapshot_every": 16, **service},
        "clients": {"hosts": ["host[45]"], **CLOSED, **clients},
        "faults": list(faults),
        "seed": 5,
        **settings,
    }  # fmt: skip
    spec = engine_spec(data["protocol"]["consensus"])
    data["protocol"].setdefault("f", min(1, spec.most_f(3)))
    if spec.made_of_swaps:
        data["protocol"] |= {"window": "250us", "rounds": 600}
        del data["protocol"]["instances"], data["protocol"]["retry"]
    data["clients"] = {key: value for key, value in data["clients"].items() if value is not None}
    plan = compile_plan(from_data(data))
    history = SimEngine(build=partial(build_machine, pitfalls=pitfalls)).run(plan)
    judged = judge(plan, history).service
    assert judged is not None
    return history, judged
