"""A fault made of others: a rack loses its power, switch and hosts, and comes back host by host."""

from typing import Any

from testbed.topologies.fabric import Fabric


def rack_power(order: dict[str, Any], fabric: Fabric) -> list[Any]:
    """`{do: rack_power, rack: leaf1, at: 10ms, for: 5ms}`: the switch and the hosts behind it are gone for so long.

    What is returned are faults as any scenario has them, mappings or lines of text."""
    rack, at, lasts = order["rack"], order["at"], order["for"]
    hosts = [link.a.node for link in fabric.links if link.b.node == rack and link.a.node in fabric.hosts]
    if rack not in fabric.switches:
        raise ValueError(f"there is no switch {rack}")
    return [
        {"do": "switch_kill", "on": rack, "at": at, "for": lasts},
        f"at {at} node_restart {','.join(hosts)} for {lasts} state kept",
    ]
