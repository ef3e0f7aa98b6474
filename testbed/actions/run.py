"""A run kept in a directory: where it goes, what is written there, how it is run again."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.engines.base import Engine, Progress
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.report.pages import Story
    from testbed.scenario import Expectation, Scenario
    from testbed.verdicts.model import Verdicts


def executed(engine: Engine, plan: Plan, directory: Path | None, progress: Progress | None) -> tuple[History, Verdicts]:
    """Run the plan, and judge what happened."""
    from testbed.verdicts import judge

    history = engine.run(plan, directory, progress)
    if progress is not None:
        progress("judging", 1.0)
    return history, judge(plan, history)


def scenario_text(scenario: Scenario, file: Path | None) -> str:
    """What goes into the run directory: the file as it is, or what was made of it or of no file (None)."""
    if file is not None:
        return file.read_text(encoding="utf-8-sig")
    import yaml

    from testbed.scenario import as_written

    return yaml.safe_dump(as_written(scenario), sort_keys=False, allow_unicode=True)


@contextmanager
def claimed(out: Path | None, text: str, plan: Plan, engine: str) -> Iterator[Path]:
    """Where the run goes: as asked, else runs/<name>, numbered when there is another plan's or engine's run, or a run
    that goes on.

    Locked while inside: runs that are started side by side must not write into each other's directory.
    """
    directory, lock = (out, _begin(out, text, plan)) if out is not None else _claim(text, plan, engine)
    try:
        yield directory
    finally:
        os.close(lock)


def _claim(text: str, plan: Plan, engine: str) -> tuple[Path, int]:
    from testbed.runs import RUNS, RunDirectoryError, engine_of

    number = 1
    while True:
        directory = Path(RUNS) / (plan.name if number == 1 else f"{plan.name}-{number}")
        if not directory.is_symlink() and engine_of(directory) in (None, engine):
            with suppress(RunDirectoryError):
                return directory, _begin(directory, text, plan)
        number += 1


def _begin(directory: Path, text: str, plan: Plan) -> int:
    """Begins the run in ``directory`` and returns the descriptor that holds its lock. Raises RunDirectoryError."""
    from testbed.runs import RunDirectoryError, begin_run

    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        begin_run(directory, text, plan)
    except BlockingIOError:
        os.close(lock)
        raise RunDirectoryError(f"{directory}: another run goes on there; name another directory") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def keep(directory: Path, text: str, plan: Plan, history: History, verdicts: Verdicts) -> None:
    """The run directory with its report."""
    from testbed.runs import make_latest, write_run

    write_run(directory, text, plan, history, verdicts)
    write_page(directory, text, plan, history, verdicts)
    make_latest(directory)


def write_page(directory: Path, text: str, plan: Plan, history: History, verdicts: Verdicts) -> Path:
    """The report of a run, ``text`` being its scenario; where it is."""
    from testbed.actions.origin import origin
    from testbed.report.pages import run_page
    from testbed.runs import FILES, META

    target = directory / "report.html"
    commands = commands_for(directory, history.engine, text)
    page = run_page(plan, history, verdicts, commands, _story(text, verdicts), origin(directory / META, FILES))
    target.write_text(page, encoding="utf-8")
    return target


def _story(text: str, verdicts: Verdicts) -> Story:
    from testbed.report.pages import Story
    from testbed.scenario import unmet
    from testbed.verdicts.words import demanded

    about, expect = told_by(text)
    stated = expect.model_dump(mode="json", exclude_none=True)
    return Story(about, demanded(stated) if stated else "", unmet(expect, verdicts.to_dict()))


def told_by(text: str) -> tuple[str, Expectation]:
    """A scenario's description, and what it states of its run. Nothing of either where nobody can read it any more:
    runs of earlier versions may state what there no longer is, or name files that are gone."""
    from pydantic import ValidationError

    from testbed.scenario import Expectation, ScenarioError
    from testbed.scenario.document import read_document

    try:
        data = read_document(text, "scenario").data
        return str(data.get("description", "")), Expectation.model_validate(data.get("expect") or {})
    except (ScenarioError, ValidationError):
        return "", Expectation()


def commands_for(directory: Path, engine: str, text: str) -> list[str]:
    """How to run it again, ``text`` being its scenario. A replay needs nothing but the directory; files that a scenario
    names are found only from where it was written."""
    replay = f"testbed replay {quote(str(directory))}"
    if _names_files(text):
        return [replay]
    return [replay, f"testbed run {quote(str(directory / 'scenario.yaml'))} --engine {engine}"]


def _names_files(text: str) -> bool:
    from testbed.scenario import ScenarioError
    from testbed.scenario.document import read_document

    def leads_out(data: Any) -> bool:
        inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
        named = "file" in data if isinstance(data, dict) else isinstance(data, str) and ".py:" in data
        return named or any(map(leads_out, inside))

    try:
        return leads_out(read_document(text, "scenario").data)
    except ScenarioError:
        return True


def check_expectations(scenario: Scenario, verdicts: Verdicts) -> dict[str, Any]:
    """What the scenario's ``expect`` states, and a sentence on each part of it that did not hold."""
    from testbed.scenario import unmet

    return {
        "stated": scenario.expect.model_dump(mode="json", exclude_none=True),
        "unmet": unmet(scenario.expect, verdicts.to_dict()),
    }
