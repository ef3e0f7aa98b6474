"""``testbed schema``: the JSON Schema of the documents, for editors that complete and check them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from testbed.cli.output import JsonFlag, print_json, verb


@verb
def schema(
    document: Annotated[Literal["scenario", "study"], typer.Argument(help="Which document.")] = "scenario",
    json: JsonFlag = False,  # noqa: ARG001  (every verb takes it; this one prints nothing but JSON)
) -> None:
    """Print the JSON Schema of scenario or study documents (always JSON)."""
    if document == "study":
        from testbed.study.document import study_schema

        print_json(study_schema())
    else:
        from testbed.scenario import json_schema

        print_json(json_schema())
