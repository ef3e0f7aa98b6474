"""A dumbbell: hosts on two switches and one link between these, where everything meets.

mn --custom topologies/dumbbell.py --topo dumbbell,4,4
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


class Dumbbell(FabricTopo):
    """Hosts left and right of one link, on a switch each side."""

    meanings: ClassVar[dict[str, str]] = {"left": "Hosts on the left switch.", "right": "Hosts on the right switch."}

    def build(self, left: int = 2, right: int = 2) -> None:
        """left, right: hosts on each side; the bottleneck is ``left<->right``. Hosts are numbered left ones first."""
        at_least("left", left, 1)
        at_least("right", right, 1)
        for side, count in (("left", left), ("right", right)):
            self.add_hosts(count, self.add_switch(side, "side", group=side), side)
        self.join("left", "right")

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["left"] + params["right"], 1


topos = {"dumbbell": Dumbbell}
