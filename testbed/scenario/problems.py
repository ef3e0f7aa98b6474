"""pydantic's errors as single lines with file, line, key and advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from testbed import plugins
from testbed.scenario.document import Document
from testbed.scenario.errors import FieldError, Path, shown, suggestion
from testbed.scenario.model import (
    TOPOLOGY_MODELS,
    BurstLoss,
    Clients,
    ClockSettings,
    ClockSync,
    ContainerNodes,
    CustomClass,
    CustomEngine,
    Expectation,
    FaultOrder,
    LieOrder,
    LinkSettings,
    MeasuredDelays,
    Protocol,
    RandomFaults,
    RandomPlan,
    Service,
    Trigger,
    Written,
)
from testbed.scenario.parameters import mix_model

_MODELS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Written,
    ("topology", "custom"): CustomClass,
    ("links", "*"): LinkSettings,
    ("links", "*", "burst_loss"): BurstLoss,
    ("links", "*", "distribution"): MeasuredDelays,
    ("clocks", "*"): ClockSettings,
    ("clocks", "*", "sync"): ClockSync,
    ("protocol",): Protocol,
    ("protocol", "custom"): CustomEngine,
    ("service",): Service,
    ("clients",): Clients,
    ("faults",): RandomPlan,
    ("faults", "random"): RandomFaults,
    ("faults", "*"): FaultOrder,
    ("faults", "*", "when"): Trigger,
    ("lies", "*"): LieOrder,
    ("lies", "*", "when"): Trigger,
    ("faults", "*", "burst_loss"): BurstLoss,
    ("faults", "*", "distribution"): MeasuredDelays,
    ("expect",): Expectation,
    ("nodes",): ContainerNodes,
}


KnownKeys = Callable[[Path, Any], list[str]]
"""From a place in a document, and the document's data, to the keys that may stand there."""


def scenario_keys(path: Path, data: Any) -> list[str]:
    """The keys that may stand at ``path`` of a scenario; empty where that can't be said."""
    model = _model_at(path, data)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def problem_lines(
    error: ValidationError, document: Document, known_keys: KnownKeys = scenario_keys, below: Path = ()
) -> list[str]:
    """One line per error, in the order of the document's lines. below: where what was validated stands in it."""
    items = [{**item, "loc": (*below, *item["loc"])} for item in error.errors(include_url=False)]
    found = [_problem(item, document, known_keys) for item in items]
    ordered = sorted(found, key=lambda item: (document.lines.get(item[0], 0), [str(part) for part in item[0]]))
    return list(dict.fromkeys(document.problem(path, what) for path, what in ordered))


def _problem(item: dict[str, Any], document: Document, known_keys: KnownKeys) -> tuple[Path, str]:
    kind = item["type"]
    path = _path_in(document.data, item["loc"], keep_last=kind in ("missing", "extra_forbidden"))
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        return (*path, *cause.path), str(cause)
    if kind == "extra_forbidden":
        known = known_keys(path[:-1], document.data)
        return path, f"unknown key {shown(path[-1])}; {suggestion(str(path[-1]), known)}"
    return path, _message(kind, item, cause)


def _message(kind: str, item: dict[str, Any], cause: object) -> str:
    given = shown(item.get("input"))
    limits: Mapping[str, Any] = item.get("ctx", {})
    plain = {
        "missing": "is missing; add it",
        "int_type": f"must be a whole number, not {given}",
        "float_type": f"must be a number, not {given}",
        "bool_type": f"must be true or false, not {given}",
        "string_type": f"must be text, not {given}",
        "list_type": f"must be a list [..], not {given}",
        "dict_type": f"must be a mapping (key: value), not {given}",
        "model_type": f"must be a mapping (key: value), not {given}",
        "union_tag_not_found": f"must be a mapping with kind: or custom:; {suggestion('', TOPOLOGY_MODELS)}",
        "string_pattern_mismatch": f"{given} may only hold letters, digits, '.', '_' and '-'",
        "string_too_short": "must not be empty",
        "too_short": "must not be empty",
    }
    if kind in plain:
        return plain[kind]
    if kind == "union_tag_invalid":
        tag = str(limits.get("tag", ""))
        known = (*TOPOLOGY_MODELS, *plugins.installed(plugins.TOPOLOGIES))
        return f"no topology {shown(tag)}; {suggestion(tag, known)}"
    if kind == "literal_error":
        options = [word.strip("' ") for word in str(limits["expected"]).replace(" or ", ", ").split(",")]
        return f"{given} is not known here; {suggestion(str(item.get('input')), options)}"
    for name, words in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if name in limits:
            return f"must be {words} {limits[name]}, not {given}"
    return str(cause) if cause is not None else str(item["msg"])


def _path_in(data: Any, loc: tuple[int | str, ...], keep_last: bool) -> Path:
    """``loc`` without the parts that name alternatives of a union and not a place in the document."""
    path: list[int | str] = []
    for place, part in enumerate(loc):
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if inside:
            data = data[part]
        if inside or (keep_last and place == len(loc) - 1):
            path.append(part)
    return tuple(path)


def _model_at(path: Path, data: Any) -> type[BaseModel] | None:
    if path == ("clients", "mix"):
        service = data.get("service")
        return mix_model(service if isinstance(service, str) else service["kind"])
    if path == ("topology",):
        topology = data["topology"]
        return TOPOLOGY_MODELS.get("custom" if "custom" in topology else topology.get("kind"))
    for pattern, model in _MODELS.items():
        if len(pattern) == len(path) and all(p in ("*", str(part)) for p, part in zip(pattern, path, strict=True)):
            return model
    return None
