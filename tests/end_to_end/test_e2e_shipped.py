"""The shipped scenarios on a real kernel: each gives the golden verdict that it gives on the simulator."""

from __future__ import annotations

import pytest
from needs import ROOT

from testbed.engines.vkernel.engine import VKernelEngine
from testbed.scenario import compile_plan, load
from testbed.verdicts import judge
from testbed.verdicts.words import in_words

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

SHIPPED = sorted(file.stem for file in (ROOT / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_kernel_gives_the_golden_verdict(name: str, kernel) -> None:
    plan = compile_plan(load(ROOT / "scenarios" / f"{name}.yaml"))
    verdict = in_words(judge(plan, VKernelEngine().run(plan)))
    assert verdict == (ROOT / "tests" / "golden" / f"{name}.verdict.txt").read_text(encoding="utf-8")
