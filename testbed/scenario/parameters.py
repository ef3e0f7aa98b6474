"""An engine's own settings as they may stand under ``protocol.parameters``, and a service's under ``clients.mix``: made
from the types that their specs name."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import Field, create_model

from nodes.registry import engine_spec, engine_specs, service_names, service_spec
from testbed.scenario.model import Part
from testbed.scenario.units import Time


@cache
def parameters_model(engine: str) -> type[Part]:
    """What may be written for ``engine``: the fields of its parameters with their bounds, times with units."""
    return _model(engine, "Parameters", engine_spec(engine).parameters)


@cache
def mix_model(service: str) -> type[Part]:
    """What may be written under ``clients.mix`` for ``service``."""
    return _model(service, "Mix", service_spec(service).mix)


def _model(name: str, what: str, type_: type) -> type[Part]:
    hints = get_type_hints(type_)
    found: dict[str, Any] = {}
    for parameter in fields(type_):
        bounds = dict(parameter.metadata)
        kind = Time if bounds.pop("time", False) else _kind(hints[parameter.name])
        default: Any = {"default_factory": list} if parameter.default is MISSING else {"default": parameter.default}
        found[parameter.name] = (Annotated[kind, Field(**bounds)], Field(**default))
    title = "".join(word.capitalize() for word in name.split("_")) + what
    return create_model(title, __base__=Part, __module__=__name__, __doc__=type_.__doc__, **found)


def _kind(hint: Any) -> Any:
    """What a field's type asks for: of a list of dataclasses, a list of mappings."""
    (inside,) = get_args(hint) or (None,)
    if not isinstance(inside, type) or not is_dataclass(inside):
        return hint
    return list[_model(inside.__name__, "", inside)]  # type: ignore[misc]


def parameters_schema() -> list[dict[str, Any]]:
    """For the JSON schema of a protocol: which settings go with which engine."""
    return [
        {
            "if": {"properties": {"consensus": {"const": spec.name}}, "required": ["consensus"]},
            "then": {"properties": {"parameters": parameters_model(spec.name).model_json_schema()}},
        }
        for spec in engine_specs()
    ]


def mixes_schema() -> list[dict[str, Any]]:
    """For the JSON schema of a scenario: which mix goes with which service."""
    found = []
    for name in service_names():
        chosen = [{"const": name}, {"properties": {"kind": {"const": name}}, "required": ["kind"]}]
        mix = {"properties": {"mix": mix_model(name).model_json_schema()}}
        found.append(
            {
                "if": {"properties": {"service": {"anyOf": chosen}}, "required": ["service"]},
                "then": {"properties": {"clients": mix}},
            }
        )
    return found
