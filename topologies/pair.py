"""Two hosts and one link between them: the smallest place where bisynchrony can break.

mn --custom topologies/pair.py --topo pair
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    from testbed.topologies.base import FabricTopo
except ImportError:  # run by `mn --custom`, which knows the file but not its package
    here = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(next(folder for folder in here.parents if (folder / "testbed").is_dir())))
    from testbed.topologies.base import FabricTopo


class Pair(FabricTopo):
    """Two hosts, one link, no switch."""

    def build(self) -> None:
        """Builds it; there is nothing to choose."""
        self.join(self.add_host(), self.add_host())

    @classmethod
    def size(cls, **_params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return 2, 0


topos = {"pair": Pair}
