"""Every key of the documents that users write: of scenarios and of studies."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from testbed.reference.markdown import as_code, code, flow, table
from testbed.scenario.keys import Key, keys, places, title
from testbed.scenario.model import TOPOLOGY_MODELS, Written
from testbed.study.document import StudyDocument

_HEAD = ("key", "type", "unit", "default", "meaning", "example")
_SCENARIO = """# Scenarios, key by key

A scenario is one YAML file. Editors complete and check it by its JSON Schema (`testbed schema`), which a first line
`# yaml-language-server: $schema=...` or a key `$schema:` names. A key that is not here is refused. Examples stand as
they are written; where one makes sense only beside other keys, the least mapping in which it does is shown.
"""
_STUDY = """# Studies, key by key

A study is one YAML file: what is swept of a [scenario](scenario.md), what is counted, and what it is expected to show.
Its JSON Schema is what `testbed schema study` prints; [studies.md](../studies.md) tells how a study is run.
"""


def scenario_page() -> str:
    """reference/scenario.md."""
    topologies = set(TOPOLOGY_MODELS.values())
    told = [_part(place.part, place.path) for place in places(Written) if place.part not in topologies]
    fabrics = (
        "A fabric is a `kind` with its parameters, a file, or a class of your own; [topologies.md](topologies.md)."
    )
    return "\n".join([_SCENARIO, *told, "## `topology`\n", fabrics, ""])


def study_page() -> str:
    """reference/study.md."""
    return "\n".join([_STUDY, *(_part(place.part, place.path) for place in places(StudyDocument))])


def key_table(found: Iterable[Key]) -> str:
    """A row for each key."""
    return table(_HEAD, [_row(key) for key in found])


def _part(part: type[BaseModel], path: str) -> str:
    heading = f"## `{path}`" if path else "## The whole"
    return f"{heading}\n\n{as_code(part.__doc__ or title(part))}\n\n{key_table(keys(part))}"


def _row(key: Key) -> tuple[str, ...]:
    default = "must be given" if key.needed else code(key.default)
    alone = len(key.place) == 1
    shown = f"`{key.name}: {flow(key.example)}`" if alone or not _asks_for_more(key) else f"`{flow(key.place)}`"
    return f"`{key.name}`", as_code(key.type), as_code(key.unit), default, as_code(key.meaning), shown


def _asks_for_more(key: Key) -> bool:
    """Whether its example was put beside keys that the reader has to see."""
    return any(
        name not in ("name", "topology", "scenario", "sweep", "protocol") for name in key.place if name != key.name
    )
