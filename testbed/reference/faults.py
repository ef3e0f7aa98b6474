"""Every verb of a scenario's faults, and what it means in each engine."""

from __future__ import annotations

from testbed.faults import DEEDS, VERBS, Verb
from testbed.reference.documents import key_table
from testbed.reference.markdown import as_code, fenced, sentence, table
from testbed.scenario.keys import keys
from testbed.scenario.model import FaultOrder, LinkSettings, RandomFaults

_HEAD = """# Faults, verb by verb

An order of `faults:` is a mapping, or a line of text that stands for one ([faults as text](../fault-language.md));
`testbed explain` prints what it compiles to. A fault means the same in every engine: `sim` does it to its model, `live`
to this host's kernel, `vkernel` to a kernel of its own, in virtual time, by the same code as `live`. In `sim` and
`vkernel` it strikes at the very nanosecond, before all else of that instant; in `live` as punctually as the host is.
"""


def faults_page() -> str:
    """reference/faults.md."""
    rows = [(f"[`{verb.name}`](#{verb.name})", verb.strikes, _code(verb.undo), verb.meaning) for verb in VERBS.values()]
    own = [key for key in keys(FaultOrder) if key.name not in {other.name for other in keys(LinkSettings)}]
    return "\n".join(
        [
            _HEAD,
            table(("verb", "strikes", "undone by", "meaning"), rows),
            *(_verb(verb) for verb in VERBS.values()),
            "## The keys of an order\n",
            "Beside these, verbs that change links take the keys of [`links`](scenario.md#links-link-settings).\n",
            key_table(own),
            "## Faults at random\n",
            key_table(keys(RandomFaults)),
        ]
    )


def _verb(verb: Verb) -> str:
    deed = DEEDS[verb.atomic]
    undone = f" Undone, by `for:` or `until:`, it is `{verb.undo}`." if verb.undo else ""
    as_event = f" Compiled to `{verb.atomic}`." if verb.atomic != verb.name else ""
    needs = f" Needs {' or '.join(f'`{key}`' for key in verb.needs)}." if verb.needs else ""
    rows = [("sim", as_code(deed.sim)), ("live, vkernel", as_code(deed.kernel))]
    text = f"{sentence(verb.meaning)}{as_event}{undone}{needs}"
    return f"## `{verb.name}`\n\n{text}\n\n{table(('engine', 'what it does'), rows)}\n{fenced(verb.example, 'text')}"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
