"""How much work a call takes, counted and not timed: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(call: Callable[..., object], *arguments: object) -> int:
    """How many instructions of Python's interpreter it takes; what a function written in C does counts as one."""
    count = 0

    def look(frame: FrameType, event: str, _what: Any) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call(*arguments)
    finally:
        sys.settrace(before)
    assert count, "nothing was counted: is this compiled code?"
    return count
