"""How an effect is written into a history: its columns, the same whoever runs the machine.

They are those of testbed.history.Event between the node and ``at_ns``: kind, round, peer, step, key, info, value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nodes.core import Decide, Effect, Note, Propose, Resolve, RoundStart, SwapId, Transition
from nodes.frames import Frame, FrameKey

Columns = tuple[str, int, str, int, FrameKey | None, str, str]
Names = Mapping[int, str]
"""Node number -> name, of a node's peers and itself."""


def _other(swap: SwapId, me: int, names: Names) -> str:
    return names[swap.high if swap.low == me else swap.low]


def _transition(effect: Transition, me: int, names: Names) -> Columns:
    swap, old, new = effect
    return ("transition", swap.round, _other(swap, me, names), -1, None, old + ">" + new, "")


def _resolve(effect: Resolve, me: int, names: Names) -> Columns:
    swap, outcome, value = effect
    return ("resolve", swap.round, _other(swap, me, names), -1, None, outcome + "", value.hex())


def _propose(effect: Propose, _me: int, _names: Names) -> Columns:
    return ("propose", -1, "", effect.instance, None, "", str(effect.value))


def _decide(effect: Decide, _me: int, _names: Names) -> Columns:
    return ("decide", effect.round, "", effect.instance, None, "", str(effect.value))


def _round(effect: RoundStart, _me: int, _names: Names) -> Columns:
    return ("round", effect.round, "", -1, None, "", "")


def _note(effect: Note, _me: int, names: Names) -> Columns:
    about, info = effect.about, f"{effect.what}:{effect.text}"
    if isinstance(about, Frame):
        return ("note", effect.round, names.get(about.key.src, ""), about.message.step, about.key, info, "")
    return ("note", effect.round, "", -1 if about is None else about.step, None, info, "")


COLUMNS: dict[type, Callable[[Any, int, Names], Columns]] = {
    Transition: _transition,
    Resolve: _resolve,
    Propose: _propose,
    Decide: _decide,
    RoundStart: _round,
    Note: _note,
}
"""For each kind of effect that is recorded, the function that makes its columns."""


def columns(effect: Effect, me: int, names: Names) -> Columns:
    """The columns of ``effect`` at node number ``me``. Raises KeyError for effects that are performed, not recorded."""
    return COLUMNS[type(effect)](effect, me, names)
