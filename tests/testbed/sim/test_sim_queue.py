"""The queue of events gives them in order, whatever is pushed, moved on, or taken out meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.engines.sim.queue import FRAME, TIMER, Event, Queue

Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["push", "push", "pop", "move", "take"]), st.integers(0, 20)), max_size=60)


@given(STEPS)
def test_events_happen_by_key_and_then_by_serial(steps: list[Step]) -> None:
    queue, plain = Queue(), list[tuple[int, int]]()
    for serial, (deed, number) in enumerate(steps):
        key = number << 2 | (FRAME if number % 3 else TIMER)
        if deed == "push":
            queue.push(Event(key, serial, None, None, 0))
            plain.append((key, serial))
        elif deed == "take":
            gone = [(event.key, event.serial) for event in queue.take_out(lambda event: event.key & 3 == TIMER)]
            assert gone == [one for one in plain if one[0] & 3 == TIMER]
            plain = [one for one in plain if one[0] & 3 != TIMER]
        elif plain:
            first = queue.first()
            assert (first.key, first.serial) == plain.pop(0)
            if deed == "pop":
                queue.pop()
            else:
                first.key, first.serial = first.key + key, serial
                queue.moved(first)
                plain.append((first.key, first.serial))
        plain.sort()
    assert sorted((event.key, event.serial) for event in queue.events()) == plain
    assert [(event.key, event.serial) for event in queue.drained()] == plain
