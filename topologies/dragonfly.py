"""A dragonfly (Kim, Dally, Scott, Abts: Technology-Driven, Highly-Scalable Dragonfly Topology, ISCA 2008).

Its greatest size for the three numbers: a h + 1 groups, so that each two groups share exactly one link. They are loops
at layer 2. The testbed forwards on static shortest paths; under plain ``mn`` use switches that block the loops:

    mn --custom topologies/dragonfly.py --topo dragonfly,4,2,2 --switch lxbr,stp=1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

try:
    from testbed.topologies.base import FabricTopo, at_least
except ImportError:  # run by `mn --custom`, which knows the file but not its package
    here = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(next(folder for folder in here.parents if (folder / "testbed").is_dir())))
    from testbed.topologies.base import FabricTopo, at_least


class Dragonfly(FabricTopo):
    """a h + 1 groups of a routers, all joined inside a group, one link between each two groups, p hosts on a router."""

    meanings: ClassVar[dict[str, str]] = {
        "a": "Routers of a group.",
        "p": "Hosts of a router.",
        "h": "Links of a router to other groups. Balanced when a = 2 p = 2 h.",
    }

    def build(self, a: int = 4, p: int = 2, h: int = 2) -> None:
        """Port number j of a group, counted over its routers, leads j + 1 groups on. Hosts are numbered router by
        router."""
        at_least("a", a, 1)
        at_least("p", p, 1)
        at_least("h", h, 1)
        groups = a * h + 1
        for group in range(groups):
            for router in range(a):
                self.add_switch(_name(group, router), "router", group=f"group{group + 1}")
        for group in range(groups):
            for router in range(a):
                self.add_hosts(p, _name(group, router), f"group{group + 1}")
                for other in range(router + 1, a):
                    self.join(_name(group, router), _name(group, other))
        for group in range(groups):
            for port in range(a * h):
                far = (group + port + 1) % groups
                if far > group:  # each link once
                    self.join(_name(group, port // h), _name(far, (a * h - 1 - port) // h))

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        a, h = params["a"], params["h"]
        groups = a * h + 1
        return groups * a * params["p"], groups * a * (a - 1) // 2 + groups * (groups - 1) // 2


def _name(group: int, router: int) -> str:
    return f"r{group + 1}_{router + 1}"


topos = {"dragonfly": Dragonfly}
