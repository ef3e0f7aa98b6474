"""What members tell each other of sites' logs, and its bytes. Inside a site Multi-Paxos speaks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.hydra.merge import Entry, read_entry, value_of
from testbed.nodes.consensus.multi_paxos import messages as multi_paxos
from testbed.nodes.core import values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, number, parts, repeat, rest


class Step(IntEnum):
    """A message's type: the ``step`` of its frame; ``round`` is 0."""

    KNOWN = 96  # how many entries of each site's log the sender knows
    ASK = 97  # the same; and tell me what I lack
    ENTRIES = 98  # of a site's log, from one on
    STATE = 99  # a snapshot (testbed.nodes.consensus.hydra.merge) in place of what it stands for


STEPS = frozenset(map(int, Step))
_COUNT = struct.Struct("!Q")
_ENTRIES = struct.Struct("!HQ")  # site, the first one's place in its log

_KNOWN = (repeat("sites", number("known", 8)),)
BODIES: Bodies = {
    **multi_paxos.BODIES,
    Step.KNOWN: Body("known", _KNOWN),
    Step.ASK: Body("ask", _KNOWN),
    Step.ENTRIES: Body(
        "entries", (number("site", 2), number("place", 8), parts("entries", number("ballot"), rest("value")))
    ),
    Step.STATE: Body("state", (rest("state"),)),
}


def pack_known(known: Sequence[int]) -> bytes:
    """As KNOWN and ASK tell it."""
    return b"".join(map(_COUNT.pack, known))


def read_known(body: bytes, sites: int) -> list[int] | None:
    """The inverse, of so many sites; None for bytes that are none."""
    if len(body) != sites * _COUNT.size:
        return None
    return [count for (count,) in _COUNT.iter_unpack(body)]


def pack_entries(site: int, first: int, entries: Sequence[Entry]) -> bytes:
    """As ENTRIES tells them."""
    return _ENTRIES.pack(site, first) + logs.pack_parts(entry.pack() for entry in entries)


def read_entries(body: bytes) -> tuple[int, int, list[Entry]] | None:
    """The inverse; None for bytes that are none."""
    parts = logs.read_parts(body[_ENTRIES.size :]) if len(body) >= _ENTRIES.size else None
    if parts is None:
        return None
    entries = [entry for part in parts if (entry := read_entry(part)) is not None]
    site, first = _ENTRIES.unpack_from(body)
    return (site, first, entries) if len(entries) == len(parts) else None


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with other values, where it tells some: entries of a site's log, and whatever does in Multi-Paxos."""
    if message.kind is not frames.Kind.DATA or message.step not in STEPS:
        return multi_paxos.falsify(config, message, which)
    read = read_entries(message.body) if message.step == Step.ENTRIES else None
    if read is None:
        return None
    site, first, entries = read
    false = [entry._replace(said=_falsified(config, entry.said, which)) for entry in entries]
    return None if false == entries else message._replace(body=pack_entries(site, first, false))


def _falsified(config: NodeConfig, said: bytes, which: int) -> bytes:
    if value_of(said) is None:
        return said
    return logs.falsify_value(config, said, which) or said


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    name, body = message.step, message.body
    if name in (Step.KNOWN, Step.ASK) and len(body) % _COUNT.size == 0:
        known = " ".join(str(count) for (count,) in _COUNT.iter_unpack(body))
        return f"known of each site: {known}" + ("; and what I lack?" if name == Step.ASK else "")
    if name == Step.STATE:
        return f"state, {len(body)} bytes"
    read = read_entries(body) if name == Step.ENTRIES else None
    if read is None:
        return multi_paxos.says(message)
    site, first, entries = read
    return f"of site {site} from {first} on: {', '.join(_said_text(entry.said) for entry in entries)}"


def _said_text(said: bytes) -> str:
    value = value_of(said)
    return f"skip below {values.text(said[:-1])}" if value is None else values.text(value)
