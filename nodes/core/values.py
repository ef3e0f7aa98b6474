"""Values are bytes: what is proposed, decided and kept. Small integers are one encoding of them, the one in here."""

from __future__ import annotations

import hashlib

_INT_BYTES = 4
_SHOWN_BYTES = 64


def of_int(number: int) -> bytes:
    """The value of an unsigned number of 32 bits; of two numbers the smaller has the smaller bytes."""
    return number.to_bytes(_INT_BYTES, "big")


def to_int(value: bytes) -> int:
    """The inverse of ``of_int``. Raises ValueError for bytes that are no such number."""
    if len(value) != _INT_BYTES:
        raise ValueError(f"a number has {_INT_BYTES} bytes, not {len(value)}")
    return int.from_bytes(value, "big")


def text(value: bytes) -> str:
    """How a value is written in a record: a number in decimals, other bytes in hex; long ones by size and digest.

    Different values give different texts.
    """
    if len(value) == _INT_BYTES:
        return str(to_int(value))
    if len(value) <= _SHOWN_BYTES:
        return f"0x{value.hex()}"
    return f"{len(value)}B:{hashlib.blake2b(value, digest_size=16).hexdigest()}"
