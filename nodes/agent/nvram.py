"""A machine's state in memory that outlives its process: what a restart with kept state begins from."""

from __future__ import annotations

import mmap
import pickle
import struct
from typing import Any

SLOT_BYTES = 4 << 20
"""Room for one state; pages that are never written take no memory."""

# length << 2 | the slot with the last whole state (1 or 2, 0 = none yet); native, so that it is one store
_FLIP = struct.Struct("@Q")
_HEADER_BYTES = 64
NVRAM_BYTES = _HEADER_BYTES + 2 * SLOT_BYTES


class NvramError(RuntimeError):
    """The state does not fit, or there is none."""


class Nvram:
    """Two slots and a flip index: killed in the middle of ``store``, the state before it is still whole.

    Index and length share one aligned machine word, and so change in one instruction; SIGKILL strikes between two.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, NVRAM_BYTES)

    def store(self, state: Any) -> None:
        """Keeps ``state`` in place of the one before. Raises NvramError when it is too large."""
        data = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        if len(data) > SLOT_BYTES:
            raise NvramError(f"a state of {len(data)} bytes does not fit into {SLOT_BYTES}")
        slot = 2 if _FLIP.unpack_from(self._memory)[0] & 3 == 1 else 1
        start = _HEADER_BYTES + (slot - 1) * SLOT_BYTES
        self._memory[start : start + len(data)] = data
        _FLIP.pack_into(self._memory, 0, len(data) << 2 | slot)

    def load(self) -> Any:
        """The last state that was stored whole. Raises NvramError when there was none."""
        length, slot = divmod(_FLIP.unpack_from(self._memory)[0], 4)
        if slot == 0:
            raise NvramError("no state was kept")
        start = _HEADER_BYTES + (slot - 1) * SLOT_BYTES
        return pickle.loads(self._memory[start : start + length])
