"""What coordinator and machines say to each other over ssh: lines of JSON, each maybe followed by plain bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any


def say(stream: IO[bytes], message: Mapping[str, Any], data: bytes = b"") -> None:
    """Raises OSError when the other side is gone."""
    stream.write(json.dumps({**message, "bytes": len(data)}).encode() + b"\n" + data)
    stream.flush()


def listen(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message and its bytes; None when the other side is gone. Raises ValueError when that is no message."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    size = message.pop("bytes")
    data = stream.read(size)
    return (message, data) if len(data) == size else None
