"""The scenario document's JSON Schema, for editors: docs/scenario.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.scenario.model import Written
from testbed.scenario.parameters import mixes_schema, parameters_schema


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, of what a user writes (units as text)."""
    schema = Written.model_json_schema(by_alias=True, mode="validation")
    schema["$defs"]["Protocol"]["allOf"] = parameters_schema()
    schema["allOf"] = mixes_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "OAE testbed scenario", **schema}


def write_schema(path: Path) -> None:
    """Writes the schema; equal schemas give equal bytes."""
    path.write_text(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
