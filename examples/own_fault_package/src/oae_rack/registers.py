"""A value as the 16 bytes of a swap."""

from struct import Struct

_REGISTER = Struct("!I12x")


def written(value: int) -> bytes:
    """The register."""
    return _REGISTER.pack(value)


def read(register: bytes) -> int:
    """The inverse."""
    (value,) = _REGISTER.unpack(register)
    return int(value)
