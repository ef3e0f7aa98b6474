"""An engine of the user's own: not a name that testbed.nodes.registry knows, but the text of its files, which goes
wherever a node's configuration does. A plan that holds it is replayed as it was, whatever has become of the files
since; guests, containers and other machines need nothing but the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, slots=True)
class OwnEngine:
    """name: what it is called: ``mine.py:Mine``, or as the package that brings it says. file: the main one of its
    files, as messages name it. object: what in it is the engine. sources: its files, the main one first: each one's
    module name, and its text.
    """

    name: str
    file: str
    object: str
    sources: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """What names it to whoever can read its files."""
        return f"{self.file}:{self.object}"

    def path(self, module: str) -> str:
        """The file of one of the modules, as messages name it."""
        return str(PurePath(self.file).with_name(f"{module}.py"))

    @staticmethod
    def from_json(data: dict[str, Any]) -> OwnEngine:
        """The inverse of ``dataclasses.asdict``."""
        return OwnEngine(**{**data, "sources": tuple((name, text) for name, text in data["sources"])})


EngineName = str | OwnEngine
"""What tells which engine is meant: a name of testbed.nodes.registry, or the engine itself."""


class OwnEngineError(ValueError):
    """Something is wrong in an engine of the user's own: one line that says what, and where in the user's file."""
