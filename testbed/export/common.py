"""What the exports share: the commands that make a switch forward and a link impaired, and what is told of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import Impairment
from testbed.topologies.netem import tc_command

MOST_WITH_ARP = 64  # hosts that are given each other's addresses: every one needs an entry for every other
BRIDGE = "br0"


class Exported(NamedTuple):
    """files: path below the output's directory -> text. remarks: what is not as it is here, one line each."""

    files: dict[str, str]
    remarks: tuple[str, ...]


def nics_of(fabric: Fabric) -> dict[str, list[tuple[str, str, Impairment]]]:
    """Node -> (interface, address, what it does to what it sends) of each NIC, by the numbers of the interfaces."""
    found: dict[str, list[tuple[str, str, Impairment]]] = defaultdict(list)
    for link in fabric.links:
        found[link.a.node].append((link.a.nic, link.a.mac, link.ab))
        found[link.b.node].append((link.b.nic, link.b.mac, link.ba))
    return {node: sorted(nics, key=lambda nic: int(nic[0].rpartition("-eth")[2])) for node, nics in found.items()}


def node_commands(fabric: Fabric, renamed: Mapping[str, str]) -> dict[str, list[str]]:
    """Node -> the ``ip``, ``bridge`` and ``tc`` commands that make it what it is here. renamed: interface -> its name
    over there."""
    ips = fabric.addresses
    macs = {nics[0][1]: host for host, nics in nics_of(fabric).items() if host in ips}
    found: dict[str, list[str]] = {}
    for node, nics in nics_of(fabric).items():
        lines = _bridge() if node in fabric.forwarding else []
        for nic, mac, impairment in nics:
            dev = renamed[nic]
            lines.append(f"ip link set dev {dev} address {mac}")
            if node in fabric.forwarding:
                lines += _port(dev)
            lines.append(f"ip link set dev {dev} up")
            if not impairment.is_clean:
                lines.append(portable_tc(impairment, dev))
        for mac, nic in fabric.forwarding.get(node, {}).items():
            lines.append(f"bridge fdb replace {mac} dev {renamed[nic]} master static")
        if node in ips:
            dev = renamed[nics[0][0]]
            lines.append(f"ip address replace {ips[node]} dev {dev}")
            if len(ips) <= MOST_WITH_ARP:
                others = ((mac, ips[host].partition("/")[0]) for mac, host in macs.items() if host != node)
                lines += [f"ip neighbour replace {ip} lladdr {mac} dev {dev} nud permanent" for mac, ip in others]
        found[node] = lines
    return found


def portable_tc(impairment: Impairment, dev: str) -> str:
    """A ``tc`` line for whatever tc a tool's images have: without a seed, a measured table drawn as normal."""
    line = tc_command(impairment, dev).rpartition(" seed ")[0]
    return line.replace("distribution table", "distribution normal")


def netem_remarks(impairments: Iterable[Impairment]) -> list[str]:
    """What ``tc`` elsewhere does otherwise."""
    found = [impairment for impairment in impairments if not impairment.is_clean]
    remarks = []
    if found:
        remarks.append("delays and losses are drawn anew each time: the seeds of the links are left out")
    if any(impairment.distribution == "table" and impairment.jitter_ns for impairment in found):
        remarks.append("measured delay tables are left out: those links draw from tc's normal table instead")
    if any(impairment.distribution in ("pareto", "paretonormal") and impairment.jitter_ns for impairment in found):
        remarks.append(
            "pareto and paretonormal are iproute2's own tables, which realise less of the jitter (pareto 0.82)"
        )
    return remarks


def arp_remarks(fabric: Fabric) -> list[str]:
    """Where nobody can be pinged without more."""
    if len(fabric.hosts) <= MOST_WITH_ARP:
        return []
    return [
        f"no ARP entries for more than {MOST_WITH_ARP} hosts, and switches flood nothing: add them with `ip neighbour`"
    ]


def _bridge() -> list[str]:
    return [
        f"ip link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"ip link set dev {BRIDGE} up",
    ]


def _port(dev: str) -> list[str]:
    off = " ".join(f"{flag} off" for flag in ("learning", "flood", "mcast_flood", "bcast_flood"))
    return [f"ip link set dev {dev} master {BRIDGE}", f"bridge link set dev {dev} {off}"]
