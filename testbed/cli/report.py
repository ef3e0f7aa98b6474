"""``testbed report``: the HTML report of a run or a study again, from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.common import study_directory
from testbed.cli.output import JsonFlag, UserError, print_json, verb


@verb
def report(
    directory: Annotated[Path, typer.Argument(help="The directory of a run or of a study.")],
    json: JsonFlag = False,
) -> None:
    """Write report.html anew from what a run or study left; nothing is run again but pictured disagreements."""
    target = _study(directory) if study_directory(directory) else _run(directory)
    if json:
        print_json({"report": str(target)})
    else:
        print(target)


def _study(directory: Path) -> Path:
    import json as json_module

    from testbed.cli.study import write_report
    from testbed.study.document import load_study

    results = directory / "results.json"
    if not results.is_file():
        raise UserError(
            f"{directory}: this study has not ended; go on with: "
            f"testbed study {directory / 'study.yaml'} --out {directory}"
        )
    loaded = load_study(directory / "study.yaml")
    return write_report(loaded, json_module.loads(results.read_text(encoding="utf-8")), directory)


def _run(directory: Path) -> Path:
    from testbed.cli.run import commands_for
    from testbed.report.pages import run_page
    from testbed.runs import read_run

    _, plan, history, verdicts = read_run(directory)
    page = run_page(plan, history, verdicts, commands_for(directory, history.engine))
    target = directory / "report.html"
    target.write_text(page, encoding="utf-8")
    return target
