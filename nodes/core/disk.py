"""What a machine keeps on its node's disk: plain data under keys, written when it has changed and only then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodes.core import Persist


def pack(*data: Any) -> bytes:
    """Numbers, texts, None, and lists and tuples of them, as bytes; bytes go in as ``hex()``."""
    return json.dumps(data, separators=(",", ":")).encode()


def unpack(data: bytes) -> list[Any]:
    """What was packed, tuples as lists."""
    found: list[Any] = json.loads(data)
    return found


class Written:
    """What is on the disk, as its machine knows it: of what is to be kept it tells what is news."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.held: dict[str, bytes] = {}

    def read(self, disk: Mapping[str, bytes]) -> None:
        """The disk as a life finds it."""
        self.held = dict(disk)

    def news(self, wanted: Mapping[str, bytes | None]) -> list[Persist]:
        """What must be written so that the disk holds ``wanted`` (None: nothing under that key); only the last is
        synced, so that a crash among them leaves none: records of one event never part."""
        changed = [Persist(key, data) for key, data in wanted.items() if self.held.get(key) != data]
        for key, data, _sync in changed:
            if data is None:
                del self.held[key]
            else:
                self.held[key] = data
        return [*(one._replace(sync=False) for one in changed[:-1]), *changed[-1:]]
