"""A leaf-spine fabric (a folded Clos network of two stages): every leaf has one link to every spine.

Several spines are loops at layer 2. The testbed forwards on static shortest paths; under plain ``mn`` use switches that
block the loops:

    mn --custom topologies/leaf_spine.py --topo leaf_spine,2,4,2 --switch lxbr,stp=1
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


class LeafSpine(FabricTopo):
    """Hosts under leaf switches; each leaf is linked to each spine."""

    meanings: ClassVar[dict[str, str]] = {
        "spines": "Switches of the upper tier.",
        "leaves": "Switches of the lower tier.",
        "hosts_per_leaf": "Hosts under each leaf.",
    }

    def build(self, spines: int = 2, leaves: int = 4, hosts_per_leaf: int = 2) -> None:
        """All at least 1. Hosts are numbered leaf by leaf."""
        at_least("spines", spines, 1)
        at_least("leaves", leaves, 1)
        at_least("hosts_per_leaf", hosts_per_leaf, 1)
        for spine in range(1, spines + 1):
            self.add_switch(f"spine{spine}", "spine", 2)
        for leaf in range(1, leaves + 1):
            self.add_switch(f"leaf{leaf}", "leaf", 1, f"leaf{leaf}")
            self.add_hosts(hosts_per_leaf, f"leaf{leaf}", f"leaf{leaf}")
            for spine in range(1, spines + 1):
                self.join(f"leaf{leaf}", f"spine{spine}")

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["leaves"] * params["hosts_per_leaf"], params["leaves"] * params["spines"]


topos = {"leaf_spine": LeafSpine}
