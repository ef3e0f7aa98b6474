"""A fabric as plain data: hosts, switches, NICs, links, and the static forwarding that keeps it free of loops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from testbed.topologies.impairment import GilbertElliott, Impairment


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One NIC: the node it belongs to, its interface name and its address."""

    node: str
    nic: str
    mac: str


@dataclass(frozen=True, slots=True)
class Link:
    """Two NICs and what each direction does: ``ab`` impairs what ``a`` sends to ``b``, ``ba`` the way back.

    In a Mininet ``Topo`` the same two stand in the link's options under ``ab`` and ``ba``, as Impairment objects; ``a``
    is the link's node1. netem works on egress, so ``ab`` belongs on a's NIC.
    """

    a: LinkEnd
    b: LinkEnd
    ab: Impairment
    ba: Impairment

    @property
    def name(self) -> str:
        """``host1<->leaf1``, as link selectors match it."""
        return f"{self.a.node}<->{self.b.node}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a node is in its fabric.

    role: what its fabric calls such nodes, ``host``, ``spine``. tier: 0 at hosts, one more for each layer of switches
    above them. group: the rack, pod or group that it belongs to, empty for none. at: where it stands on a ring (one
    number) or a grid (two or three, the first runs fastest), counted from 0; empty elsewhere.
    """

    role: str
    tier: int
    group: str = ""
    at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fabric:
    """A whole fabric.

    hosts and switches: names in order; a host's place in ``hosts`` is its node number. links: see Link.
    forwarding: for every switch, destination address -> interface of that switch. No entry means: drop.
    places: what each node is; ``place`` knows it of nodes that are not in there as well.
    ips: of the hosts for which one was asked for, the address in IP (``10.0.0.5/8``); ``addresses`` knows all.
    """

    name: str
    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]
    forwarding: dict[str, dict[str, str]]
    places: dict[str, Place] = field(default_factory=dict)
    ips: dict[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        """Host -> its address in IP where the fabric is up, as Mininet gives them: 10.0.0.1/8 for the first one, and so
        on, but for those for which another one was asked for. No protocol here uses them."""
        numbers = enumerate(self.hosts, 1)
        usual = {host: f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/8" for number, host in numbers}
        return usual | self.ips

    def place(self, node: str) -> Place:
        """What ``node`` is; where nobody said so, a host or a switch like any other."""
        return self.places.get(node) or (Place("switch", 1) if node in self.switches else Place("host", 0))


def fabric_from_json(data: dict[str, Any]) -> Fabric:
    """The inverse of ``dataclasses.asdict``."""
    return Fabric(
        name=data["name"],
        hosts=tuple(data["hosts"]),
        switches=tuple(data["switches"]),
        links=tuple(_link_from_json(link) for link in data["links"]),
        forwarding=data["forwarding"],
        places={node: Place(**{**place, "at": tuple(place["at"])}) for node, place in data.get("places", {}).items()},
        ips=data.get("ips", {}),
    )


def impairment_from_json(data: dict[str, Any]) -> Impairment:
    """The inverse of ``dataclasses.asdict`` for one direction."""
    burst = data.get("burst_loss")
    return Impairment(
        **{
            **data,
            "table": tuple(data.get("table", ())),
            "burst_loss": GilbertElliott(**burst) if burst else None,
        }
    )


def _link_from_json(data: dict[str, Any]) -> Link:
    return Link(
        a=LinkEnd(**data["a"]),
        b=LinkEnd(**data["b"]),
        ab=impairment_from_json(data["ab"]),
        ba=impairment_from_json(data["ba"]),
    )
