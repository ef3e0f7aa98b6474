"""A network scenario of Kathara's: ``lab.conf`` and a start-up file per device; ``kathara lstart`` in the directory.

A link is a collision domain of its own, with its two devices on it. Kathara's names are small letters, digits and _.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from testbed.export.common import Exported, arp_remarks, netem_remarks, nics_of, node_commands
from testbed.topologies.fabric import Fabric

IMAGE = "kathara/base"
RESERVED = ("shared", "_test")
LONGEST = 30


def kathara(fabric: Fabric, name: str) -> Exported:
    """The files, and what they leave out."""
    nics = nics_of(fabric)
    names = _names((*fabric.switches, *fabric.hosts))
    renamed = {nic: f"eth{place}" for ends in nics.values() for place, (nic, _, _) in enumerate(ends)}
    changed = [f"{old} is called {new}" for old, new in names.items() if old != new]
    impairments = [way for link in fabric.links for way in (link.ab, link.ba)]
    remarks = (
        *changed,
        f"{IMAGE} stands for any image with ip, bridge and tc",
        *netem_remarks(impairments),
        *arp_remarks(fabric),
    )
    domains = {end.nic: f"l{number}" for number, link in enumerate(fabric.links, 1) for end in (link.a, link.b)}
    lines = [f"# {line}" for line in (f"{fabric.name}, written by `testbed export kathara`.", *remarks)]
    lines.append(f'LAB_DESCRIPTION="{re.sub(r"[^A-Za-z0-9 ._,()-]", "-", name)}"')
    for node, device in names.items():
        lines += ["", f'{device}[image]="{IMAGE}"', f'{device}[ipv6]="false"']
        for nic, _, _ in nics.get(node, []):
            lines.append(f'{device}[{renamed[nic].removeprefix("eth")}]="{domains[nic]}"')
    files = {"lab.conf": "\n".join([*lines, ""])}
    for node, commands in node_commands(fabric, renamed).items():
        files[f"{names[node]}.startup"] = "\n".join([*commands, ""])
    return Exported(files, remarks)


def _names(nodes: Iterable[str]) -> dict[str, str]:
    """Node -> device: the same where Kathara takes it, else what is nearest and free."""
    names: dict[str, str] = {}
    taken = set(RESERVED)
    for node in nodes:
        plain = re.sub(r"[^a-z0-9_]", "_", node.lower())[:LONGEST]
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain[: LONGEST - 6]}_{number}"
        taken.add(name)
        names[node] = name
    return names
