"""One plan on two engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from testbed.actions.find import named_engine
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.engines.base import Progress
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.verdicts.comparison import Comparison


def compared(plan: Plan, reference: str, other: str, progress_on: Callable[[str], Progress | None]) -> Comparison:
    """``plan`` run on both engines and the histories held against each other, frame by frame. progress_on: what is told
    of the run on an engine. Raises UserError."""
    from testbed.verdicts.comparison import compare

    try:
        return compare(*(_whole(plan, name, progress_on(name)) for name in (reference, other)))
    except ValueError as error:
        raise UserError(f"{plan.name}: {error}") from None


def _whole(plan: Plan, name: str, progress: Progress | None) -> History:
    engine = named_engine(name)
    engine.check(plan)
    history = engine.run(plan, None, progress)
    if not history.complete:
        raise UserError(f"{plan.name} on {name} was cut short: {history.why}")
    return history
