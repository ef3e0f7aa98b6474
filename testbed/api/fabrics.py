"""Fabrics: hosts, switches and links, and their picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from testbed.api.show import Diagram
from testbed.api.table import Table, with_meanings
from testbed.errors import UserError

if TYPE_CHECKING:
    import testbed.topologies.fabric as inner

_LINKS = {
    "link": "its name, as selectors have it",
    "from": "the node at one end",
    "to": "the node at the other",
    "nic": "the NIC at the one end",
    "to_nic": "the NIC at the other",
    "there": "what the link does to frames from the one to the other",
    "back": "what it does to those that go back",
}


class Fabric:
    """Hosts, switches and links. A notebook shows its picture.

    >>> import testbed
    >>> fabric = testbed.fabric("leaf_spine", spines=2, leaves=2, hosts_per_leaf=1)
    >>> fabric
    <Fabric leaf_spine(spines=2, leaves=2, hosts_per_leaf=1): 2 hosts, 4 switches, 6 links>
    >>> fabric.hosts
    ('host1', 'host2')
    """

    def __init__(self, fabric: inner.Fabric) -> None:
        self._fabric = fabric

    @property
    def name(self) -> str:
        """Its kind and parameters, or the class that it is of."""
        return self._fabric.name

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts; a host's place here is its number."""
        return self._fabric.hosts

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of the switches."""
        return self._fabric.switches

    @property
    def links(self) -> Table:
        """A row for each link, and what it does to frames each way."""
        from testbed.topologies.draw import describe

        links = self._fabric.links
        columns = [
            [link.name for link in links],
            [link.a.node for link in links],
            [link.b.node for link in links],
            [link.a.nic for link in links],
            [link.b.nic for link in links],
            [describe(link.ab) for link in links],
            [describe(link.ba) for link in links],
        ]
        arrow = pa.table([pa.array(column, pa.string()) for column in columns], names=list(_LINKS))
        return Table(with_meanings(arrow, _LINKS), "links")

    def draw(self) -> Diagram:
        """Its picture; groups of nodes where it is large."""
        from testbed.topologies.svg import draw_svg

        drawn = draw_svg(self._fabric)
        return Diagram(drawn[drawn.index("<svg") :], self.name)

    def __repr__(self) -> str:
        fabric = self._fabric
        counted = f"{len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"
        return f"<Fabric {self.name}: {counted}>"

    def _repr_svg_(self) -> str:
        return self.draw()._repr_svg_()


def fabric(kind: str, **parameters: int) -> Fabric:
    """The fabric of one of the kinds that ship (``testbed.catalogue("topologies")``), all links clean.

    parameters: those of the kind, all whole numbers: ``spines``, ``leaves``, ``k``, ... Raises testbed.Error for a kind
    or a parameter that there is not.

    >>> import testbed
    >>> testbed.fabric("ring", switches=3)
    <Fabric ring(switches=3, hosts_per_switch=1): 3 hosts, 3 switches, 6 links>
    >>> testbed.fabric("donut")
    Traceback (most recent call last):
        ...
    testbed.errors.UserError: no topology 'donut'; there are pair, star, leaf_spine, fat_tree, clos, dumbbell, ring, ...
    """
    from testbed.topologies.build import make_fabric

    try:
        return Fabric(make_fabric(kind, parameters))
    except ValueError as error:
        raise UserError(str(error)) from None
