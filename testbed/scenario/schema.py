"""The scenario document's JSON Schema, for editors: docs/scenario.schema.json is what ``testbed schema`` prints."""

from __future__ import annotations

from typing import Any

from testbed.scenario.model import Written
from testbed.scenario.parameters import mixes_schema, parameters_schema
from testbed.scenario.units import AsWritten

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Of what a user writes (units as text)."""
    schema = Written.model_json_schema(by_alias=True, mode="validation", schema_generator=AsWritten)
    definitions = schema["$defs"]
    definitions["Protocol"]["allOf"] = parameters_schema(definitions)
    schema["allOf"] = mixes_schema(definitions)
    return {"$schema": DIALECT, **schema, "title": "OAE testbed scenario"}
