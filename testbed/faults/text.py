"""An atomic fault in one short line: ``at 10ms nic_mute host3-eth0``, in the text form that a scenario takes back."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.nodes.core.lies import FOREVER_NS, Lie
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.text import drift_text, time_text
from testbed.plan import Fault
from testbed.topologies.draw import spell_time
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import Impairment


def describe(faults: Sequence[Fault], index: int, fabric: Fabric) -> str:
    """When, what, whom; of one of a plan's faults, on its fabric."""
    fault = faults[index]
    verb = "jitter" if fault.verb == "impair" else fault.verb
    words = [_when(faults, index, fabric.hosts), verb, fault.nic or fault.target, fault.direction]
    words.append(_links(fault, fabric))
    if fault.peers:
        words.append(f"to {','.join(fault.peers)}")
    if fault.verb in ("clock_step", "node_slow"):
        words.append(f"by {'-' if fault.amount < 0 else ''}{time_text(abs(fault.amount))}")
    if fault.verb == "clock_drift":
        words.append(f"drift {drift_text(fault.amount)}")
    if fault.verb == "node_restart":
        words.append(f"state {fault.state}")
    if fault.impairment is not None:
        words.append(_settings(fault.impairment, [getattr(fabric.links[link], way) for link, way in fault.links]))
    return " ".join(word for word in words if word)


def _when(faults: Sequence[Fault], index: int, hosts: Sequence[str]) -> str:
    """Its own instant or moment; what follows others names theirs, and how much later."""
    fault, later_ns = faults[index], 0
    while fault.follows >= 0:
        later_ns += fault.after_ns
        fault = faults[fault.follows]
    if fault.moment is None:
        return f"at {time_text(fault.at_ns + later_ns)}"
    later_ns += fault.after_ns
    after = f" after {time_text(later_ns)}" if later_ns else ""
    return f"when {fault.node} {moment_text(fault.moment, hosts)}{after}:"


def describe_lie(lie: Lie, hosts: Sequence[str]) -> str:
    """What, to whom, when; ``hosts`` by node number."""
    words = [lie.kind.value.replace("_", " ")]
    words += [f"by {spell_time(lie.by_ns)}"] if lie.by_ns else []
    words += [f"to {', '.join(hosts[number] for number in lie.to)}"] if lie.to else []
    if lie.moment is not None:
        words += [f"{spell_time(lie.after_ns)} after it" if lie.after_ns else "from when it"]
        words += [moment_text(lie.moment, hosts), "on"]
        words += [f"for {spell_time(lie.for_ns)}"] if lie.for_ns < FOREVER_NS else []
        return " ".join(words)
    words += [f"from {spell_time(lie.from_ns)}"] if lie.from_ns > -FOREVER_NS else []
    words += [f"until {spell_time(lie.until_ns)}"] if lie.until_ns < FOREVER_NS else []
    return " ".join(words)


def moment_text(moment: Moment, hosts: Sequence[str]) -> str:
    """``enters REFLECTING with host3 in round 17``, ``sends 3 in round 5``, ``writes 40``."""
    if moment.after_sends:
        what = f"sends {moment.after_sends}"
    elif moment.after_writes:
        what = f"writes {moment.after_writes}"
    else:
        what = f"enters {moment.enters}" if moment.enters else f"leaves {moment.leaves}"
    peer = f" with {hosts[moment.peer]}" if moment.peer >= 0 else ""
    return what + peer + (f" in round {moment.round}" if moment.round >= 0 else "")


def _links(fault: Fault, fabric: Fabric) -> str:
    """Selectors of the links, or directions, that it strikes; none where that are all directions."""
    if not fault.links or (fault.verb in ("impair", "unimpair") and len(fault.links) == 2 * len(fabric.links)):
        return ""
    names = []
    for index, link in enumerate(fabric.links):
        ways = {way for struck, way in fault.links if struck == index}
        if ways == {"ab", "ba"} or (ways and fault.verb in ("link_down", "link_up")):
            names.append(link.name)
        else:
            ends = {"ab": (link.a.node, link.b.node), "ba": (link.b.node, link.a.node)}
            names += ["->".join(ends[way]) for way in ways]
    return f"links {','.join(names)}"


def _settings(changed: Impairment, own: Sequence[Impairment]) -> str:
    """What makes each of these directions' own impairments the changed one; the delay in any case."""
    spelled = {
        "delay": ("delay_ns", time_text(changed.delay_ns)),
        "jitter": ("jitter_ns", time_text(changed.jitter_ns)),
        "distribution": ("distribution", changed.distribution),
        "correlation": ("correlation", f"{changed.correlation!r}"),
        "loss": ("loss", f"{changed.loss!r}"),
        "loss_correlation": ("loss_correlation", f"{changed.loss_correlation!r}"),
        "burst_loss": ("burst_loss", _burst(changed)),
        "duplicate": ("duplicate", f"{changed.duplicate!r}"),
        "corrupt": ("corrupt", f"{changed.corrupt!r}"),
        "order": ("order", changed.order),
        "rate": ("rate_bps", f"{changed.rate_bps}bit"),
        "limit": ("limit", f"{changed.limit}"),
    }
    return " ".join(
        f"{key} {text}"
        for key, (name, text) in spelled.items()
        if key == "delay" or any(getattr(one, name) != getattr(changed, name) for one in own)
    )


def _burst(changed: Impairment) -> str:
    burst = changed.burst_loss
    if burst is None:
        return ""
    return f"p={burst.p!r},r={burst.r!r},loss_bad={burst.loss_bad!r},loss_good={burst.loss_good!r}"
