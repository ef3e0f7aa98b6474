"""Commands and results of services that need no form of their own: a list of words, numbers and lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.nodes.core.disk import pack, unpack

Forms = Mapping[str, tuple[type, ...]]
"""The first word of each thing that can be said, and what follows it."""

pack_words = pack
REFUSED = pack_words("refused")
"""The result of what is no command, or makes no sense."""


def read_words(said: bytes, forms: Forms) -> list[Any] | None:
    """What was said; None for bytes that are none of ``forms``."""
    try:
        found: Any = unpack(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        return None
    form = forms.get(found[0])
    if form is None or [type(part) for part in found[1:]] != list(form):
        return None
    numbers = [number for part in found if isinstance(part, list) for number in part]
    return found if all(type(number) is int for number in numbers) else None


def words_text(said: bytes) -> str:
    """The same for people."""
    try:
        return " ".join(_part_text(part) for part in unpack(said))
    except (TypeError, ValueError, RecursionError):
        return "no words"


def _part_text(part: Any) -> str:
    return ",".join(map(str, part)) if isinstance(part, list) else str(part)
