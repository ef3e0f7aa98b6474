"""One scenario on two engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.actions.compare import compared
from testbed.api.runs import Progress
from testbed.api.scenarios import Scenario, scenario_of
from testbed.scenario import compile_plan
from testbed.verdicts.comparison import Comparison


def compare(
    scenario: Scenario | str | Path | Mapping[str, Any],
    reference: str = "sim",
    other: str = "vkernel",
    progress: Progress | None = None,
) -> Comparison:
    """Run a scenario on two engines and hold every frame, event row and end of a swap of one against the other's.

    ``equal`` of the result tells whether the two are one run; its other fields how many frames and rows differ, where
    the two part, and by how many nanoseconds delays do. Raises testbed.Error when one of the engines can't run it.

    >>> import testbed
    >>> testbed.compare("last-message-lost", "sim", "sim").equal
    True
    """
    plan = compile_plan(scenario_of(scenario)._inner)
    return compared(plan, reference, other, lambda _: progress)
