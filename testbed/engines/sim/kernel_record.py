"""What a real kernel would have recorded of a run of ``sim``: for tests and benchmarks of verdicts, which get to know
less of such a run.

A kernel's captures don't say why a frame was dropped, nor which copy is the second one. They are taken where a host's
NIC is attached: what that NIC drops as it arrives has come in, and what it does not let out was never seen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.history import WHATS, History, Hops

_COUNTED = ("clock_step_ns", "capture_drops", "ring_drops", "backlog_drops")


def as_a_kernel_records(history: History, engine: str = "vkernel") -> History:
    """The same run as ``engine`` would tell of it."""
    hops = history.hops
    number = {name: place for place, name in enumerate(history.names)}
    owner = np.array([number.get(node, -1) for node, _ in hops.places], dtype=np.int64)[hops.place]
    what = np.where(hops.where("mute") & (owner != hops.key_src), WHATS.index("in"), hops.what)
    what[hops.where("dup")] = WHATS.index("out")
    seen = np.isin(what, [WHATS.index("in"), WHATS.index("out")])
    kept = {name: column[seen] for name, column in (hops.columns() | {"what": what}).items()}
    meta = {name: value for name, value in history.meta.items() if name != "traffic"}
    return replace(history, engine=engine, hops=Hops(hops.places, **kept), meta=meta | dict.fromkeys(_COUNTED, 0))
