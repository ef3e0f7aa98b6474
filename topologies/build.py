"""From a kind and its parameters to a fabric: the registry, and Mininet ``Topo`` -> Fabric."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.topologies.base import MOST_HOSTS, NAME_BYTES, FabricTopo, at_least, host_mac, switch_mac
from testbed.topologies.bcube import BCube
from testbed.topologies.clos import Clos
from testbed.topologies.dragonfly import Dragonfly
from testbed.topologies.dumbbell import Dumbbell
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.fat_tree import FatTree
from testbed.topologies.lattice import Lattice
from testbed.topologies.leaf_spine import LeafSpine
from testbed.topologies.options import (
    check_switch,
    checked_address,
    host_address,
    host_ip,
    link_impairments,
    node_place,
)
from testbed.topologies.pair import Pair
from testbed.topologies.paths import forwarding
from testbed.topologies.ring import Ring
from testbed.topologies.star import Star
from testbed.topologies.torus import Torus

MOST_CABLES = 200_000  # beside those of hosts; more than the greatest fat tree has, and minutes of building


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of topology: its class, and what may be chosen (all whole numbers) with the default and its meaning."""

    name: str
    topo: type[FabricTopo]
    parameters: dict[str, int]
    meanings: dict[str, str]
    description: str


def _kind(name: str, topo: type[FabricTopo]) -> Kind:
    chosen = [parameter for parameter in inspect.signature(topo.build).parameters.values() if parameter.name != "self"]
    return Kind(
        name=name,
        topo=topo,
        parameters={parameter.name: parameter.default for parameter in chosen},
        meanings={parameter.name: topo.meanings[parameter.name] for parameter in chosen},
        description=(inspect.getdoc(topo) or "").split("\n")[0],
    )


KINDS: dict[str, Kind] = {
    name: _kind(name, topo)
    for name, topo in (
        ("pair", Pair),
        ("star", Star),
        ("leaf_spine", LeafSpine),
        ("fat_tree", FatTree),
        ("clos", Clos),
        ("dumbbell", Dumbbell),
        ("ring", Ring),
        ("torus", Torus),
        ("dragonfly", Dragonfly),
        ("lattice", Lattice),
        ("bcube", BCube),
    )
}


def make_topo(kind: str, parameters: Mapping[str, int] | None = None) -> FabricTopo:
    """The Mininet ``Topo`` of a kind. Raises ValueError, one clear line, for what does not exist or cannot be built."""
    known = KINDS.get(kind)
    if known is None:
        raise ValueError(f"no topology {kind!r}; there are {', '.join(KINDS)}")
    chosen = dict(parameters or {})
    for name, value in chosen.items():
        if name not in known.parameters:
            takes = ", ".join(known.parameters) or "no parameters"
            raise ValueError(f"{kind} has no parameter {name!r}; it takes {takes}")
        at_least(name, value, 1)
    _check_size(known, {**known.parameters, **chosen})
    return known.topo(**chosen)


def make_fabric(kind: str, parameters: Mapping[str, int] | None = None) -> Fabric:
    """The fabric of a kind, all links clean."""
    chosen = {**KINDS[kind].parameters, **(parameters or {})} if kind in KINDS else dict(parameters or {})
    listed = ", ".join(f"{name}={value}" for name, value in chosen.items())
    return fabric(make_topo(kind, parameters), f"{kind}({listed})" if listed else kind)


def fabric(topo: Any, name: str = "") -> Fabric:
    """Any Mininet ``Topo`` as a fabric, with its forwarding: hosts, switches and links in natural order of names.

    Raises ValueError (one line) when it cannot be built: no hosts, too many hosts, a name or interface name longer
    than Linux takes, a link of a node to itself, hosts that cannot reach each other (where the class does not say that
    they need not: ``joins_everybody``), or an option of a host, switch or link that a fabric cannot honour (see
    topologies/options.py).
    """
    hosts = tuple(sorted(topo.hosts(sort=False), key=natural))
    switches = tuple(sorted(topo.switches(sort=False), key=natural))
    if not hosts:
        raise ValueError("a fabric needs at least one host")
    if len(hosts) > MOST_HOSTS:
        raise ValueError(f"{len(hosts)} hosts are more than {MOST_HOSTS}: node numbers have 16 bits")
    for switch in switches:
        check_switch(topo, switch)
    macs = _Macs(topo, hosts, switches)
    ips = {host: ip for host in hosts if (ip := host_ip(topo, host))}
    links = tuple(_link(macs, info) for _, _, info in sorted(topo.iterLinks(withInfo=True), key=_link_order))
    _check_addresses(links)
    entries = forwarding(hosts, switches, links, getattr(topo, "joins_everybody", True))
    places = {node: node_place(topo, node) for node in (*hosts, *switches)}
    found = Fabric(name or type(topo).__name__, hosts, switches, links, entries, places, ips)
    _check_ips(found)
    return found


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A sorting key under which host2 comes before host10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part)


def _link_order(entry: tuple[str, str, dict[str, Any]]) -> tuple[Any, ...]:
    _, _, info = entry
    return natural(info["node1"]), natural(info["node2"]), info["port1"], info["port2"]


class _Macs:
    """Addresses of NICs: by the node's place and the port's."""

    def __init__(self, topo: Any, hosts: tuple[str, ...], switches: tuple[str, ...]) -> None:
        self._hosts = {name: place for place, name in enumerate(hosts)}
        self._switches = {name: place for place, name in enumerate(switches)}
        self._ports = {name: sorted(topo.ports.get(name, {})) for name in (*hosts, *switches)}
        self._asked = {host: host_address(topo, host) for host in hosts}

    def end(self, node: str, port: int, asked: str | None) -> LinkEnd:
        """The NIC of ``node`` with Mininet's port number ``port``. asked: the address that the link asks for it.

        As with Mininet, an address that a host was promised is its first NIC's, and comes first.
        """
        nic = f"{node}-eth{port}"
        if len(nic.encode()) > NAME_BYTES:
            raise ValueError(
                f"the interface name {nic} is longer than Linux takes ({NAME_BYTES} bytes); shorten {node}"
            )
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", nic):
            raise ValueError(f"the node name {node!r} can't be used: only letters, digits, _ . and - may stand in it")
        if node not in self._hosts:
            return LinkEnd(node, nic, checked_address(node, asked) if asked else switch_mac(self._switches[node], port))
        place = self._ports[node].index(port)
        if place == 0 and self._asked[node]:
            return LinkEnd(node, nic, self._asked[node])
        return LinkEnd(node, nic, checked_address(node, asked) if asked else host_mac(self._hosts[node], place))


def _link(macs: _Macs, info: dict[str, Any]) -> Link:
    if info["node1"] == info["node2"]:
        raise ValueError(f"a link of {info['node1']} to itself can't be built")
    first = macs.end(info["node1"], info["port1"], info.get("addr1"))
    second = macs.end(info["node2"], info["port2"], info.get("addr2"))
    return Link(first, second, *link_impairments(f"{info['node1']}<->{info['node2']}", info))


def _check_addresses(links: Sequence[Link]) -> None:
    owners: dict[str, LinkEnd] = {}
    for end in (end for link in links for end in (link.a, link.b)):
        other = owners.setdefault(end.mac, end)
        if other is not end:
            raise ValueError(f"{other.node} and {end.node} have one address, {end.mac}; give each NIC its own")


def _check_ips(found: Fabric) -> None:
    owners: dict[str, str] = {}
    for host, ip in found.addresses.items():
        address = ip.partition("/")[0]
        other = owners.setdefault(address, host)
        if other != host:
            raise ValueError(f"{other} and {host} have one address, {address}; give each host its own with ip=")


def _check_size(kind: Kind, chosen: dict[str, int]) -> None:
    """Refuses before anything is built: a million hosts should not take minutes to say no."""
    hosts, cables = kind.topo.size(**chosen)
    if hosts > MOST_HOSTS:
        raise ValueError(f"{kind.name} with {hosts} hosts: more than {MOST_HOSTS}, node numbers have 16 bits")
    if cables > MOST_CABLES:
        raise ValueError(f"{kind.name} with {cables} links between switches: more than {MOST_CABLES}")
