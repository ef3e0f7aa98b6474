"""A topology file of containerlab's (``NAME.clab.yml``): ``containerlab deploy -t NAME.clab.yml``.

Hosts and switches are containers of kind linux with no network of the engine's own; a switch makes its bridge inside,
so that nothing has to be set up on the machine beforehand. from_file reads it back.
"""

from __future__ import annotations

import re

import yaml

from testbed.export.common import Exported, arp_remarks, netem_remarks, nics_of, node_commands
from testbed.topologies.fabric import Fabric, Place

IMAGE = "nicolaka/netshoot"


def containerlab(fabric: Fabric, name: str) -> Exported:
    """The file, and what it leaves out."""
    nics = nics_of(fabric)
    renamed = {nic: f"eth{place}" for ends in nics.values() for place, (nic, _, _) in enumerate(ends, 1)}
    commands = node_commands(fabric, renamed)
    impairments = [way for link in fabric.links for way in (link.ab, link.ba)]
    remarks = (
        f"{IMAGE} stands for any image with ip, bridge and tc; change it under kinds",
        *netem_remarks(impairments),
        *arp_remarks(fabric),
    )
    lab = re.sub(r"[^a-zA-Z0-9._-]", "-", name).lstrip("._-") or "fabric"
    document = {
        "name": lab,
        "topology": {
            "kinds": {"linux": {"image": IMAGE, "network-mode": "none"}},
            "nodes": {
                node: {"kind": "linux", "labels": _labels(fabric.place(node), node in fabric.forwarding)}
                | ({"exec": commands[node]} if node in commands else {})
                for node in (*fabric.switches, *fabric.hosts)
            },
            "links": [
                {"endpoints": [f"{end.node}:{renamed[end.nic]}" for end in (link.a, link.b)]} for link in fabric.links
            ],
        },
    }
    head = "".join(f"# {line}\n" for line in (f"{fabric.name}, written by `testbed export containerlab`.", *remarks))
    text = yaml.safe_dump(document, sort_keys=False, width=10_000, default_flow_style=False)
    return Exported({f"{lab}.clab.yml": head + text}, remarks)


def _labels(place: Place, is_switch: bool) -> dict[str, str]:
    labels = {"oae-kind": "switch" if is_switch else "host", "oae-role": place.role, "oae-tier": str(place.tier)}
    return labels | ({"oae-group": place.group} if place.group else {})
