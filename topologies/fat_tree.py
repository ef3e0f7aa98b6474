"""A k-ary fat tree (Al-Fares, Loukissas, Vahdat: A Scalable, Commodity Data Center Network Architecture, 2008).

Several cores are loops at layer 2. The testbed forwards on static shortest paths; under plain ``mn`` use switches that
block the loops:

    mn --custom topologies/fat_tree.py --topo fat_tree,4 --switch lxbr,stp=1
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


class FatTree(FabricTopo):
    """k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 cores, k^3/4 hosts."""

    meanings: ClassVar[dict[str, str]] = {"k": "Ports of a switch; even, at least 2."}

    def build(self, k: int = 4) -> None:
        """Hosts are numbered edge by edge."""
        if at_least("k", k, 2) % 2:
            raise ValueError(f"k must be even, not {k}: half of a switch's ports go up, half down")
        half = k // 2
        for core in range(1, half * half + 1):
            self.add_switch(f"core{core}", "core", 3)
        for pod in range(k):
            self._pod(pod, half)

    def _pod(self, pod: int, half: int) -> None:
        group = f"pod{pod + 1}"
        aggs = [self.add_switch(f"agg{pod * half + place}", "aggregation", 2, group) for place in range(1, half + 1)]
        for place, agg in enumerate(aggs):
            for port in range(1, half + 1):
                self.join(agg, f"core{place * half + port}")
        for place in range(1, half + 1):
            edge = self.add_switch(f"edge{pod * half + place}", "edge", 1, group)
            self.add_hosts(half, edge, group)
            for agg in aggs:
                self.join(edge, agg)

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["k"] ** 3 // 4, params["k"] ** 3 // 2


topos = {"fat_tree": FatTree}
