"""An atomic fault in one short line, for messages: ``at 10ms nic_mute host3-eth0``."""

from __future__ import annotations

from collections.abc import Sequence

from nodes.core.lies import FOREVER_NS, Lie
from nodes.core.moments import Moment
from nodes.core.text import drift_text
from testbed.plan import Fault
from topologies.draw import describe as describe_impairment
from topologies.draw import spell_time


def describe(fault: Fault) -> str:
    """When, what, whom."""
    words = [_when(fault), fault.verb, fault.nic or fault.target or _links(fault)]
    if fault.direction:
        words.append(fault.direction)
    if fault.verb == "clock_step":
        words.append(f"by {'-' if fault.amount < 0 else '+'}{spell_time(abs(fault.amount))}")
    if fault.verb == "clock_drift":
        words.append(f"by {'' if fault.amount < 0 else '+'}{drift_text(fault.amount)}")
    if fault.verb == "node_restart":
        words.append(f"with its state {fault.state.replace('_', ' ')}")
    if fault.impairment is not None:
        words.append(f"to {describe_impairment(fault.impairment)}")
    return " ".join(word for word in words if word)


def _when(fault: Fault) -> str:
    if fault.moment is not None:
        later = f" {spell_time(fault.after_ns)} later" if fault.after_ns else ""
        return f"when {fault.node} {_moment(fault.moment)}{later}:"
    if fault.follows >= 0:
        return f"{spell_time(fault.after_ns)} after fault {fault.follows}:"
    return f"at {spell_time(fault.at_ns)}"


def describe_lie(lie: Lie, hosts: Sequence[str]) -> str:
    """What, to whom, when; ``hosts`` by node number."""
    words = [lie.kind.value.replace("_", " ")]
    words += [f"by {spell_time(lie.by_ns)}"] if lie.by_ns else []
    words += [f"to {', '.join(hosts[number] for number in lie.to)}"] if lie.to else []
    if lie.moment is not None:
        words += [f"{spell_time(lie.after_ns)} after it" if lie.after_ns else "from when it", _moment(lie.moment), "on"]
        words += [f"for {spell_time(lie.for_ns)}"] if lie.for_ns < FOREVER_NS else []
        return " ".join(words)
    words += [f"from {spell_time(lie.from_ns)}"] if lie.from_ns > -FOREVER_NS else []
    words += [f"until {spell_time(lie.until_ns)}"] if lie.until_ns < FOREVER_NS else []
    return " ".join(words)


def _moment(moment: Moment) -> str:
    if moment.after_sends:
        what = f"has sent {moment.after_sends} frames"
    elif moment.after_writes:
        what = f"has written {moment.after_writes} records"
    else:
        what = f"enters {moment.enters}" if moment.enters else f"leaves {moment.leaves}"
    peer = f" with node {moment.peer}" if moment.peer >= 0 else ""
    return what + peer + (f" in round {moment.round}" if moment.round >= 0 else "")


def _links(fault: Fault) -> str:
    if fault.verb in ("link_down", "link_up"):
        return f"{len(fault.links)} link{'s' if len(fault.links) > 1 else ''}"
    return f"{len(fault.links)} link directions" if fault.links else ""
