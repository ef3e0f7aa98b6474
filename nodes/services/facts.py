"""What clients' calls and results mean, in terms that many services share: what testbed.verdicts.coordination judges.

An Entered, Contributed or Pushed is asked for, and counts from the call on, whatever comes of it; the others are told.
"""

from __future__ import annotations

from typing import NamedTuple


class Granted(NamedTuple):
    """Who asked holds ``what`` from now on (a lock, the leadership), under a token that nobody else ever had of it."""

    what: str
    token: int
    holder: str


class Holds(NamedTuple):
    """``holder`` is told to hold ``what``."""

    what: str
    token: int
    holder: str


class Wrote(NamedTuple):
    """The resource that ``what`` guards took what was written under this token."""

    what: str
    token: int


class Entered(NamedTuple):
    """``worker`` is at the barrier of ``round``, one of ``of``."""

    round: int
    worker: int
    of: int


class Left(NamedTuple):
    """The barrier of ``round`` is open."""

    round: int


class Contributed(NamedTuple):
    """What ``worker`` adds to the sum of ``round``."""

    round: int
    worker: int
    values: tuple[int, ...]


class Reduced(NamedTuple):
    """The sum of ``round``."""

    round: int
    values: tuple[int, ...]


class Pushed(NamedTuple):
    """What ``worker`` adds to the model in its ``iteration``."""

    iteration: int
    worker: int
    values: tuple[int, ...]


class Pulled(NamedTuple):
    """The model, as a worker in ``iteration`` was given it, who bears one that lacks ``staleness`` iterations.
    clocks: of each worker, how many iterations are in it."""

    iteration: int
    staleness: int
    clocks: tuple[int, ...]
    values: tuple[int, ...]


Fact = Granted | Holds | Wrote | Entered | Left | Contributed | Reduced | Pushed | Pulled
Facts = tuple[Fact, ...]
