"""Hosts around one switch.

mn --custom topologies/star.py --topo star,4
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


class Star(FabricTopo):
    """All hosts on one switch."""

    meanings: ClassVar[dict[str, str]] = {"hosts": "Hosts on the switch."}

    def build(self, hosts: int = 3) -> None:
        """hosts: how many, at least 1."""
        at_least("hosts", hosts, 1)
        self.add_hosts(hosts, self.add_switch("switch1"))

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["hosts"], 0


topos = {"star": Star}
