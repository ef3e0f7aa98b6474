"""The messages of Raft and their bytes. A frame's ``round`` is the term, its ``step`` the type."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.raft.entries import Entry, Spot
from testbed.nodes.consensus.raft.quorums import Membership
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.core.layout import Bodies, Body, entry, number, numbers, repeat, rest, sized

MAX_TERM = (1 << 31) - 1
"""A greater number in a frame is no term, so that a term above all that are heard of always fits its 32 bits."""

_SPOT = struct.Struct("!QI")
_APPEND = struct.Struct("!QIQI")
_APPENDED = struct.Struct("!QQI")
_ENTRY = struct.Struct("!II")  # term, length
_SNAPSHOT = struct.Struct("!QIII")  # .., length of the membership


class Step(IntEnum):
    """A message's type: the ``step`` of its frame."""

    ASK_VOTE = 1
    VOTE = 2
    APPEND = 3
    APPENDED = 4
    SNAPSHOT = 5
    CAMPAIGN = 6


_PRE, _TOLD, _YES, _LEARNS = 1, 2, 4, 8  # flags

_WHERE = (number("at", 8), number("term"))
_PROBE = number("probe")
_LOGGED = (number("term"), number("size"), sized("entry", "size", entry()))
BODIES: Bodies = {
    Step.ASK_VOTE: Body("ask_vote", _WHERE),
    Step.VOTE: Body("vote"),
    Step.APPEND: Body("append", (*_WHERE, number("commit", 8), _PROBE, repeat("entries", *_LOGGED))),
    Step.APPENDED: Body("appended", (*numbers(8, "at", "hint"), _PROBE)),
    Step.SNAPSHOT: Body("snapshot", (*_WHERE, _PROBE, number("size"), sized("members", "size"), rest("state"))),
    Step.CAMPAIGN: Body("campaign"),
    **logs.BODIES,
}


class AskVote(NamedTuple):
    """A candidate asks. last: where its log ends. pre: whether it would get the vote in that term, which nobody has
    begun yet. told: the leader told it to, and wants to be replaced."""

    last: Spot
    pre: bool = False
    told: bool = False


class Vote(NamedTuple):
    """The answer."""

    granted: bool
    pre: bool = False


class Append(NamedTuple):
    """A leader says what stands behind the spot ``after``, and what of it is committed; a heartbeat where that is
    nothing. probe: numbers what is asked, to be said in the answer."""

    after: Spot
    commit: int
    probe: int
    entries: tuple[Entry, ...] = ()


class Appended(NamedTuple):
    """The answer: the log is the leader's up to ``at``; or (not ``held``) it does not hold the spot ``at`` that was
    asked about, and may be the leader's up to ``hint``. learns: this node's word does not count."""

    held: bool
    at: int
    hint: int
    probe: int
    learns: bool = False


class Snapshot(NamedTuple):
    """A leader gives ``state`` in place of all entries up to ``spot``."""

    spot: Spot
    members: Membership
    probe: int
    state: bytes


class Campaign(NamedTuple):
    """The leader tells a follower to take its place, now."""


Said = AskVote | Vote | Append | Appended | Snapshot | Campaign


def pack_entry(entry: Entry) -> bytes:
    """The bytes of one entry."""
    return _ENTRY.pack(entry.term, len(entry.data)) + entry.data


def read_entries(body: bytes) -> tuple[Entry, ...] | None:
    """Entries, one after the other; None for bytes that are none."""
    found: list[Entry] = []
    at = 0
    while at < len(body):
        if at + _ENTRY.size > len(body):
            return None
        term, length = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size + length
        if at > len(body) or not 1 <= term <= MAX_TERM:
            return None
        found.append(Entry(term, body[at - length : at]))
    return tuple(found)


def pack_members(members: Membership) -> bytes:
    """The bytes of a membership."""
    return pack(*members)


def read_members(data: bytes) -> Membership | None:
    """The inverse; None for what is none."""
    try:
        number, voters, before = unpack(data)
        return Membership(int(number), tuple(map(int, voters)), tuple(map(int, before)))
    except (ValueError, TypeError):
        return None


def message(term: int, said: Said) -> frames.Message:
    """What is sent."""
    step, flags, body = _STEPS[type(said)], 0, b""
    match said:
        case AskVote(last, pre, told):
            flags, body = _PRE * pre | _TOLD * told, _SPOT.pack(*last)
        case Vote(granted, pre):
            flags = _YES * granted | _PRE * pre
        case Append(after, commit, probe, entries):
            body = _APPEND.pack(*after, commit, probe) + b"".join(map(pack_entry, entries))
        case Appended(held, at, hint, probe, learns):
            flags, body = _YES * held | _LEARNS * learns, _APPENDED.pack(at, hint, probe)
        case Snapshot(spot, members, probe, state):
            packed = pack_members(members)
            body = _SNAPSHOT.pack(*spot, probe, len(packed)) + packed + state
    return frames.Message(frames.Kind.DATA, term, step, body, flags)


def read(heard: frames.Message) -> Said | None:
    """What was said; None when it is no message of this engine's."""
    if not 0 <= heard.round <= MAX_TERM:
        return None
    try:
        return _read(heard)
    except (ValueError, struct.error):
        return None


def _read(heard: frames.Message) -> Said | None:
    body, flags = heard.body, heard.flags
    pre, yes = bool(flags & _PRE), bool(flags & _YES)
    match Step(heard.step):
        case Step.ASK_VOTE:
            return AskVote(Spot(*_SPOT.unpack_from(body)), pre, bool(flags & _TOLD))
        case Step.VOTE:
            return Vote(yes, pre)
        case Step.APPEND:
            at, term, commit, probe = _APPEND.unpack_from(body)
            entries = read_entries(body[_APPEND.size :])
            return None if entries is None else Append(Spot(at, term), commit, probe, entries)
        case Step.APPENDED:
            at, hint, probe = _APPENDED.unpack_from(body)
            return Appended(yes, at, hint, probe, bool(flags & _LEARNS))
        case Step.SNAPSHOT:
            at, term, probe, length = _SNAPSHOT.unpack_from(body)
            members = read_members(body[_SNAPSHOT.size : _SNAPSHOT.size + length])
            state = body[_SNAPSHOT.size + length :]
            return None if members is None else Snapshot(Spot(at, term), members, probe, state)
        case Step.CAMPAIGN:
            return Campaign()


_STEPS: dict[type[Said], Step] = {
    AskVote: Step.ASK_VOTE,
    Vote: Step.VOTE,
    Append: Step.APPEND,
    Appended: Step.APPENDED,
    Snapshot: Step.SNAPSHOT,
    Campaign: Step.CAMPAIGN,
}


def falsify(config: NodeConfig, heard: frames.Message, which: int) -> frames.Message | None:
    """The same with another value in place of the first that was submitted, where it tells one."""
    if heard.kind is not frames.Kind.DATA:
        return None
    if heard.step == logs.Step.SUBMIT:
        entry = logs.falsify_entry(config, heard.body, which)
        return None if entry is None else heard._replace(body=entry)
    said = read(heard)
    for place, told in enumerate(said.entries if isinstance(said, Append) else ()):
        false = logs.falsify_entry(config, told.data, which)
        if isinstance(said, Append) and false is not None:
            entries = (*said.entries[:place], told._replace(data=false), *said.entries[place + 1 :])
            return message(heard.round, said._replace(entries=entries))
    return None


def _entry_text(entry: Entry) -> str:
    members = read_members(entry.data[len(logs.NOOP) :])
    if members is None:
        return f"{logs.entry_text(entry.data)} of term {entry.term}"
    voters = " ".join(map(str, members.voters))
    before = " ".join(map(str, members.before))
    return f"voters {voters}{f' with {before}' if before else ''} of term {entry.term}"


def says(heard: frames.Message) -> str:
    """What a message says, in words."""
    if heard.step >= logs.LOG_STEPS:
        return logs.says(heard)
    said, term = read(heard), f"term {heard.round}"
    match said:
        case AskVote(last, pre, told):
            what = "would you vote for me" if pre else "vote for me"
            return f"{what} in {term}, log ends at {last.at} of term {last.term}{', told to' if told else ''}"
        case Vote(granted, pre):
            return f"{'would vote' if pre else 'vote'} {'yes' if granted else 'no'}, {term}"
        case Append(after, commit, _, entries):
            what = f"append {', '.join(map(_entry_text, entries))}" if entries else "heartbeat"
            return f"{what} after {after.at} of term {after.term}, commit {commit}, {term}"
        case Appended(held, at, hint, _, learns):
            what = f"appended up to {at}" if held else f"no {at} here, perhaps {hint}"
            return f"{what}{', learns only' if learns else ''}, {term}"
        case Snapshot(spot, _, _, state):
            return f"snapshot of {len(state)} bytes up to {spot.at} of term {spot.term}, {term}"
        case Campaign():
            return f"take my place, {term}"
    return "not of Raft"
