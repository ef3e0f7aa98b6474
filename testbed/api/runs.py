"""Runs: a scenario on an engine, judged; its tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.actions.find import named_engine
from testbed.actions.run import claimed, executed, told_by
from testbed.actions.run import keep as keep_run
from testbed.api import tables
from testbed.api.fabrics import Fabric
from testbed.api.scenarios import Scenario, scenario_of
from testbed.api.show import Diagram
from testbed.api.table import Table
from testbed.api.verdicts import Expectations, Verdict
from testbed.errors import UserError
from testbed.runs import read_run
from testbed.scenario import compile_plan, parse, unmet
from testbed.verdicts import judge as judged

if TYPE_CHECKING:
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.verdicts.model import Verdicts

Progress = Callable[[str, float], None]
"""Called with a short phrase and the share that is done, 0 to 1."""


class Run:
    """One run of a scenario, with all that happened in it.

    Times are nanoseconds on the run's clock, whose zero is the start of round 0.

    >>> import testbed
    >>> run = testbed.run("last-message-lost")
    >>> run
    <Run last-message-lost on sim, seed 42: 40 rounds, 1 broken; trusted>
    >>> run.swaps.to_pandas().outcome.value_counts().to_dict()
    {'committed': 39, 'split': 1, 'aborted': 0, 'blocked': 0, 'excluded': 0}
    """

    def __init__(
        self, text: str, plan: Plan, history: History, verdicts: Verdicts, directory: Path | None = None
    ) -> None:
        self._text, self._plan, self._history, self._verdicts = text, plan, history, verdicts
        self.directory = directory
        """Where it is kept; None: nowhere."""

    # -- what it was -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self._plan.name

    @property
    def engine(self) -> str:
        """The engine that it ran on."""
        return self._history.engine

    @property
    def seed(self) -> int:
        """The seed of all chance in it."""
        return self._plan.seed

    @property
    def scenario(self) -> Scenario:
        """What was run. Paths in it count from the current directory."""
        return Scenario._of(parse(self._text, f"{self.name}'s scenario"))

    @property
    def fabric(self) -> Fabric:
        """Hosts, switches and links, with what they do."""
        return Fabric(self._plan.fabric)

    # -- what it is worth --------------------------------------------------------------------------------------------

    @cached_property
    def verdict(self) -> Verdict:
        """All verdicts on it."""
        return Verdict(self._verdicts, self.expectations)

    @property
    def trusted(self) -> bool:
        """True when all of the measurement was checked and nothing was off."""
        return self._verdicts.fidelity.trusted

    @cached_property
    def expectations(self) -> Expectations:
        """What the scenario states under ``expect:``, and what of it did not hold."""
        _, expect = told_by(self._text)
        stated = expect.model_dump(mode="json", exclude_none=True)
        return Expectations(stated, tuple(unmet(expect, self._verdicts.to_dict())))

    # -- what happened -----------------------------------------------------------------------------------------------

    @cached_property
    def events(self) -> Table:
        """All events in order: t_ns, node, kind, round. ``events_of`` has the columns of each kind."""
        return Table(tables.events(self._history), "events")

    def events_of(self, kind: str) -> Table:
        """The events of one kind (``sent``, ``received``, ``decide``, ``timer_fired``, ...) with all their columns, as
        ``events/<kind>.parquet`` of a run directory has them.

        >>> import testbed
        >>> len(testbed.run("last-message-lost").events_of("resolve"))
        80
        """
        try:
            return Table(tables.events_of(self._history, kind), f"{kind} events")
        except KeyError:
            raise UserError(f"no events are of the kind {kind!r}; there are {', '.join(tables.KIND_NAMES)}") from None

    @cached_property
    def hops(self) -> Table:
        """Where each frame was when, at every interface (``hops.parquet``); empty where nothing was captured."""
        return Table(tables.hops(self._history), "hops")

    @cached_property
    def frames(self) -> Table:
        """A row for each frame that a node sent: when it was sent, arrived and was acted on, and its delay_ns."""
        return Table(tables.frames(self._history), "frames")

    @cached_property
    def rounds(self) -> Table:
        """A row for each judged round: whether it broke, and how its swaps ended; empty without rounds of swaps."""
        return Table(tables.rounds(self._plan, self._history), "rounds")

    @cached_property
    def swaps(self) -> Table:
        """A row for each swap of each judged round: how each end ended and when, and the skew_ns between them."""
        return Table(tables.swaps(self._plan, self._history), "swaps")

    @cached_property
    def breaks(self) -> Table:
        """A row for each swap that broke bisynchrony: its kind, its cause, the frame and the hop."""
        return Table(tables.breaks(self._verdicts.bisynchrony), "breaks")

    @cached_property
    def operations(self) -> Table:
        """A row for each operation of a client: what it asked for and was told, and its latency_ns."""
        return Table(tables.operations(self._plan, self._history), "operations")

    @cached_property
    def fidelity(self) -> Table:
        """A row for each direction of a link: delays and losses asked for, and those realised."""
        return Table(tables.fidelity(self._verdicts.fidelity), "fidelity")

    # -- pictures and pages ------------------------------------------------------------------------------------------

    def spacetime(self, round: int | None = None, link: str | None = None) -> Diagram:
        """The frames of one swap in one round, the states of its ends, and the window; the guilty frame of a broken one
        stands out.

        round: by default that of the first break, else 0. link: the two ends (``"host1<->host2"``); by default those of
        the round's first break, else of its first swap. Raises testbed.Error where there is no such swap.

        >>> import testbed
        >>> testbed.run("last-message-lost").spacetime()
        <Diagram: round 17, host1<->host2: split (crashed)>
        """
        from testbed.report.spacetime import swap_diagram, swap_title
        from testbed.verdicts.model import Break

        found = next(
            (one for one in self._verdicts.bisynchrony.breaks if _meant(one.round, one.link, round, link)), None
        )
        if found is None:
            at = next((row for row in self.swaps.rows() if _meant(row["round"], _link(row), round, link)), None)
            if at is None:
                told = "" if link is None else f" of {link}"
                raise UserError(f"{self.name}: no swap{told} was judged{'' if round is None else f' in round {round}'}")
            found = Break(at["round"], _link(at), at["outcome"], "", "", "", "")
        return Diagram(swap_diagram(self._plan, self._history, found), swap_title(found))

    def save(self, directory: str | Path) -> Path:
        """Keep the run in a directory, as ``testbed run`` does: plan, tables, captures, verdicts, report; where it is.

        Raises testbed.Error when that holds something else.
        """
        with claimed(Path(directory), self._text, self._plan, self.engine) as target:
            keep_run(target, self._text, self._plan, self._history, self._verdicts)
        self.directory = target
        return target

    def __repr__(self) -> str:
        found = self._verdicts
        counted = f"{found.bisynchrony.rounds} rounds, {len(found.bisynchrony.broken_rounds)} broken"
        if not found.bisynchrony.rounds and found.consensus is not None:
            counted = f"{found.consensus.decided} of {found.consensus.instances} {found.consensus.of} decided"
        return f"<Run {self.name} on {self.engine}, seed {self.seed}: {counted}; {found.fidelity.answer.words}>"

    def _repr_html_(self) -> str:
        where = f"<p>kept in {escape(str(self.directory))}</p>" if self.directory else ""
        return self.verdict._repr_html_() + where


def run(
    scenario: Scenario | str | Path | Mapping[str, Any],
    engine: str | None = None,
    seed: int | None = None,
    keep: bool | str | Path = False,
    progress: Progress | None = None,
) -> Run:
    """Run a scenario and judge it.

    scenario: a Scenario, its file, the name of one that ships, or plain data. engine: ``"sim"``, ``"vkernel"`` or
    ``"live"`` (by default the scenario's own). seed: another one. keep: a directory for all that ``testbed run``
    leaves; True: ``runs/<name>``, numbered where that is taken; False: nothing is written. progress: called with a
    phrase and the share done.

    Raises testbed.Error for what makes no sense, or what this host can't run. What it starts has ended when it
    returns, or raises: KeyboardInterrupt too.

    >>> import testbed
    >>> testbed.run("last-message-lost", seed=8).trusted
    True
    """
    asked = scenario_of(scenario)
    if seed is not None:
        asked = asked.with_(seed=seed)
    chosen = named_engine(engine or asked.engine)
    plan = compile_plan(asked._inner)
    chosen.check(plan)
    text = asked.to_yaml()
    if keep is False:
        return Run(text, plan, *executed(chosen, plan, None, progress))
    with claimed(None if keep is True else Path(keep), text, plan, chosen.name) as directory:
        history, verdicts = executed(chosen, plan, directory, progress)
        keep_run(directory, text, plan, history, verdicts)
    return Run(text, plan, history, verdicts, directory)


def open_run(directory: str | Path) -> Run:
    """A run that was kept, as ``testbed run`` leaves it. Raises testbed.Error when there is none, or it is damaged.

    >>> import tempfile, testbed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = testbed.run("last-message-lost", keep=f"{folder}/kept").directory
    ...     testbed.open_run(kept).verdict.bisynchrony.broken_rounds
    (17,)
    """
    where = Path(directory)
    return Run(*read_run(where), where)


def judge(run: Run) -> Verdict:
    """Judge a run anew, by what is recorded of it: one that was kept may have been judged by an earlier version.

    >>> import testbed
    >>> run = testbed.run("last-message-lost")
    >>> testbed.judge(run).to_dict() == run.verdict.to_dict()
    True
    """
    verdicts = judged(run._plan, run._history)
    return Run(run._text, run._plan, run._history, verdicts, run.directory).verdict


def _link(row: Mapping[str, Any]) -> str:
    return f"{row['low']}<->{row['high']}"


def _meant(round_: int, link: str, wanted: int | None, wanted_link: str | None) -> bool:
    return wanted in (None, round_) and wanted_link in (None, link)
