"""The forms of all engines' messages, as the dissector for Wireshark has them.

``python -m testbed.report.dissector`` writes them anew into nodes/frames/oae.lua; a test says when that is to be done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from testbed import nodes
from testbed.nodes.core.layout import ENTRY_HEAD, Bodies, Item
from testbed.nodes.registry import engine_specs
from testbed.nodes.services import messages, spread

SCRIPT = Path(nodes.__path__[0]) / "frames" / "oae.lua"
_BEGIN, _END = "-- >> written by testbed.report.dissector", "-- << written by testbed.report.dissector"


def with_forms(script: str) -> str:
    """The script with the forms that the code declares now."""
    pattern = re.compile(f"{re.escape(_BEGIN)}\n.*{re.escape(_END)}\n", re.DOTALL)
    return pattern.sub(lambda _: f"{_BEGIN}\n{_written()}{_END}\n", script)


def bodies_by_owner() -> dict[str, Bodies]:
    """Of each engine, and of the services beside any."""
    engines: dict[str, Bodies] = {spec.name: spec.bodies for spec in engine_specs() if spec.bodies}
    return {**engines, "services": {**messages.BODIES, **spread.BODIES}}


def _written() -> str:
    owners = bodies_by_owner()
    items = [item for bodies in owners.values() for body in bodies.values() for item in _all(body.items)]
    known = {item.name for item in items if item.form == "number"} | {name for name, _ in ENTRY_HEAD}
    numbers = sorted(known)
    data = sorted({item.name for item in items if item.form not in ("number", "pad", "repeat", "parts")} | {"value"})
    lines = [_names("NUMBER_NAMES", numbers), _names("BYTES_NAMES", data), f"local ENTRY_HEAD = {_head()}"]
    lines.append("local BODIES = {")
    for owner, bodies in sorted(owners.items()):
        lines.append(f"    {owner} = {{")
        for step, body in sorted(bodies.items()):
            lines.append(f'        [{int(step)}] = {{ "{body.name}", {_table(body.items)} }},')
        lines.append("    },")
    return "\n".join([*lines, "}"]) + "\n"


def _all(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from _all(item.items)


def _names(table: str, names: list[str]) -> str:
    return f"local {table} = {{ {', '.join(map(json.dumps, names))} }}"


def _head() -> str:
    return "{ " + ", ".join(f'{{ "{name}", {size} }}' for name, size in ENTRY_HEAD) + " }"


def _table(items: tuple[Item, ...]) -> str:
    """``{ { "ballot", "number", 4 }, { "value", "rest" } }``: of each only what says something."""
    return "{ " + ", ".join(map(_item, items)) + " }" if items else "{}"


def _item(item: Item) -> str:
    words = [json.dumps(item.name), json.dumps(item.form)]
    if item.size or item.of or item.items:
        words.append(str(item.size))
    if item.of or item.items:
        words.append(json.dumps(item.of))
    if item.items:
        words.append(_table(item.items))
    return "{ " + ", ".join(words) + " }"


if __name__ == "__main__":
    SCRIPT.write_text(with_forms(SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
