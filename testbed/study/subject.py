"""What a study is about: on which fabrics it runs, which protocols, and what is the same in all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.study.document import human


def subject(ends: Sequence[tuple[Plan, Plan]]) -> dict[str, list[str]]:
    """``fabrics`` and ``protocols``, each once, and the ``settings`` that are the same in all plans, in words. ends: of
    each thing that is compared, the plans at both ends of the sweep."""
    plans = list(chain.from_iterable(ends))
    told = [_settings(plan) for plan in plans]
    return {
        "fabrics": _once(_fabric(*pair) for pair in ends),
        "protocols": _once(_protocol(plan) for plan in plans),
        "settings": [word for word in told[0] if all(word in others for others in told)],
    }


def in_words(found: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The fabrics, and the protocols with what is the same in all."""
    of = [", ".join(found[name]) for name in ("fabrics", "protocols", "settings")]
    return of[0], "; ".join(of[1:])


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _fabric(first: Plan, last: Plan) -> str:
    """Of a sweep: of its size, too."""
    names = first.fabric.name, last.fabric.name
    return names[0] if names[0] == names[1] else " to ".join(names)


def _protocol(plan: Plan) -> str:
    consensus = plan.protocol.consensus
    return str(consensus) if engine_spec(consensus).decides else "swaps alone"


def _settings(plan: Plan) -> list[str]:
    protocol = plan.protocol
    told = []
    if engine_spec(protocol.consensus).made_of_swaps:
        depth = f" of depth {protocol.depth}" if protocol.handshake == "alternating" else ""
        told += [f"{protocol.handshake} handshake{depth}", f"horizon {protocol.horizon}"]
        told += [f"window {human(protocol.window_ns, 'time')}"]
    told += [f"period {human(protocol.period_ns, 'time')}"]
    return told + ([f"service {plan.service}"] if plan.service else [])
