"""A state as one hashable value: what a model checker counts, what machines in the same state have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Set
from enum import Enum
from types import BuiltinFunctionType, FunctionType

_ATOMS = (int, float, str, bytes, Enum, type, FunctionType, BuiltinFunctionType, type(None))
_MOST = frozenset((int, bool, float, str, bytes, type(None)))  # of what a state is made of, and told at once


def snapshot(state: object) -> Hashable:
    """Equal for equal states, in whatever order their dicts and sets were filled; objects by what pickle copies.

    Raises TypeError for what pickle can't copy either: an open file, a generator.
    """
    if type(state) in _MOST or isinstance(state, _ATOMS):
        return state
    if isinstance(state, (list, tuple)):
        return tuple(map(snapshot, state))
    if isinstance(state, Mapping):
        return frozenset(zip(map(snapshot, state.keys()), map(snapshot, state.values()), strict=True))
    if isinstance(state, Set):
        return frozenset(map(snapshot, state))
    # what copyreg and pickle make of an object: a function, its arguments (the class among them), the attributes
    return snapshot(tuple(state.__reduce_ex__(2)[:3]))


_NOTHING: Mapping[int, object] = {}


def digest(state: object, known: Mapping[int, object] = _NOTHING) -> bytes:
    """16 bytes that tell states apart as snapshot does, and are the same in every process: for those who keep millions.

    known: what stands for objects that need not be looked into (by their ``id``), since they never change.
    """
    return hashlib.blake2b(_encoded(state, known), digest_size=16).digest()


def _encoded(state: object, known: Mapping[int, object]) -> bytes:
    """Equal bytes for equal snapshots, no other's prefix."""
    if isinstance(state, str):
        text = state.encode()
        return b"s%d:%b" % (len(text), text)
    if isinstance(state, bytes):
        return b"b%d:%b" % (len(state), state)
    if isinstance(state, int) or (isinstance(state, float) and state.is_integer()):
        return b"i%d;" % state
    if state is None or isinstance(state, float):
        return b"%b;" % repr(state).encode()
    if isinstance(state, type | FunctionType | BuiltinFunctionType):
        return b"t%b.%b;" % (str(state.__module__).encode(), state.__qualname__.encode())
    if isinstance(state, list | tuple):
        return b"(%b)" % b"".join([_encoded(item, known) for item in state])
    if isinstance(state, Mapping):
        pairs = [_encoded(key, known) + _encoded(value, known) for key, value in state.items()]
        return b"{%b}" % b"".join(sorted(pairs))
    if isinstance(state, Set):
        return b"<%b>" % b"".join(sorted([_encoded(item, known) for item in state]))
    stands_for = known.get(id(state))
    if stands_for is not None:
        return b"k%b" % _encoded(stands_for, known)
    return b"o%b" % _encoded(state.__reduce_ex__(2)[:3], known)
