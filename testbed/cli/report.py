"""``testbed report``: the HTML report of a run or a study again, from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.actions.find import run_directory
from testbed.cli import completion
from testbed.cli.common import study_directory
from testbed.cli.output import JsonFlag, print_json, verb


@verb
def report(
    directory: Annotated[
        Path,
        typer.Argument(
            help="The directory of a run or of a study; latest: the last run in ./runs.", autocompletion=completion.runs
        ),
    ],
    json: JsonFlag = False,
) -> None:
    """Write report.html anew from what a run or study left; nothing is run again but pictured disagreements."""
    directory = run_directory(directory)
    target = _study(directory) if study_directory(directory) else _run(directory)
    if json:
        print_json({"report": str(target)})
    else:
        print(target)


def _study(directory: Path) -> Path:
    from testbed.actions.study import read_results, write_report
    from testbed.study.document import load_study

    results = read_results(directory)
    return write_report(load_study(directory / "study.yaml"), results, directory)


def _run(directory: Path) -> Path:
    from testbed.actions.run import write_page
    from testbed.runs import read_run

    text, plan, history, verdicts = read_run(directory)
    return write_page(directory, text, plan, history, verdicts)
