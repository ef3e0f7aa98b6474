"""Operations of clients, drawn as text: who asked for what, from when until when, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.report.spacetime import nanoseconds
from testbed.verdicts.model import Seen

_BAR = 40


def drawn(operations: Sequence[Seen]) -> list[str]:
    """A line each, by the time of its call; moments stand in their order, not to scale. Arrows have no end."""
    if not operations:
        return []
    returns = {one.returned_ns for one in operations if one.returned_ns is not None}
    moments = sorted({one.called_ns for one in operations} | returns)
    place = {at: number * _BAR // max(1, len(moments) - 1) for number, at in enumerate(moments)}
    clients = max(len(one.client) for one in operations)
    lines = [f"{'':{clients}}  from {nanoseconds(moments[0])} to {nanoseconds(moments[-1])}, not to scale"]
    for one in sorted(operations, key=lambda one: (one.called_ns, one.client)):
        begin, ends = place[one.called_ns], one.returned_ns is not None
        end = max(begin + 1, place[one.returned_ns]) if one.returned_ns is not None else _BAR + 1
        bar = f"{' ' * begin}├{'─' * (end - begin - 1)}{'┤' if ends else '→'}"
        told = one.result if ends else "no answer"
        lines.append(f"{one.client:{clients}}  {bar:{_BAR + 2}}  {one.call}: {told}")
    return lines
