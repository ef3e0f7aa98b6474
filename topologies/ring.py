"""Switches in a circle, each joined to the next, and hosts on every one of them.

A circle is a loop at layer 2. The testbed forwards on static shortest paths; under plain ``mn`` use switches that block
the loop:

    mn --custom topologies/ring.py --topo ring,8,1 --switch lxbr,stp=1
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


class Ring(FabricTopo):
    """Switches in a circle, each with its hosts."""

    meanings: ClassVar[dict[str, str]] = {
        "switches": "Switches in the circle; at least 3.",
        "hosts_per_switch": "Hosts on each switch.",
    }

    def build(self, switches: int = 6, hosts_per_switch: int = 1) -> None:
        """Hosts are numbered switch by switch."""
        at_least("switches", switches, 3)
        at_least("hosts_per_switch", hosts_per_switch, 1)
        for place in range(switches):
            self.add_switch(f"ring{place + 1}", "ring", at=(place,))
        for place in range(switches):
            self.add_hosts(hosts_per_switch, f"ring{place + 1}", f"ring{place + 1}")
            self.join(f"ring{place + 1}", f"ring{(place + 1) % switches + 1}")

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["switches"] * params["hosts_per_switch"], params["switches"]


topos = {"ring": Ring}
