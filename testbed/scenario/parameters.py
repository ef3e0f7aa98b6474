"""An engine's own settings as they may stand under ``protocol.parameters``, and a service's under ``clients.mix``: made
from the types that their specs name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, cast, get_args, get_type_hints

from pydantic import Field, create_model

from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core.own import EngineName
from testbed.nodes.registry import engine_spec, engine_specs, service_names, service_spec
from testbed.scenario.model import Part
from testbed.scenario.units import AsWritten, Time
from testbed.topologies.draw import spell_time


@cache
def parameters_model(engine: EngineName) -> type[Part]:
    """What may be written for ``engine``: the fields of its parameters with their bounds, times with units."""
    return _model(engine if isinstance(engine, str) else engine.object, "Parameters", engine_spec(engine).parameters)


@cache
def mix_model(service: str) -> type[Part]:
    """What may be written under ``clients.mix`` for ``service``."""
    return _model(service, "Mix", service_spec(service).mix)


def _model(name: str, what: str, type_: type) -> type[Part]:
    hints = get_type_hints(type_)
    found: dict[str, Any] = {}
    for parameter in fields(type_):
        bounds = dict(parameter.metadata)
        about = bounds.pop("about", None)
        kind = Time if bounds.pop("time", False) else _kind(hints[parameter.name])
        listed = parameter.default is MISSING
        default: Any = {"default_factory": list} if listed else {"default": parameter.default}
        example: Any = bounds.pop("example", [] if listed else parameter.default)
        example = str(example) if isinstance(example, StrEnum) else example
        shown = Field(**default, description=about, examples=[spell_time(example) if kind is Time else example])
        found[parameter.name] = (Annotated[kind, Field(**bounds)], shown)
    title = "".join(word.capitalize() for word in name.split("_")) + what
    return create_model(title, __base__=Part, __module__=__name__, __doc__=type_.__doc__, **found)


def _kind(hint: Any) -> Any:
    """What a field's type asks for: of a list of dataclasses, a list of mappings; of an enumeration, its texts."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Literal[tuple(map(str, hint))]
    (inside,) = get_args(hint) or (None,)
    if not isinstance(inside, type) or not is_dataclass(inside):
        return hint
    return list[_model(inside.__name__, "", inside)]  # type: ignore[misc]


def parameters_text(engine: EngineSpec, parameters: Mapping[str, Any]) -> str:
    """``patience 4, changes (at_ns 5ms, members 0 1 2)``: an engine's own settings, as a plan has them, in words."""
    return _text(engine.parameters, parameters)


def _text(type_: type, values: Mapping[str, Any]) -> str:
    kinds = {parameter.name: parameter for parameter in fields(type_)}
    hints = get_type_hints(type_)
    found = []
    for name, value in values.items():
        (inside,) = get_args(hints[name]) or (None,)
        if kinds[name].metadata.get("time"):
            told = spell_time(value)
        elif not isinstance(value, list):
            told = str(value)
        elif is_dataclass(inside):
            told = " ".join(f"({_text(cast(type, inside), one)})" for one in value)
        else:
            told = " ".join(map(str, value))
        found.append(f"{name} {told or 'none'}")
    return ", ".join(found)


def _schema(model: type[Part], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=AsWritten)
    definitions.update(schema.pop("$defs", {}))  # references count from the top of the whole schema
    return schema


def parameters_schema(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """For the JSON schema of a protocol: which settings go with which engine. What they refer to is added to
    ``definitions``."""
    return [
        {
            "if": {"properties": {"consensus": {"const": spec.name}}, "required": ["consensus"]},
            "then": {"properties": {"parameters": _schema(parameters_model(spec.name), definitions)}},
        }
        for spec in engine_specs()
    ]


def mixes_schema(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """For the JSON schema of a scenario: which mix goes with which service."""
    found = []
    for name in service_names():
        kind = {"type": "object", "properties": {"kind": {"const": name}}, "required": ["kind"]}
        chosen = [{"const": name}, kind]
        mix = {"properties": {"mix": _schema(mix_model(name), definitions)}}
        found.append(
            {
                "if": {"properties": {"service": {"anyOf": chosen}}, "required": ["service"]},
                "then": {"properties": {"clients": mix}},
            }
        )
    return found
