"""Messages of any size: a wrapper around a machine that cuts what no frame can carry and joins what comes in parts.

A DATA message whose body is longer than MAX_BODY goes out as PART messages, one per frame, each with a header
(testbed.nodes.frames.PART_HEAD): which of the sender's cut messages it belongs to, its place, and how many there are. A
lost part loses the message, as a lost frame does; parts may come in any order and twice. Being a machine, it does the
same under every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.nodes.core import Effect, Effects, Life, Machine, Note, Port, Send
from testbed.nodes.frames import MAX_BODY, PART_HEAD, Kind, Message

PART_BYTES = MAX_BODY - PART_HEAD.size
"""What one part carries."""

MOST_PARTS = (1 << 16) - 1
MOST_JOINING = 64
"""Messages of one peer that may be incomplete at a time; of more, those that began first are given up."""


def part_text(message: Message) -> str:
    """What a PART is a part of, in words."""
    if len(message.body) < PART_HEAD.size:
        return "too short for a part"
    number, place, count = PART_HEAD.unpack_from(message.body)
    return f"part {place + 1} of {count} of message {number}"


@dataclass(slots=True)
class Joining:
    """A message of which some parts are here."""

    count: int
    parts: dict[int, bytes] = field(default_factory=dict)


class Segmented:
    """``machine``, which may say and is told messages of any size (testbed.nodes.core.Machine)."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cut = 0  # messages cut in this life
        self.joining: dict[Port, dict[tuple[int, int], Joining]] = {}  # port -> (sender's life, number) -> parts

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The node comes up; of what is cut and joined nothing is kept."""
        return self._cut(self.machine.on_start(now_ns, disk))

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A message, or a part of one; the last part brings the whole."""
        if message.kind is not Kind.PART:
            return self._cut(self.machine.on_message(port, message, life, now_ns))
        whole = self._join(port, message, life)
        return self._cut(self.machine.on_message(port, whole, life, now_ns)) if isinstance(whole, Message) else whole

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """A timer of the machine."""
        return self._cut(self.machine.on_timer(name, now_ns))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _cut(self, effects: Effects) -> Effects:
        if not any(isinstance(effect, Send) and len(effect.message.body) > MAX_BODY for effect in effects):
            return effects
        return [part for effect in effects for part in self._parts(effect)]

    def _parts(self, effect: Effect) -> Effects:
        if not isinstance(effect, Send) or len(effect.message.body) <= MAX_BODY:
            return [effect]
        port, (kind, round_, step, body, flags) = effect
        count = -(-len(body) // PART_BYTES)
        if kind is not Kind.DATA or count > MOST_PARTS:
            raise ValueError(f"a {kind.name} of {len(body)} bytes can't be cut: DATA can, up to {MOST_PARTS} parts")
        self.cut += 1
        return [
            Send(
                port,
                Message(
                    Kind.PART,
                    round_,
                    step,
                    PART_HEAD.pack(self.cut, place, count) + body[place * PART_BYTES : (place + 1) * PART_BYTES],
                    flags,
                ),
            )
            for place in range(count)
        ]

    def _join(self, port: Port, message: Message, life: Life) -> Message | Effects:
        """The whole message, once all of its parts are here; until then what there is to note."""
        if len(message.body) < PART_HEAD.size:
            return [Note("stray", message.round, "a part without its header", message)]
        number, place, count = PART_HEAD.unpack_from(message.body)
        waiting = self.joining.setdefault(port, {})
        joining = waiting.setdefault((life.epoch, number), Joining(count))
        if place >= count or count != joining.count:
            return [Note("stray", message.round, f"part {place} of {count}, where there are {joining.count}", message)]
        joining.parts[place] = message.body[PART_HEAD.size :]
        if len(joining.parts) == count:
            del waiting[life.epoch, number]
            body = b"".join(joining.parts[index] for index in range(count))
            return Message(Kind.DATA, message.round, message.step, body, message.flags)
        if len(waiting) <= MOST_JOINING:
            return []
        epoch, oldest = next(iter(waiting))
        del waiting[epoch, oldest]
        return [Note("incomplete", message.round, f"message {oldest} of life {epoch} was given up: parts are missing")]
