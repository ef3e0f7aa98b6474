"""What may be chosen: engines of consensus with their settings, services, topologies, engines that run plans."""

from __future__ import annotations

from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.registry import engine_specs, service_names, service_spec
from testbed.reference.documents import key_table
from testbed.reference.markdown import as_code, fenced, sentence, table
from testbed.scenario.document import flow
from testbed.scenario.keys import keys, places
from testbed.scenario.model import TOPOLOGY_MODELS, Part
from testbed.scenario.parameters import mix_model, parameters_model

_ENGINES = """# Engines of consensus

`protocol: {consensus: NAME, parameters: {...}}`. What each assumes, costs and breaks on stands in
[the engines' own page](../engines.md), with one of your own in under 100 lines.
"""
_SERVICES = """# Services

`service: NAME` with `clients: {hosts: ..., mix: {...}}`; what is judged of them stands in
[the page on services](../services.md).
"""
_TOPOLOGIES = """# Topologies

`topology: {kind: NAME, ...}` in a scenario, `testbed up NAME --set ...` on the command line; tiers, roles, pictures and
other tools stand in [the page on fabrics](../fabrics.md).
"""


def engines_page() -> str:
    """reference/engines.md."""
    return "\n".join([_ENGINES, *map(_engine, engine_specs())])


def services_page() -> str:
    """reference/services.md."""
    told = []
    for name in service_names():
        spec = service_spec(name)
        promises = ", ".join(f"`{one}`" for one in spec.properties) or "nothing besides what all services do"
        told.append(
            f"## `{name}`\n\n{sentence(spec.title)} Promises {promises}.\n\n{_settings(mix_model(name), 'mix')}"
        )
    return "\n".join([_SERVICES, *told])


def topologies_page() -> str:
    """reference/topologies.md."""
    return "\n".join([_TOPOLOGIES, *(_topology(kind, model) for kind, model in TOPOLOGY_MODELS.items())])


def _engine(spec: EngineSpec) -> str:
    rows = [
        ("runs", "rounds of swaps" if spec.made_of_swaps else "instances, message by message"),
        ("crashes it bears", f"`{spec.rule}`"),
        ("promises", ", ".join(spec.properties) or "nothing: there is nothing to decide"),
        ("a value is", {"bytes": "bytes", "number": "a number", "bit": "one bit"}[spec.carries]),
        ("order", {"instances": "instance by instance", "log": "one log"}.get(spec.order, "a partial order")),
        ("safe whatever is late", "yes" if spec.indulgent else "no: only while no window is missed"),
        ("can serve", f"yes, reads: {', '.join(spec.read_modes)}" if spec.can_serve else "no"),
        ("lies that make sense", ", ".join(spec.lies)),
        ("pitfalls that can be planted", ", ".join(f"`{name}`" for name in spec.pitfalls)),
    ]
    settings = _settings(parameters_model(spec.name), "parameters")
    return f"## `{spec.name}`\n\n{sentence(spec.title)}\n\n{table(('', ''), rows)}\n{settings}"


def _settings(model: type[Part], key: str) -> str:
    """The settings of an engine or service, and of what stands in lists of them."""
    parts = [place for place in places(model) if keys(place.part)]
    if not parts:
        return f"`{key}:` takes nothing.\n"
    told = [
        f"`{'.'.join((key, *place.path.split('.'))).rstrip('.')}:`\n\n{key_table(keys(place.part))}" for place in parts
    ]
    return "\n".join(told)


def _topology(kind: str, model: type[Part]) -> str:
    found = keys(model)
    inner = [place for place in places(model) if place.steps]
    more = [f"`{place.path}:`\n\n{key_table(keys(place.part))}" for place in inner]
    whole = found[0].place | {key.name: key.example for key in found if kind not in ("custom", "from_file")}
    told = "\n".join([key_table(found), *more])
    return f"## `{kind}`\n\n{as_code(model.__doc__ or '')}\n\n{told}\n{fenced('topology: ' + flow(whole), 'yaml')}"
