"""A folded Clos network of three tiers, with as much oversubscription at its leaves as is asked for.

Clos: A Study of Non-Blocking Switching Networks, 1953; folded, as data centres have it. A fat tree of k is the special
case of k pods with k / 2 leaves, k / 2 aggregations and k / 2 cores for each. Several paths are loops at layer 2; the
testbed forwards on static shortest ones, and under plain ``mn`` use switches that block the loops:

    mn --custom topologies/clos.py --topo clos,4,2,2,2,3 --switch lxbr,stp=1
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


class Clos(FabricTopo):
    """Pods of leaf and aggregation switches under cores; oversubscription: hosts per uplink of a leaf."""

    meanings: ClassVar[dict[str, str]] = {
        "pods": "Pods.",
        "leaves": "Leaves of each pod.",
        "aggregations": "Aggregation switches of each pod.",
        "cores": "Cores on each aggregation switch.",
        "oversubscription": "Hosts per uplink of a leaf.",
    }

    def build(
        self, pods: int = 4, leaves: int = 2, aggregations: int = 2, cores: int = 2, oversubscription: int = 1
    ) -> None:
        """The first aggregations of all pods share the first cores, and so on. A leaf has aggregations x
        oversubscription hosts; pods add leaves / cores to 1 of their own. Hosts are numbered leaf by leaf."""
        for name, value in (("pods", pods), ("leaves", leaves), ("aggregations", aggregations), ("cores", cores)):
            at_least(name, value, 1)
        at_least("oversubscription", oversubscription, 1)
        for core in range(1, aggregations * cores + 1):
            self.add_switch(f"core{core}", "core", 3)
        for pod in range(pods):
            group = f"pod{pod + 1}"
            aggs = [
                self.add_switch(f"agg{pod * aggregations + place + 1}", "aggregation", 2, group)
                for place in range(aggregations)
            ]
            for place, agg in enumerate(aggs):
                for port in range(1, cores + 1):
                    self.join(agg, f"core{place * cores + port}")
            for place in range(1, leaves + 1):
                leaf = self.add_switch(f"leaf{pod * leaves + place}", "leaf", 1, group)
                self.add_hosts(aggregations * oversubscription, leaf, group)
                for agg in aggs:
                    self.join(leaf, agg)

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        pods, leaves, aggregations = params["pods"], params["leaves"], params["aggregations"]
        hosts = pods * leaves * aggregations * params["oversubscription"]
        return hosts, pods * aggregations * (leaves + params["cores"])


topos = {"clos": Clos}
