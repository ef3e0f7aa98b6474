"""What every engine offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from testbed.errors import UserError
from testbed.plan import Plan

if TYPE_CHECKING:  # a guest's supervisor comes through here and has no need of numpy
    from testbed.history import History

SCRATCH = "oae-testbed-"
"""How the names of our scratch directories begin, so that `testbed clean` knows those that a SIGKILL left behind."""

Progress = Callable[[str, float], None]
"""Called with a short phrase and the fraction done (0..1)."""


class EngineUnavailable(UserError):  # noqa: N818 (says what it means)
    """This host cannot run the engine (or not this plan on it). what, why, and what the user can do about it."""

    def __init__(self, what: str, why: str, advice: str) -> None:
        super().__init__(f"{what}: {why}. {advice}")
        self.what, self.why, self.advice = what, why, advice


class Engine(Protocol):
    """Runs plans. ``directory`` is the run's own: captures and logs go there."""

    name: str

    def check(self, plan: Plan) -> None:
        """Raises EngineUnavailable when this host can't run ``plan``."""

    def run(self, plan: Plan, directory: Path | None = None, progress: Progress | None = None) -> History:
        """Runs to the end and returns what happened. Interruptible; leaves nothing running behind."""
