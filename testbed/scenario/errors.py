"""What goes wrong with a scenario, said in single lines: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from testbed.errors import UserError

Path = tuple[str | int, ...]
"""Keys and list places from the document's top down to a value."""


class ScenarioError(UserError):
    """A scenario cannot be used. ``problems``: one line each, ``file:line: key.path: what is wrong; what to do``."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        listed = (problems,) if isinstance(problems, str) else tuple(problems)
        self.problems = tuple(" ".join(problem.split()) for problem in listed)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class FieldError(ValueError):
    """A value under ``key`` (below where the check runs) is wrong."""

    def __init__(self, key: str | Path, message: str) -> None:
        super().__init__(message)
        self.path: Path = (key,) if isinstance(key, str) else key


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean 'window'?``, or the list of what there is."""
    options = list(known)
    close = get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not options:
        return "nothing can stand here"
    shown = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
    return f"there is {shown}" if len(options) == 1 else f"there are {shown}"


def spell_path(path: Path) -> str:
    """``links."leaf*<->spine*".jitter``: the form that overrides take."""
    return ".".join(_part(part) for part in path)


def shown(value: object) -> str:
    """A value in a message: short and on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _part(part: str | int) -> str:
    text = str(part)
    return text if text and all(letter.isalnum() or letter in "_-" for letter in text) else f'"{text}"'
