"""Every key of the documents that users write: of scenarios and of studies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pydantic import BaseModel

from testbed.reference.markdown import anchor, as_code, code, table
from testbed.scenario.document import flow
from testbed.scenario.keys import Key, Place, keys, places, title
from testbed.scenario.model import TOPOLOGY_MODELS, Written
from testbed.study.document import StudyDocument

_HEAD = ("key", "type", "default", "meaning")
_SCENARIO = """# Scenarios, key by key

A scenario is one YAML file. Editors complete and check it by its JSON Schema (`testbed schema`), which a first line
`# yaml-language-server: $schema=...` or a key `$schema:` names. A key that is not here is refused. Examples stand as
they are written; where one makes sense only beside other keys, the least mapping in which it does is shown.
"""
_STUDY = """# Studies, key by key

A study is one YAML file: what is swept of a [scenario](scenario.md), what is counted, and what it is expected to show.
Its JSON Schema is what `testbed schema study` prints; [how studies run](../studies.md) has
a page of its own.
"""


def scenario_page() -> str:
    """reference/scenario.md."""
    topologies = set(TOPOLOGY_MODELS.values())
    shown = [place for place in places(Written) if place.part not in topologies]
    sections = _sections(shown)
    told = [_part(place.part, place.path, sections) for place in shown]
    fabrics = (
        "A fabric is a `kind` with its parameters, a file, or a class of your own: see [topologies](topologies.md)."
    )
    return "\n".join([_SCENARIO, *told, "## `topology`: the fabric\n", fabrics, ""])


def study_page() -> str:
    """reference/study.md."""
    shown = places(StudyDocument)
    return "\n".join([_STUDY, *(_part(place.part, place.path, _sections(shown)) for place in shown)])


def key_table(found: Iterable[Key], sections: Mapping[str, str] = MappingProxyType({})) -> str:
    """A row for each key. sections: from what a part is called to where it is told of."""
    return table(_HEAD, [_row(key, sections) for key in found])


def _sections(shown: Iterable[Place]) -> dict[str, str]:
    return {title(one.part): f"#{anchor(heading_of(one.part, one.path))}" for one in shown if one.path}


def _part(part: type[BaseModel], path: str, sections: Mapping[str, str]) -> str:
    heading = f"## {heading_of(part, path)}" if path else "## The whole"
    return f"{heading}\n\n{as_code(part.__doc__ or title(part))}\n\n{key_table(keys(part), sections)}"


def heading_of(part: type[BaseModel], path: str) -> str:
    """`` `links.*.burst_loss`: burst loss``; an item of a list is ``[]``."""
    return f"`{path.replace('.0', '[]')}`: {title(part)}"


def _row(key: Key, sections: Mapping[str, str]) -> tuple[str, ...]:
    default = "must be given" if key.needed else code(key.default)
    type_ = as_code(key.type) + (f" ({as_code(key.unit)})" if key.unit else "")
    for words, place in sections.items():
        type_ = re.sub(rf"(?:^|(?<=of )|(?<=or )|(?<=to )){words}(?=$|, or)", f"[{words}]({place})", type_)
    alone = len(key.place) == 1
    shown = f"`{key.name}: {flow(key.example)}`" if alone or not _asks_for_more(key) else f"`{flow(key.place)}`"
    return f"`{key.name}`", type_, default, f"{as_code(key.meaning)} Example: {shown}"


def _asks_for_more(key: Key) -> bool:
    """Whether its example was put beside keys that the reader has to see."""
    return any(
        name not in ("name", "topology", "scenario", "sweep", "protocol") for name in key.place if name != key.name
    )
