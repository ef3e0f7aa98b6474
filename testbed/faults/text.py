"""An atomic fault in one short line, for messages: ``at 10ms nic_mute host3-eth0``."""

from __future__ import annotations

from nodes.core.driver import Moment
from testbed.plan import Fault
from topologies.draw import describe as describe_impairment
from topologies.draw import spell_time


def describe(fault: Fault) -> str:
    """When, what, whom."""
    words = [_when(fault), fault.verb, fault.nic or fault.target or _links(fault)]
    if fault.direction:
        words.append(fault.direction)
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
    return f"{len(fault.links)} link directions" if fault.links else ""
