"""A state as one hashable value: what a model checker counts, what machines in the same state have in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from types import BuiltinFunctionType, FunctionType

_ATOMS = (int, float, str, bytes, type, FunctionType, BuiltinFunctionType, type(None))


def snapshot(state: object) -> Hashable:
    """Equal for equal states, in whatever order their dicts and sets were filled; objects by what pickle copies.

    Raises TypeError for what pickle can't copy either: an open file, a generator.
    """
    if isinstance(state, _ATOMS):
        return state
    if isinstance(state, list | tuple):
        return tuple(map(snapshot, state))
    if isinstance(state, Mapping):
        return frozenset((snapshot(key), snapshot(value)) for key, value in state.items())
    if isinstance(state, Set):
        return frozenset(map(snapshot, state))
    # what copyreg and pickle make of an object: a function, its arguments (the class among them), the attributes
    return snapshot(tuple(state.__reduce_ex__(2)[:3]))
