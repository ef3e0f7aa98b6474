"""Histories that others recorded, and the objects that they are histories of (for tests)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from testbed.verdicts.linearizability import Timed

_REGISTER = re.compile(r"INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:(\w+)\s+(.+)")
_STORE = re.compile(r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*?)", :value (nil|"(.*)")\}')


class Register:
    """A register with compare-and-set; nothing is in it at first."""

    def initial(self) -> str:
        return "nil"

    def apply(self, state: str, call: tuple[str, ...]) -> tuple[str, str]:
        do, *values = call
        if do == "read":
            return state, state
        if do == "write":
            return values[0], "ok"
        old, new = values
        return (new, "ok") if state == old else (state, "fail")


class Appended:
    """A key-value store with get, put and append; absent is the empty string."""

    def initial(self) -> tuple[tuple[str, str], ...]:
        return ()

    def apply(
        self, state: tuple[tuple[str, str], ...], call: tuple[str, str, str]
    ) -> tuple[tuple[tuple[str, str], ...], str]:
        do, key, value = call
        held = dict(state)
        if do == "get":
            return state, held.get(key, "")
        held[key] = held.get(key, "") + value if do == "append" else value
        return tuple(sorted(held.items())), "ok"


def key_of(call: tuple[str, str, str]) -> str:
    return call[1]


def read_register(path: Path) -> list[Timed]:
    """One of the etcd histories."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _REGISTER.search(line):
            process, kind, do, value = found.groups()
            words = () if do == "read" else tuple(value.strip("[]").split())
            result = {"ok": value if do == "read" else "ok", "fail": "fail"}.get(kind)
            lines.append((process, kind, (do, *words), result))
    return _paired(lines)


def read_store(path: Path) -> list[Timed]:
    """One of the key-value histories."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _STORE.search(line):
            process, kind, do, key, _, value = found.groups()
            call = (do, key, "" if do == "get" else value or "")
            lines.append((process, kind, call, (value or "") if do == "get" else "ok"))
    return _paired(lines)


def _paired(lines: Iterable[tuple[str, str, tuple[str, ...], str | None]]) -> list[Timed]:
    """A line a moment. What timed out (``:info``) stays open to the end, and its process goes on as another."""
    found: list[Timed] = []
    open_: dict[str, Timed] = {}
    for moment, (process, kind, call, result) in enumerate(lines):
        if kind == "invoke":
            open_[process] = Timed(process, call, moment)
        elif kind in ("ok", "fail"):
            found.append(open_.pop(process)._replace(result=result, returned=moment))
        else:
            found.append(open_.pop(process))
    return [*found, *open_.values()]
