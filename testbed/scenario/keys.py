"""What is known of every key of a document (a scenario's or a study's), told by the classes that read it: its type and
unit, its default, its meaning, and an example in its place in a whole document.

The reference pages are made of it, and a test loads every example."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from testbed.nodes.registry import engine_names
from testbed.scenario.model import Consensus, Instant, Names
from testbed.scenario.units import AsWritten, Drift, Rate, Share, SignedTime, Size, Time

_TIMES = "ns, us, ms or s"
_WRITTEN: tuple[tuple[Any, str, str], ...] = (
    (Time, "time", _TIMES),
    (SignedTime, "time, also negative", _TIMES),
    (Rate, "rate", "bit, kbit, mbit, gbit or tbit (a second)"),
    (Size, "size", "KiB, MiB or GiB"),
    (Share, "share", "%, or a fraction of 1"),
    (Drift, "drift", "ppm or ppb"),
    (Instant, "instant", f"{_TIMES}; or `round 17 + 20us`"),
    (Names, "pattern, or list of patterns", ""),
    (Consensus, f"{', '.join(f'`{name}`' for name in engine_names())}, or `mine.py:Mine`", ""),
)
"""Types that are written with a unit, or in a form of their own."""

_PLAIN = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", Any: "anything"}


@dataclass(frozen=True)
class Key:
    """One key of one part. unit: empty where there is none. default: as it would be written; empty: there is none.
    needed: whether it must be given. example: a value. place: the smallest whole part in which that makes sense."""

    name: str
    type: str
    unit: str
    default: Any
    needed: bool
    meaning: str
    example: Any
    place: dict[str, Any]


class Step(NamedTuple):
    """From a part to one inside it: by this key, which holds it, a list of it (``[]``) or a mapping to it (``{}``)."""

    part: type[BaseModel]
    key: str
    inside: str


@dataclass(frozen=True)
class Place:
    """A part of a document, and the way to it from the whole."""

    part: type[BaseModel]
    steps: tuple[Step, ...]

    @property
    def path(self) -> str:
        """``links.*.burst_loss``."""
        return ".".join(step.key + {"[]": ".0", "{}": ".*", "": ""}[step.inside] for step in self.steps)

    def document(self, key: Key) -> dict[str, Any]:
        """A whole document with the key's example in its place."""
        value: dict[str, Any] = key.place
        for step in reversed(self.steps):
            shown = _field(step.part, step.key).examples
            name = next(iter(shown[0])) if step.inside == "{}" and shown else ""
            value = _beside(step.part, step.key, {"[]": [value], "{}": {name: value}, "": value}[step.inside])
        return value


def places(whole: type[BaseModel]) -> list[Place]:
    """Every part of a document, where it first stands; the whole comes first."""
    found: dict[type[BaseModel], Place] = {}
    _gather(Place(whole, ()), found)
    return list(found.values())


def keys(part: type[BaseModel]) -> list[Key]:
    """The keys of one part, in the order in which its class names them."""
    schema = part.model_json_schema(by_alias=True, schema_generator=AsWritten)["properties"]
    found = []
    for name, field in part.model_fields.items():
        key = field.alias or name
        type_, unit = _type(field.annotation, tuple(field.metadata))
        example = field.examples[0] if field.examples else None
        found.append(
            Key(
                name=key,
                type=type_,
                unit=unit,
                default=_default(field, schema[key]),
                needed=field.is_required(),
                meaning=field.description or "",
                example=example,
                place=_beside(part, key, example),
            )
        )
    return found


def _default(field: FieldInfo, schema: Mapping[str, Any]) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or field.is_required():
        return None
    bare = to_jsonable_python(default, by_alias=True, exclude_none=True)
    parts = default if isinstance(default, list) else [default]
    if parts and all(isinstance(one, BaseModel) for one in parts):
        told = [one.model_dump(mode="json", by_alias=True, exclude_defaults=True) for one in parts]
        return told if isinstance(default, list) else told[0]
    return schema.get("default", bare)


def title(part: type[BaseModel]) -> str:
    """``burst loss``: what a part is called."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part.__name__).lower()


def _gather(place: Place, found: dict[type[BaseModel], Place]) -> None:
    if place.part in found:
        return
    found[place.part] = place
    for name, field in place.part.model_fields.items():
        for part, inside in _parts(field.annotation):
            _gather(Place(part, (*place.steps, Step(place.part, field.alias or name, inside))), found)


def _parts(annotation: Any, inside: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, inside
    holds = {list: "[]", dict: "{}"}.get(get_origin(annotation), inside)
    for argument in get_args(annotation):
        yield from _parts(argument, holds)


def _field(part: type[BaseModel], key: str) -> FieldInfo:
    return next(field for name, field in part.model_fields.items() if (field.alias or name) == key)


def _beside(part: type[BaseModel], key: str, value: Any) -> dict[str, Any]:
    """The part's first example that has the key, or else its first, or the least of it, with this value there."""
    config = part.model_config.get("json_schema_extra")
    shown = config.get("examples", []) if isinstance(config, Mapping) else []
    examples: list[dict[str, Any]] = [one for one in shown if isinstance(one, dict)] if isinstance(shown, list) else []
    named = ((field.alias or name, field) for name, field in part.model_fields.items())
    least = {name: field.examples[0] for name, field in named if field.is_required() and field.examples}
    return {**next((one for one in examples if key in one), examples[0] if examples else least), key: value}


def _type(annotation: Any, metadata: tuple[Any, ...]) -> tuple[str, str]:
    """(type, unit) in words."""
    metadata = tuple(one for given in metadata for one in (given.metadata if isinstance(given, FieldInfo) else [given]))
    for written, words, unit in _WRITTEN:
        if written.__metadata__[0] in metadata:
            return words + _bounds(metadata, bare=False), unit
    if get_origin(annotation) is Annotated:
        inside, *more = get_args(annotation)
        return _type(inside, (*more, *metadata))
    if get_origin(annotation) in (Union, UnionType):
        either = [_type(one, metadata) for one in get_args(annotation) if one is not NoneType]
        if len(either) > 3 and len({words.split()[-1] for words, _ in either}) == 1:  # any of the topologies
            return either[0][0].split()[-1], either[0][1]
        return ", or ".join(dict.fromkeys(words for words, _ in either)), next((unit for _, unit in either if unit), "")
    return _plain(annotation) + _bounds(metadata, bare=annotation in (int, float)), ""


def _plain(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {_type(get_args(annotation)[0], ())[0]}"
    if get_origin(annotation) is tuple:
        return f"list of {len(get_args(annotation))} times {_type(get_args(annotation)[0], ())[0]}"
    if get_origin(annotation) is dict:
        return f"mapping of names to {_type(get_args(annotation)[1], ())[0]}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return title(annotation)
    return _PLAIN[annotation]


def _bounds(metadata: tuple[Any, ...], bare: bool) -> str:
    """``, 1 to 255``; of what has a unit only that it is above zero."""

    def spelled(bound: Any) -> str:
        return "2^64" if bound == 2**64 else str(bound)

    low = next((f"{spelled(one.ge)} or more" for one in metadata if isinstance(one, Ge)), "")
    low = next((f"above {spelled(one.gt)}" for one in metadata if isinstance(one, Gt)), low)
    high = next((f"{spelled(one.le)} at most" for one in metadata if isinstance(one, Le)), "")
    high = next((f"below {spelled(one.lt)}" for one in metadata if isinstance(one, Lt)), high)
    told = [low, high] if bare else [low if low == "above 0" else ""]
    return "".join(f", {words}" for words in told if words)
