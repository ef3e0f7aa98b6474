"""An engine's own settings as they may stand under ``protocol.parameters``: made from the type that its spec names."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import Field, create_model

from nodes.registry import engine_spec, engine_specs
from testbed.scenario.model import Part
from testbed.scenario.units import Time


@cache
def parameters_model(engine: str) -> type[Part]:
    """What may be written for ``engine``: the fields of its parameters with their bounds, times with units."""
    type_ = engine_spec(engine).parameters
    hints = get_type_hints(type_)
    found: dict[str, Any] = {}
    for parameter in fields(type_):
        bounds = dict(parameter.metadata)
        kind = Time if bounds.pop("time", False) else hints[parameter.name]
        found[parameter.name] = (Annotated[kind, Field(**bounds)], parameter.default)
    name = "".join(word.capitalize() for word in engine.split("_")) + "Parameters"
    return create_model(name, __base__=Part, __module__=__name__, __doc__=type_.__doc__, **found)


def parameters_schema() -> list[dict[str, Any]]:
    """For the JSON schema of a protocol: which settings go with which engine."""
    return [
        {
            "if": {"properties": {"consensus": {"const": spec.name}}, "required": ["consensus"]},
            "then": {"properties": {"parameters": parameters_model(spec.name).model_json_schema()}},
        }
        for spec in engine_specs()
    ]
