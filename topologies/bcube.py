"""A BCube (Guo and others: BCube, a High Performance, Server-centric Network Architecture, SIGCOMM 2009).

Servers have a NIC on a switch of every level. In BCube they forward for each other; here hosts do not, so a host
reaches those that share a switch with it, which are those whose number differs from its own in one digit.

mn --custom topologies/bcube.py --topo bcube,4,2
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


class BCube(FabricTopo):
    """n^levels hosts with a NIC on each level, n hosts on a switch; hosts that share a switch reach each other."""

    joins_everybody = False

    meanings: ClassVar[dict[str, str]] = {
        "n": "Ports of a switch; at least 2.",
        "levels": "Levels; a host has a NIC on each.",
    }

    def build(self, n: int = 4, levels: int = 2) -> None:
        """levels is the paper's k + 1. Switch ``b1_3`` is the third of
        level 1; a host's number less 1, in digits of base n, names its switches: level l leaves digit l out."""
        at_least("n", n, 2)
        at_least("levels", levels, 1)
        for level in range(levels):
            for number in range(n ** (levels - 1)):
                self.add_switch(f"b{level}_{number + 1}", f"level{level}", level + 1)
        for number in range(n**levels):
            host = self.add_host(f"b0_{number // n + 1}")
            for level in range(levels):
                above, below = divmod(number, n**level)
                self.join(host, f"b{level}_{above // n * n**level + below + 1}")

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        n, levels = params["n"], min(params["levels"], 32)
        return n**levels, n**levels * levels


topos = {"bcube": BCube}
