"""What a Mininet ``Topo`` says of its hosts, switches and links: honoured as Mininet means it, or refused by name.

A link's options are those of Mininet's TCLink, for both ends: ``bw`` (Mbit/s), ``delay`` and ``jitter`` (times with
a unit, as ``5ms``), ``loss`` (percent), ``max_queue_size`` (frames); ``params1`` and ``params2`` hold options of one
end, over which those of the link go. An Impairment per direction (``ab``, ``ba``) or any of its fields by name but
``loss`` say more than Mininet can. ``bw`` becomes netem's own rate; Mininet's HTB lets 15 kB pass at once before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from ipaddress import IPv4Interface
from typing import Any

from testbed.topologies.fabric import Place
from testbed.topologies.impairment import CLEAN, Impairment

SETTLED = frozenset({"node1", "node2", "port1", "port2", "ab", "ba", "addr1", "addr2", "params1", "params2"})
TAKEN_ANYWAY: Mapping[str, tuple[Any, ...]] = {  # values of Mininet's options that change nothing here
    "use_htb": (True, False),  # of Mininet before 2.3
    "disable_gro": (True,),  # the same
    "use_hfsc": (False,),
    "use_tbf": (False,),
    "enable_ecn": (False,),
    "enable_red": (False,),
    "gro": (False,),
    "txo": (True, False),  # sums of IP packets, and these are none
    "rxo": (True, False),
    "speedup": (0,),
    "fast": (True,),
    "up": (True,),
    "inNamespace": (True,),
    "lo": ("up",),
    "privateDirs": ([], ()),
}
PLAIN_CLASSES = (
    *(f"mininet.link.{name}" for name in ("Link", "Intf", "TCLink", "TCIntf", "TCULink")),
    *(f"mininet.node.{name}" for name in ("Node", "Host")),
)
NO_IP = "no protocol here uses IP; ip= of a host is its address where `testbed up` brings it up"
STATIC = "switches here forward on static shortest paths"
OF_CONTAINERS = "a scenario gives nodes their share of processors with nodes: {kind: container, cpus: 0.5}"
_LINK_IS_DOWN = "a scenario takes a link down with faults: [at 0s link_down links h1<->s1]"
INSTEAD: Mapping[str, str] = {
    "use_hfsc": "bw alone is the rate",
    "use_tbf": "bw alone is the rate",
    "latency_ms": "max_queue_size=100 bounds the queue, in frames",
    "enable_red": "a full queue drops what comes last",
    "enable_ecn": "a full queue drops what comes last",
    "gro": "frames are handled one by one",
    "speedup": "bw is that of both ends",
    "intfName1": "an interface is called after its node, as h1-eth0",
    "intfName2": "an interface is called after its node, as h1-eth0",
    "mac": "addr1= and addr2= of the link are its ends' addresses",
    "up": _LINK_IS_DOWN,
    "cpu": OF_CONTAINERS,
    "cores": OF_CONTAINERS,
    "sched": OF_CONTAINERS,
    "privateDirs": "every container has files of its own: nodes: container",
    "inNamespace": "every host is in a namespace of its own",
}
"""Of options that can't be honoured: what can be said here in their place, or is so anyway."""
_PREFIX = 8  # of Mininet's own network, 10.0.0.0/8
_PLACE = tuple(field.name for field in fields(Place))
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|nsecs?|us|usecs?|ms|msecs?|s|secs?)")
_SIZES = {"n": 1, "u": 10**3, "m": 10**6, "s": 10**9}  # by the first letter of the unit
_OWN_FIELDS = tuple(field.name for field in fields(Impairment) if field.name != "loss")


def host_address(topo: Any, host: str) -> str:
    """The address asked for a host's first NIC, empty when none is; all else that is asked for a host is refused."""
    options = _given(topo.nodeInfo(host))
    for name, value in options.items():
        if name not in ("mac", "ip", "isSwitch", *_PLACE) and not _changes_nothing(name, value):
            why = NO_IP if name == "defaultRoute" else INSTEAD.get(name, "hosts are all alike")
            raise _refusal(f"host {host}", name, value, why)
    return checked_address(host, options["mac"]) if "mac" in options else ""


def host_ip(topo: Any, host: str) -> str:
    """The address in IP asked for a host, with its prefix; empty when none is."""
    asked = _given(topo.nodeInfo(host)).get("ip")
    if asked is None:
        return ""
    try:
        text = str(asked)
        return IPv4Interface(text if "/" in text else f"{text}/{_PREFIX}").with_prefixlen
    except ValueError:
        raise ValueError(f"host {host}: ip={asked!r} is no address; write one as 10.0.0.5 or 10.0.0.5/8") from None


def check_switch(topo: Any, switch: str) -> None:
    """Refuses what is asked for a switch, except a datapath number, which only controllers would see."""
    for name, value in _given(topo.nodeInfo(switch)).items():
        if name not in ("dpid", "isSwitch", *_PLACE) and not _changes_nothing(name, value):
            raise _refusal(f"switch {switch}", name, value, STATIC)


def node_place(topo: Any, node: str) -> Place:
    """What a node is: ``role``, ``tier``, ``group`` and ``at`` of its options, else what it is as a host or switch."""
    options = _given(topo.nodeInfo(node))
    role, tier, group = options.get("role"), options.get("tier"), options.get("group", "")
    if role is not None and not (isinstance(role, str) and re.fullmatch(r"[A-Za-z0-9_]+", role)):
        raise ValueError(f"{node}: role={role!r} can't be used: only letters, digits and _ may stand in it")
    if tier is not None and (isinstance(tier, bool) or not isinstance(tier, int) or tier < 0):
        raise ValueError(f"{node}: tier={tier!r} must be a whole number, 0 for hosts and more for switches above them")
    if not isinstance(group, str):
        raise ValueError(f"{node}: group={group!r} must be a name")
    plain = Place("switch", 1) if topo.isSwitch(node) else Place("host", 0)
    return Place(role or plain.role, plain.tier if tier is None else tier, group, tuple(options.get("at", ())))


def link_impairments(where: str, options: Mapping[str, Any]) -> tuple[Impairment, Impairment]:
    """What a link's options mean for frames from its first node to the second, and back. ``where``: for messages."""
    common = {name: value for name, value in options.items() if name not in SETTLED}
    return (
        _direction(where, "ab", options.get("ab"), {**(options.get("params1") or {}), **common}),
        _direction(where, "ba", options.get("ba"), {**(options.get("params2") or {}), **common}),
    )


def checked_address(node: str, mac: object) -> str:
    """``mac`` as a NIC can have it, in lower case; else a ValueError of one line."""
    text = str(mac).lower()
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        raise ValueError(f"{node}: {mac!r} is no address; write six bytes, such as 02:00:00:00:00:01")
    if int(text[:2], 16) & 1:
        raise ValueError(f"{node}: the address {text} is one of a group; its first byte must be even")
    if text == "00:00:00:00:00:00":
        raise ValueError(f"{node}: the address {text} is nobody's")
    return text


def _direction(where: str, way: str, whole: object, options: Mapping[str, Any]) -> Impairment:
    given = _given(options)
    for name in [name for name, value in given.items() if _changes_nothing(name, value)]:
        del given[name]
    if whole is not None:
        if not isinstance(whole, Impairment):
            raise ValueError(f"{where}: {way}={whole!r} must be an Impairment (topologies/impairment.py)")
        for name in given:
            raise ValueError(f"{where}: {way}= and {name}= speak of the same direction; say it once")
        return whole
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name in _MEANINGS:
            field, meaning = _MEANINGS[name]
            made[field] = meaning(f"{where}: {name}={value!r}", value)
        elif name in _OWN_FIELDS:
            made[name] = value
        else:
            known = ", ".join((*_MEANINGS, "ab", "ba"))
            why = NO_IP if name == "ip" else INSTEAD.get(name, f"links take {known} and the fields of Impairment")
            raise _refusal(where, name, value, why)
    if "jitter" in given and "delay" not in given:
        raise ValueError(f"{where}: jitter={given['jitter']!r} needs a delay beside it")
    return Impairment(**made) if made else CLEAN


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with a value: None is Mininet's word for "not given"."""
    return {name: value for name, value in options.items() if value is not None}


def _changes_nothing(name: str, value: object) -> bool:
    """Whether an option says what is so anyway."""
    return value in TAKEN_ANYWAY.get(name, ()) or _plain(name, value)


def _plain(name: str, value: object) -> bool:
    """Whether an option only names one of Mininet's own plain classes for hosts, links or interfaces, which ours
    replace."""
    if name not in ("cls", "cls1", "cls2", "intf") or not isinstance(value, type):
        return False
    return f"{value.__module__}.{value.__qualname__}" in PLAIN_CLASSES


def _refusal(where: str, name: str, value: object, why: str) -> ValueError:
    spelt = value.__name__ if isinstance(value, type) else repr(value)
    return ValueError(f"{where}: {name}={spelt} can't be honoured: {why}; leave it out")


def _time(what: str, value: object) -> int:
    if value == 0:
        return 0
    match = _TIME.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{what} is no time; write a number and ns, us, ms or s, such as 5ms")
    exact = Decimal(match.group(1)) * _SIZES[match.group(2)[0]]
    if exact != int(exact):
        raise ValueError(f"{what} is no whole number of nanoseconds; the clock counts those")
    return int(exact)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _percent(what: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= 100:
        raise ValueError(f"{what} must be a number of percent, 0 to 100, as Mininet takes it")
    return float(Decimal(str(value)) / 100)


def _megabits(what: str, value: Any) -> int:
    if not _is_number(value) or value <= 0:
        raise ValueError(f"{what} must be a number of Mbit/s, more than 0")
    return round(Decimal(str(value)) * 10**6)


def _frames(what: str, value: Any) -> int:
    if not _is_number(value) or value != int(value) or value < 1:
        raise ValueError(f"{what} must be a whole number of frames, 1 or more")
    return int(value)


_MEANINGS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "bw": ("rate_bps", _megabits),
    "delay": ("delay_ns", _time),
    "jitter": ("jitter_ns", _time),
    "loss": ("loss", _percent),
    "max_queue_size": ("limit", _frames),
}
"""Mininet's options: the field of Impairment that they set, and how their values are read."""
