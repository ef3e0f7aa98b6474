"""A fabric as plain data: hosts, switches, NICs, links, and the static forwarding that keeps it free of loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topologies.impairment import GilbertElliott, Impairment


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
class Fabric:
    """A whole fabric.

    hosts and switches: names in order; a host's place in ``hosts`` is its node number. links: see Link.
    forwarding: for every switch, destination address -> interface of that switch. No entry means: drop.
    """

    name: str
    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]
    forwarding: dict[str, dict[str, str]]


def fabric_from_json(data: dict[str, Any]) -> Fabric:
    """The inverse of ``dataclasses.asdict``."""
    return Fabric(
        name=data["name"],
        hosts=tuple(data["hosts"]),
        switches=tuple(data["switches"]),
        links=tuple(_link_from_json(link) for link in data["links"]),
        forwarding=data["forwarding"],
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
