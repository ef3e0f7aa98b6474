"""A torus: switches on a grid of two or three dimensions that closes on itself, and hosts on every one of them.

Its circles are loops at layer 2. The testbed forwards on static shortest paths; under plain ``mn`` use switches that
block the loops:

    mn --custom topologies/torus.py --topo torus,4,4 --switch lxbr,stp=1
"""

from __future__ import annotations

import sys
from itertools import product
from math import prod
from pathlib import Path
from typing import ClassVar

try:
    from testbed.topologies.base import FabricTopo, at_least
except ImportError:  # run by `mn --custom`, which knows the file but not its package
    here = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(next(folder for folder in here.parents if (folder / "testbed").is_dir())))
    from testbed.topologies.base import FabricTopo, at_least


class Torus(FabricTopo):
    """Switches on a grid that closes on itself, in two dimensions or three, each with its hosts."""

    meanings: ClassVar[dict[str, str]] = {
        "x": "Switches in the first direction; at least 2.",
        "y": "Switches in the second direction; at least 2.",
        "z": "Switches in the third direction; 1: two dimensions.",
        "hosts_per_switch": "Hosts on each switch.",
    }

    def build(self, x: int = 4, y: int = 4, z: int = 1, hosts_per_switch: int = 1) -> None:
        """Along a dimension of two there is one link, not two. Switches are named ``t1_2`` or ``t1_2_3`` by their
        place; hosts are numbered switch by switch, the last dimension first."""
        sizes = [at_least(name, size, least) for name, size, least in (("x", x, 2), ("y", y, 2), ("z", z, 1))]
        at_least("hosts_per_switch", hosts_per_switch, 1)
        if z == 1:
            sizes.pop()
        places = list(product(*(range(size) for size in sizes)))
        for place in places:
            self.add_switch(_name(place), "torus", group=f"x{place[0] + 1}", at=place)
        for place in places:
            self.add_hosts(hosts_per_switch, _name(place), f"x{place[0] + 1}")
            for dimension, size in enumerate(sizes):
                after = (place[dimension] + 1) % size
                if after > place[dimension] or size > 2:
                    self.join(_name(place), _name((*place[:dimension], after, *place[dimension + 1 :])))

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        sizes = [params[name] for name in ("x", "y", "z")]
        switches = prod(sizes)
        return switches * params["hosts_per_switch"], sum(switches for size in sizes if size > 1)


def _name(place: tuple[int, ...]) -> str:
    return "t" + "_".join(str(coordinate + 1) for coordinate in place)


topos = {"torus": Torus}
