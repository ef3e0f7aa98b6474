"""Takes down where frames are, as cheaply as the event loop needs it, and makes columns of it now and then."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.columns import Pick, gather
from testbed.engines.sim.fabric import Network
from testbed.engines.sim.netem import COPY, CORRUPT
from testbed.history import WHATS, Hops
from testbed.nodes.frames import Frame

CROSSED, DEAF = "cross", "deaf"
"""What a row can say besides what a Hop can: the frame left one end of its wire and came in at the other, or was
dropped there."""

HopRow = tuple[int, str, int, Frame, int]
"""When, what, the number of the wire, which frame, with which flags (testbed.engines.sim.netem)."""

_SAID = (*WHATS, CROSSED, DEAF)
_CODES = {what: code for code, what in enumerate(_SAID)}
_FRAME = 3  # its place in a row
_OF_FRAME = {
    "key_src": (_FRAME, 0, 0),
    "key_epoch": (_FRAME, 0, 1),
    "key_seq": (_FRAME, 0, 2),
    "dst": (_FRAME, 1),
    "round": (_FRAME, 3, 1),
    "step": (_FRAME, 3, 2),
}
"""Columns of what is in a frame, and where in a row that is."""
_PICKS: tuple[Pick, ...] = (
    ((0,), None), ((1,), _CODES), ((2,), None), ((4,), None), *((path, None) for path in _OF_FRAME.values()),
)  # fmt: skip
_LEAST_ROWS = 1 << 11  # few enough that they are still in the processor's cache when they are packed


class HopRecorder:
    """The hops of one run. The loop appends to ``rows`` directly."""

    def __init__(self, network: Network) -> None:
        self.rows: list[HopRow] = []
        self._places = list(network.interfaces)
        place = {interface: number for number, interface in enumerate(network.interfaces.values())}
        wires = list(network.wires.values())
        self._source = np.array([place[wire.source] for wire in wires], dtype=np.int32)
        self._sink = np.array([place[wire.sink] for wire in wires], dtype=np.int32)
        self._pieces: list[dict[str, Any]] = []

    def pack(self, least: int = _LEAST_ROWS) -> None:
        """Into columns, when there are at least so many rows that are not yet."""
        if len(self.rows) < least:
            return
        t_ns, what, wire, flag, *content = gather(self.rows, _PICKS)
        self.rows.clear()
        crossed, deaf, unknown = (what == _CODES[word] for word in (CROSSED, DEAF, "unknown"))
        row = np.repeat(np.arange(len(what)), 1 + (crossed | deaf))  # those are seen at both ends of the wire
        at_end = (np.diff(row, prepend=-1) == 0) | unknown[row]
        left = np.where(crossed | deaf, np.where(flag & COPY, _CODES["dup"], _CODES["out"]), what)
        came = np.select([deaf, unknown], [_CODES["mute"], _CODES["unknown"]], _CODES["in"])
        self._pieces.append(
            {
                "t_ns": t_ns[row],
                "place": np.where(at_end, self._sink[wire[row]], self._source[wire[row]]),
                "what": np.where(at_end, came[row], left[row]),
                "corrupt": (flag & CORRUPT).astype(bool)[row],
                **{name: values[row] for name, values in zip(_OF_FRAME, content, strict=True)},
            }
        )

    def count(self) -> int:
        """How many hops that makes so far; nearly every row makes two."""
        return sum(len(piece["t_ns"]) for piece in self._pieces) + 2 * len(self.rows)

    def hops(self) -> Hops:
        """All that was recorded."""
        self.pack(1)
        names = self._pieces[0] if self._pieces else ()
        return Hops(self._places, **{name: np.concatenate([piece[name] for piece in self._pieces]) for name in names})
