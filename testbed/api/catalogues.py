"""What there is to choose from."""

from __future__ import annotations

import pyarrow as pa

from testbed.actions.catalogue import ROWS, Kind
from testbed.api.table import Table, with_meanings
from testbed.errors import UserError

_ABOUT = {"name": "what it is called", "story": "what it is, in a sentence"}


def catalogue(kind: str = "scenarios") -> Table:
    """What there is of a kind: scenarios, studies, topologies, faults, engines, consensus, or the runs in ``./runs``.

    Raises testbed.Error for any other kind.

    >>> import testbed
    >>> list(testbed.catalogue("engines")["name"])
    ['sim', 'vkernel', 'live']
    >>> "leaf_spine" in testbed.catalogue("topologies")["name"]
    True
    """
    if kind not in list(Kind):
        raise UserError(f"there is no list of {kind!r}; there are {', '.join(Kind)}")
    rows = ROWS[Kind(kind)]()
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(_ABOUT))]
    return Table(with_meanings(pa.table(columns, names=list(_ABOUT)), _ABOUT), kind)
