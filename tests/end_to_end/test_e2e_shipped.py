"""The shipped scenarios on a real kernel: each gives the golden verdict that it gives on the simulator."""

from __future__ import annotations

import pytest
from needs import ROOT

from testbed.engines.vkernel.engine import VKernelEngine
from testbed.scenario import compile_plan, load
from testbed.verdicts import judge
from testbed.verdicts.words import in_words

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

SHORT = (
    "bridged-partition",
    "churn",
    "corrupt-optics",
    "crash-after-k-sends",
    "drift-past-window",
    "flapping-nic",
    "half-dead-nic",
    "incast",
    "jitter-burst",
    "last-message-lost",
    "long-values",
    "mute-host",
    "nic-crash-after-swap",
    "nic-crash-before-swap",
    "one-way-partition",
    "partition-and-heal",
    "rack-crash",
    "random-chaos",
    "reconcile-restart",
    "rolling-restart",
    "send-omission",
    "slow-node",
    "spine-loss",
)
"""Those that a kernel runs in a few seconds; the others' plans differ from these in length and load."""


@pytest.mark.parametrize("name", SHORT)
def test_the_kernel_gives_the_golden_verdict(name: str, kernel) -> None:
    plan = compile_plan(load(ROOT / "scenarios" / f"{name}.yaml"))
    verdict = in_words(judge(plan, VKernelEngine().run(plan)))
    assert verdict == (ROOT / "tests" / "golden" / f"{name}.verdict.txt").read_text(encoding="utf-8")
