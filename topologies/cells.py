"""A fabric whose switches are nodes: cells, which carry what hosts say to each other hop by hop."""

from __future__ import annotations

from dataclasses import replace

from testbed.topologies.base import MOST_HOSTS
from testbed.topologies.fabric import Fabric


def as_cells(fabric: Fabric) -> Fabric:
    """The fabric with every switch a host like the others, numbered after them; what the switches would have forwarded
    is now the trees along which cells carry. Raises ValueError for a fabric that can't have cells."""
    if not fabric.switches:
        raise ValueError(f"{fabric.name} has no switch that could be a cell")
    hosts = (*fabric.hosts, *fabric.switches)
    if len(hosts) > MOST_HOSTS:
        raise ValueError(f"{len(hosts)} hosts and cells are more than {MOST_HOSTS}: node numbers have 16 bits")
    places = {node: fabric.place(node) for node in hosts}
    return replace(fabric, hosts=hosts, switches=(), places=places)
