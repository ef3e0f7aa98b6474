"""``testbed explain``: what a scenario means, before anything is run."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli import completion
from testbed.cli.common import SetOption, load_scenario
from testbed.cli.output import JsonFlag, print_json, verb


@verb
def explain(
    scenario: Annotated[
        str,
        typer.Argument(help="A scenario's file, or the name of one that ships.", autocompletion=completion.scenarios),
    ],
    set_: SetOption = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    json: JsonFlag = False,
) -> None:
    """Say in words what a scenario will do; with --json, print the plan with every seed."""
    from testbed.scenario import compile_plan
    from testbed.scenario import explain as in_words

    loaded = load_scenario(scenario, set_, seed)
    if json:
        import json as json_module

        print_json(json_module.loads(compile_plan(loaded).to_json()))
    else:
        print(in_words(loaded), end="")
