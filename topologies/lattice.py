"""Hosts on a grid, each joined to its eight neighbours by links of its own: Open Atomic Ethernet's mesh, no switch.

mn --custom topologies/lattice.py --topo lattice,3,3
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


class Lattice(FabricTopo):
    """Hosts on a grid, each joined directly to its eight neighbours; no switch."""

    joins_everybody = False

    meanings: ClassVar[dict[str, str]] = {"rows": "Rows of hosts.", "columns": "Columns of hosts."}

    def build(self, rows: int = 3, columns: int = 3) -> None:
        """The grid's borders are open: a host there has five neighbours, or three. At least two hosts."""
        if at_least("rows", rows, 1) * at_least("columns", columns, 1) < 2:
            raise ValueError("a lattice of one host has no link; give it rows or columns")
        names = [[self.add_host(f"row{row + 1}", (column, row)) for column in range(columns)] for row in range(rows)]
        for row in range(rows):
            for column in range(columns):
                for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
                    if row + down < rows and 0 <= column + right < columns:
                        self.join(names[row][column], names[row + down][column + right])

    @classmethod
    def size(cls, **params: int) -> tuple[int, int]:
        """See FabricTopo."""
        return params["rows"] * params["columns"], 4 * params["rows"] * params["columns"]


topos = {"lattice": Lattice}
