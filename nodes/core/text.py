"""An effect as one line of text: what traces are made of, and whatever else tells a person what a machine does.

The form is stable: tests/traces holds it by the thousand. A line names nodes as the configuration does, and tells a
message's body through ``says``, which an engine may bring (EngineSpec.says).
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.nodes.core import (
    Apply,
    CancelTimer,
    Decide,
    Effect,
    Install,
    Invoke,
    Note,
    Persist,
    Propose,
    Readable,
    Resolve,
    Return,
    RoundStart,
    Send,
    SetTimer,
    SwapId,
    Transition,
    values,
)
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.segmented import part_text
from testbed.nodes.frames import Kind, Message

Says = Callable[[Message], str]
"""What the body of a message means, in words; "" when it means nothing."""

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us"))


def body_text(message: Message) -> str:
    """The bytes, without the zeros at their end: what can be said of any body."""
    return message.body.rstrip(b"\0").hex()


def time_text(ns: int) -> str:
    """Without loss, in the greatest unit of which it is a whole number: ``12500ns``, ``3ms``, ``0ns``."""
    for size, unit in _UNITS:
        if ns and ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns}ns"


def message_text(message: Message, says: Says = body_text) -> str:
    """As ``SWAP 1 of round 0: <what it says>``; flags only where there are any."""
    head = f"{message.kind.name} {message.step} of round {message.round}"
    meaning = _meaning(message, says)
    return head + (f" flags {message.flags}" if message.flags else "") + (f": {meaning}" if meaning else "")


def _meaning(message: Message, says: Says) -> str:
    if message.kind is Kind.RESET:
        return ""
    return part_text(message) if message.kind is Kind.PART else says(message)


def effect_text(effect: Effect, config: NodeConfig, says: Says = body_text) -> str:
    """One line for what the machine of ``config`` does."""
    match effect:
        case Send(port, message):
            return f"send {config.peers[port].name}: {message_text(message, says)}"
        case SetTimer(name, at_ns):
            return f"timer {name} at {time_text(at_ns)}"
        case CancelTimer(name):
            return f"cancel timer {name}"
        case Transition(swap, old, new):
            return f"{_swap_text(swap, config)}: {old} -> {new}"
        case Resolve(swap, outcome, value):
            meaning = says(Message(Kind.SWAP, swap.round, 0, value))
            return f"{_swap_text(swap, config)}: {outcome}, holds {meaning}"
        case Propose(instance, value):
            return f"propose {values.text(value)} in instance {instance}"
        case Decide(instance, value, round_):
            return f"decide {values.text(value)} in instance {instance}, led to by round {round_}"
        case Install() | Readable() | Apply() | Invoke() | Return():
            return _service_text(effect)
        case RoundStart(round_, offered):
            return f"round {round_} begins, offering {says(Message(Kind.SWAP, round_, 0, offered))}"
        case Persist(key, data, sync, more):
            what = f"forget {key}" if data is None else f"persist {key}: {len(data)} bytes"
            return what + (", with what follows" if more else "" if sync else ", later")
        case Note():
            return _note_text(effect)


def _service_text(effect: Install | Readable | Apply | Invoke | Return) -> str:
    match effect:
        case Install(below, state):
            return f"install {values.text(state)} in place of the entries below {below}"
        case Readable(number, below):
            return f"read {number} may be answered, after the entries below {below}"
        case Apply(entry, value):
            return f"apply {values.text(value)} as entry {entry}"
        case Invoke(operation, call):
            return f"invoke operation {operation}: {values.text(call)}"
        case Return(operation, result):
            return f"operation {operation} returns {values.text(result)}"


def _swap_text(swap: SwapId, config: NodeConfig) -> str:
    other = swap.high if swap.low == config.node else swap.low
    name = next(peer.name for peer in config.peers if peer.node == other)
    return f"swap {swap.round} with {name}"


def _note_text(note: Note) -> str:
    """With the message that it is about, unless that is the one in hand: the driver then has put its frame in."""
    about = note.about
    said = f" [{about.kind.name} {about.step} of round {about.round}]" if isinstance(about, Message) else ""
    return f"note {note.what}" + (f": {note.text}" if note.text else "") + said


def drift_text(ppb: int) -> str:
    """``20ppm``, ``-300ppb``: how much a clock gains, exactly."""
    return f"{ppb // 1000}ppm" if ppb % 1000 == 0 else f"{ppb}ppb"
