"""The messages of Viewstamped Replication and their bytes. A frame's ``round`` is the term (epoch and view, see
epochs.py), its ``step`` the type."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.vrr import epochs
from testbed.nodes.consensus.vrr.oplog import Entry
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, entry, number, numbers, part, parts, repeat

_PREPARE = struct.Struct("!QQI")  # .., view of the entry
_PREPARE_OK = struct.Struct("!QI")
_COMMIT = struct.Struct("!QQI")
_NUMBER = struct.Struct("!I")
_SLOT = struct.Struct("!Q")
_STATE = struct.Struct("!QQ")


class Step(IntEnum):
    """A message's type: the ``step`` of its frame."""

    PREPARE = 1
    PREPARE_OK = 2
    COMMIT = 3
    START_VIEW_CHANGE = 4
    DO_VIEW_CHANGE = 5
    START_VIEW = 6
    RECOVERY = 7
    RECOVERY_RESPONSE = 8
    GET_STATE = 9
    NEW_STATE = 10
    END_EPOCH = 11
    EPOCH_STARTED = 12


Lives = tuple[int, ...]
"""Of each member by rank, the latest life that the sender knows of; its own among them (0: it has heard of none)."""


class State(NamedTuple):
    """A log: ``entries`` from slot ``after`` on, and where the ones before are forgotten a ``base``
    (testbed.nodes.consensus. logs) in their place. commit: how many slots are known to be decided."""

    after: int
    commit: int
    entries: tuple[Entry, ...] = ()
    base: bytes = b""

    @property
    def end(self) -> int:
        """The first slot behind it."""
        return self.after + len(self.entries)


class Prepare(NamedTuple):
    """The primary puts ``entry`` into ``slot``."""

    slot: int
    commit: int
    entry: Entry


class PrepareOk(NamedTuple):
    """The answer to that: all slots below ``end`` are here. Or to a heartbeat: its ``probe``."""

    end: int
    probe: int = 0


class Commit(NamedTuple):
    """How many slots are filled, and how many of them decided. With a ``probe`` it is a heartbeat, and answered."""

    end: int
    commit: int
    probe: int = 0


class StartViewChange(NamedTuple):
    """The sender has left its view for this one."""

    lives: Lives


class DoViewChange(NamedTuple):
    """To the primary of this view: it may begin, as far as the sender is concerned, with this ``state`` or a better
    one. normal: the latest view that it took part in."""

    normal: int
    lives: Lives
    state: State


class StartView(NamedTuple):
    """The view has begun, with this log."""

    state: State


class Recovery(NamedTuple):
    """A life that knows nothing asks. nonce: what only this life can have said."""

    nonce: int
    lives: Lives


class RecoveryResponse(NamedTuple):
    """The answer of one that takes part. state: the primary's."""

    nonce: int
    lives: Lives
    state: State | None = None


class GetState(NamedTuple):
    """To the primary: the log from this slot on."""

    after: int


class NewState(NamedTuple):
    """The answer."""

    state: State


class EndEpoch(NamedTuple):
    """The epoch before this one is over for the sender, who votes in it: all slots below ``end`` are decided."""

    end: int
    lives: Lives


class EpochStarted(NamedTuple):
    """The answer of one that takes part in the epoch."""


Said = (
    Prepare
    | PrepareOk
    | Commit
    | StartViewChange
    | DoViewChange
    | StartView
    | Recovery
    | RecoveryResponse
    | GetState
    | NewState
    | EndEpoch
    | EpochStarted
)

_STEPS: dict[type[Said], Step] = {
    Prepare: Step.PREPARE,
    PrepareOk: Step.PREPARE_OK,
    Commit: Step.COMMIT,
    StartViewChange: Step.START_VIEW_CHANGE,
    DoViewChange: Step.DO_VIEW_CHANGE,
    StartView: Step.START_VIEW,
    Recovery: Step.RECOVERY,
    RecoveryResponse: Step.RECOVERY_RESPONSE,
    GetState: Step.GET_STATE,
    NewState: Step.NEW_STATE,
    EndEpoch: Step.END_EPOCH,
    EpochStarted: Step.EPOCH_STARTED,
}

# -- bytes ------------------------------------------------------------------------------------------------------------


def _pack_lives(lives: Lives) -> bytes:
    return b"".join(map(_NUMBER.pack, lives))


def _read_lives(data: bytes) -> Lives:
    return tuple(number for (number,) in _NUMBER.iter_unpack(data))


def _pack_state(state: State) -> bytes:
    entries = logs.pack_parts(_NUMBER.pack(view) + data for view, data in state.entries)
    return logs.pack_parts((_STATE.pack(state.after, state.commit), entries, state.base))


def _parts(data: bytes, count: int) -> list[bytes]:
    parts = logs.read_parts(data)
    if parts is None or len(parts) != count:
        raise ValueError("not so many parts")
    return parts


def _read_state(data: bytes) -> State:
    numbers, packed, base = _parts(data, 3)
    after, commit = _STATE.unpack(numbers)
    entries, known = logs.read_parts(packed), logs.read_base(base) if base else None
    if entries is None or (base and (known is None or known.slot != after)):
        raise ValueError("no entries, or no base below them")
    told = tuple(Entry(_NUMBER.unpack_from(one)[0], one[_NUMBER.size :]) for one in entries)
    return State(after, commit, told, base)


_LIVES = repeat("lives", number("life"))
_LOG = (
    part("slots", *numbers(8, "after", "commit")),
    part("entries", parts("entries", number("view"), entry())),
    part("base"),
)
BODIES: Bodies = {
    Step.PREPARE: Body("prepare", (*numbers(8, "slot", "commit"), number("view"), entry())),
    Step.PREPARE_OK: Body("prepare_ok", (number("end", 8), number("probe"))),
    Step.COMMIT: Body("commit", (*numbers(8, "end", "commit"), number("probe"))),
    Step.START_VIEW_CHANGE: Body("start_view_change", (_LIVES,)),
    Step.DO_VIEW_CHANGE: Body(
        "do_view_change", (part("normal", number("normal")), part("lives", _LIVES), part("log", *_LOG))
    ),
    Step.START_VIEW: Body("start_view", _LOG),
    Step.RECOVERY: Body("recovery", (number("nonce"), _LIVES)),
    Step.RECOVERY_RESPONSE: Body(
        "recovery_response", (part("nonce", number("nonce")), part("lives", _LIVES), part("log", *_LOG))
    ),
    Step.GET_STATE: Body("get_state", numbers(8, "after")),
    Step.NEW_STATE: Body("new_state", _LOG),
    Step.END_EPOCH: Body("end_epoch", (number("end", 8), _LIVES)),
    Step.EPOCH_STARTED: Body("epoch_started"),
    **logs.BODIES,
}


def message(view: int, said: Said) -> frames.Message:
    """What is sent."""
    return frames.Message(frames.Kind.DATA, view, _STEPS[type(said)], _body(said))


def _body(said: Said) -> bytes:
    match said:
        case Prepare(slot, commit, entry):
            return _PREPARE.pack(slot, commit, entry.view) + entry.data
        case PrepareOk():
            return _PREPARE_OK.pack(*said)
        case Commit():
            return _COMMIT.pack(*said)
        case StartViewChange(lives):
            return _pack_lives(lives)
        case DoViewChange(normal, lives, state):
            return logs.pack_parts((_NUMBER.pack(normal), _pack_lives(lives), _pack_state(state)))
        case StartView(state) | NewState(state):
            return _pack_state(state)
        case Recovery(nonce, lives):
            return _NUMBER.pack(nonce) + _pack_lives(lives)
        case RecoveryResponse(nonce, lives, known):
            packed = b"" if known is None else _pack_state(known)
            return logs.pack_parts((_NUMBER.pack(nonce), _pack_lives(lives), packed))
        case GetState(after):
            return _SLOT.pack(after)
        case EndEpoch(end, lives):
            return _SLOT.pack(end) + _pack_lives(lives)
        case EpochStarted():
            return b""


def read(heard: frames.Message) -> Said | None:
    """What was said; None when it is no message of this engine's."""
    try:
        return _read(Step(heard.step), heard.body)
    except (ValueError, struct.error):
        return None


def _read(step: Step, body: bytes) -> Said:
    match step:
        case Step.PREPARE:
            slot, commit, view = _PREPARE.unpack_from(body)
            return Prepare(slot, commit, Entry(view, body[_PREPARE.size :]))
        case Step.PREPARE_OK:
            return PrepareOk(*_PREPARE_OK.unpack(body))
        case Step.COMMIT:
            return Commit(*_COMMIT.unpack(body))
        case Step.START_VIEW_CHANGE:
            return StartViewChange(_read_lives(body))
        case Step.DO_VIEW_CHANGE:
            normal, lives, state = _parts(body, 3)
            return DoViewChange(_NUMBER.unpack(normal)[0], _read_lives(lives), _read_state(state))
        case Step.START_VIEW:
            return StartView(_read_state(body))
        case Step.RECOVERY:
            nonce, *lives_known = _read_lives(body)
            return Recovery(nonce, tuple(lives_known))
        case Step.RECOVERY_RESPONSE:
            nonce_said, lives, known = _parts(body, 3)
            state_or_none = _read_state(known) if known else None
            return RecoveryResponse(_NUMBER.unpack(nonce_said)[0], _read_lives(lives), state_or_none)
        case Step.GET_STATE:
            return GetState(*_SLOT.unpack(body))
        case Step.NEW_STATE:
            return NewState(_read_state(body))
        case Step.END_EPOCH:
            return EndEpoch(_SLOT.unpack_from(body)[0], _read_lives(body[_SLOT.size :]))
        case Step.EPOCH_STARTED if not body:
            return EpochStarted()
    raise ValueError("more than it has to say")


# -- words ------------------------------------------------------------------------------------------------------------


def falsify(config: NodeConfig, heard: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it puts one in order or submits one."""
    if heard.kind is not frames.Kind.DATA:
        return None
    if heard.step == logs.Step.SUBMIT:
        entry = logs.falsify_entry(config, heard.body, which)
        return None if entry is None else heard._replace(body=entry)
    said = read(heard)
    if not isinstance(said, Prepare):
        return None
    false = logs.falsify_entry(config, said.entry.data, which)
    if false is None:
        return None
    return message(heard.round, said._replace(entry=said.entry._replace(data=false)))


def _entry_text(entry: Entry) -> str:
    epoch = epochs.epoch_in(entry.data)
    return logs.entry_text(entry.data) if epoch is None else f"begin of epoch {epoch}"


def _state_text(state: State) -> str:
    told = ", ".join(f"{_entry_text(entry)} of {epochs.text(entry.view)}" for entry in state.entries)
    before = f"a state in place of slots below {state.after}, then " if state.base else ""
    return f"{before}from slot {state.after} on: {told or 'nothing'}; {state.commit} decided"


def says(heard: frames.Message) -> str:
    """What a message says, in words."""
    if heard.step >= logs.LOG_STEPS:
        return logs.says(heard)
    said = read(heard)
    if said is None:
        return "not of Viewstamped Replication"
    return _says_between(heard.round, said) or _says_in_view(epochs.text(heard.round), said)


def _says_in_view(view: str, said: Said) -> str:
    match said:
        case Prepare(slot, commit, entry):
            return f"prepare {_entry_text(entry)} in slot {slot}, {commit} decided, {view}"
        case PrepareOk(end, probe):
            return f"prepared below {end}{f', heartbeat {probe}' if probe else ''}, {view}"
        case Commit(end, commit, probe):
            return f"{commit} of {end} decided{f', heartbeat {probe}' if probe else ''}, {view}"
        case StartViewChange(_):
            return f"start change to {view}"
        case DoViewChange(normal, _, state):
            return f"do change to {view}, took part in {epochs.text(normal)}; {_state_text(state)}"
        case StartView(state):
            return f"start {view}; {_state_text(state)}"
        case GetState(after):
            return f"what is there from slot {after} on, {view}?"
        case NewState(state):
            return f"log, {view}; {_state_text(state)}"
    return ""


def _says_between(term: int, said: Said) -> str:
    """What lives and epochs say when they begin or end; empty: it is another message."""
    match said:
        case Recovery(nonce, _):
            return f"recover, nonce {nonce}"
        case RecoveryResponse(nonce, _, known):
            what = "" if known is None else f"; {_state_text(known)}"
            return f"recovery response to nonce {nonce}, {epochs.text(term)}{what}"
        case EndEpoch(end, _):
            return f"epoch {epochs.epoch_of(term) - 1} is over, with slots below {end}"
        case EpochStarted():
            return f"epoch {epochs.epoch_of(term)} has begun"
    return ""
