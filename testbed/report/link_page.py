"""docs/link.md: the states of the bilateral link, drawn from the table that the link works from.

``python -m testbed.report.link_page > docs/link.md`` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.nodes.core import LinkState
from testbed.nodes.oae.table import TABLE, Act, Deed, Deeds, LinkEvent, States

_HEAD = """# The link's states

One end of a swap is a small state machine. This page is drawn from the table that it works from
([`nodes/oae/table.py`](../nodes/oae/table.py)) by

```sh
.venv/bin/python -m testbed.report.link_page > docs/link.md
```

and a test fails when the two differ. Another test walks one end through everything that it can come to, whatever a peer
says and when, and finds every row of the table in use and none missing. [wire-format.md](wire-format.md) tells what the
messages look like, [`tests/traces/link`](../tests/traces/link) tells stories: what each lost message does, and each
copy, and each restart.

* **IDLE**: nothing is known of the swap. Its round has not begun here, or it is over and forgotten, or a past life's.
* **TENTATIVE**: the own value is offered.
* **REFLECTING**: the peer's value is here, and goes back.
* **COMMITTED**: the last message that this end waits for has come; it holds the peer's value.
* **ABORTED**: it keeps its own.
* **IN_DOUBT**: the window has passed, and this end can't know.

## Events

Steps are those that are this end's to receive: in an alternating handshake the even ones for the low node (step 0 only
asks, under `reconcile`) and the odd ones for the high node; in a simultaneous one, 1 and 2 for both. A new step that
comes after the window but before the timer (of a node that was held up) is preceded by HORIZON.

| event | what has happened |
|---|---|
"""


def link_page() -> str:
    """The whole page."""
    lines = [f"| {event.name} | {event.value} |" for event in LinkEvent]
    for horizon, states in TABLE.items():
        lines += ["", f"## `horizon: {horizon}`", "", "```mermaid", *_diagram(states), "```", "", *_rows(states)]
    return _HEAD + "\n".join(lines) + "\n"


def _diagram(states: States) -> Iterator[str]:
    """Mermaid's state diagram: who goes where on which events. What changes no state stands in the table."""
    yield "stateDiagram-v2"
    yield "    [*] --> IDLE"
    for state, rows in states.items():
        moves: dict[tuple[LinkState, ...], list[str]] = {}
        for event, deeds in rows.items():
            way = tuple(deed for deed in deeds if isinstance(deed, LinkState))
            if way:
                moves.setdefault(way, []).append(event.name)
        for way, events in moves.items():
            through = f" (through {', '.join(way[:-1])})" if way[:-1] else ""
            yield f"    {state} --> {way[-1]}: {', '.join(events)}{through}"
    for state in (LinkState.COMMITTED, LinkState.ABORTED):
        if state in states:
            yield f"    {state} --> [*]"


def _rows(states: States) -> Iterator[str]:
    yield "| state | event | what this end does, in this order |"
    yield "|---|---|---|"
    for state, rows in states.items():
        for event in LinkEvent:
            if event in rows:
                yield f"| {state} | {event.name} | {_deeds_text(rows[event])} |"


def _deeds_text(deeds: Deeds) -> str:
    return "; ".join(map(_deed_text, deeds)) or "nothing"


def _deed_text(deed: Deed) -> str:
    if isinstance(deed, LinkState):
        return f"**{deed}**"
    return deed.value if isinstance(deed, Act) else f"note `{deed.what}`"


if __name__ == "__main__":
    print(link_page(), end="")
