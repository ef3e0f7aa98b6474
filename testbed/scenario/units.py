"""Times, rates and shares as people write them: ``50us``, ``10gbit``, ``1%``. Exact: decimal, not floating point."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from testbed.nodes.core.text import drift_text, time_text

_TIME_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9}
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_SIZE_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NUMBER = r"(\d{1,18}(?:\.\d{1,18})?)"
_TIME = re.compile(rf"{_NUMBER}\s*({'|'.join(_TIME_UNITS)})")
_RATE = re.compile(rf"{_NUMBER}\s*({'|'.join(_RATE_UNITS)})(?:/s|ps)?", re.IGNORECASE)
_SIZE = re.compile(rf"{_NUMBER}\s*({'|'.join(_SIZE_UNITS)})")
_SHARE = re.compile(rf"{_NUMBER}\s*(%?)")
_DRIFT_UNITS = {"ppb": 1, "ppm": 1000}
_DRIFT = re.compile(r"([+-]?\d{1,12}(?:\.\d{1,12})?)\s*(ppm|ppb)")
FASTEST_DRIFT_PPB = 100_000_000
LONGEST_NS = 10**15  # some eleven days
FASTEST_BPS = 10**15
LARGEST_BYTES = 2**40


def parse_time(value: object) -> int:
    """``50us`` -> 50000 (ns). Units: ns, us, ms, s; a bare number is refused, except 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a time such as 50us, not {value!r}")
    if isinstance(value, int | float):
        if value == 0:
            return 0
        if not 0 < value < LONGEST_NS:
            raise ValueError(f"must be a time such as 50us, not {value!r}")
        raise ValueError(f"{value!r} has no unit; write {value}us or another of ns, us, ms, s")
    match = _TIME.fullmatch(value.strip())
    if match is None:
        bare = re.fullmatch(_NUMBER, value.strip())
        advice = f"has no unit; write {value.strip()}us" if bare else "is no time; write a number and ns, us, ms or s"
        raise ValueError(f"{value!r} {advice}")
    exact = Decimal(match.group(1)) * _TIME_UNITS[match.group(2)]
    if exact != int(exact):
        raise ValueError(f"{value!r} is not a whole number of nanoseconds; the clock counts those")
    if exact > LONGEST_NS:
        raise ValueError(f"{value!r} is longer than the longest time that can be run, {LONGEST_NS // 10**9} s")
    return int(exact)


def parse_rate(value: object) -> int:
    """``10gbit`` -> 10**10 (bit/s). Units: bit, kbit, mbit, gbit, tbit, thousand by thousand; 0 means unlimited."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a rate such as 10gbit, not {value!r}")
    if isinstance(value, int | float):
        if value == 0:
            return 0
        if not 0 < value < FASTEST_BPS:
            raise ValueError(f"must be a rate such as 10gbit, not {value!r}")
        raise ValueError(f"{value!r} has no unit; write {value}mbit or another of bit, kbit, mbit, gbit")
    match = _RATE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no rate; write a number and bit, kbit, mbit or gbit")
    exact = Decimal(match.group(1)) * _RATE_UNITS[match.group(2).lower()]
    if exact != int(exact) or exact > FASTEST_BPS or 0 < exact < 8:
        raise ValueError(f"{value!r} must be whole bits per second, 8 at least, {FASTEST_BPS // 10**12}tbit at most")
    return int(exact)


def parse_size(value: object) -> int:
    """``64MiB`` -> 67108864 (bytes). Units: KiB, MiB, GiB."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no size; write a number and KiB, MiB or GiB, as 64MiB")
    exact = Decimal(match.group(1)) * _SIZE_UNITS[match.group(2)]
    if exact != int(exact) or exact > LARGEST_BYTES:
        raise ValueError(f"{value!r} must be whole bytes, {LARGEST_BYTES // 2**30}GiB at most")
    return int(exact)


def spell_size(size: int) -> str:
    """The inverse of parse_size, without loss for whole KiB."""
    for unit, bytes_ in reversed(_SIZE_UNITS.items()):
        if size % bytes_ == 0:
            return f"{size // bytes_}{unit}"
    return f"{Decimal(size) / 2**10}KiB"


def parse_share(value: object) -> float:
    """``1%`` or 0.01 -> 0.01: a fraction of 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a share such as 1% or 0.01, not {value!r}")
    if isinstance(value, str):
        match = _SHARE.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no share; write 1% or 0.01")
        share = float(Decimal(match.group(1)) / (100 if match.group(2) else 1))
    else:
        share = value
    if not 0 <= share <= 1:
        raise ValueError(f"{value!r} does not lie between 0 and 1 (100%)")
    return float(share)


def parse_signed_time(value: object) -> int:
    """``-5us`` -> -5000 (ns): as parse_time, with a sign if one is wanted."""
    if isinstance(value, str) and value.strip()[:1] in ("-", "+"):
        size = parse_time(value.strip()[1:])
        return -size if value.strip().startswith("-") else size
    return parse_time(value)


def parse_drift(value: object) -> int:
    """``20ppm`` -> 20000 (parts per billion, nanoseconds a second). Units: ppm and ppb, with a sign if wanted."""
    if value == 0 and not isinstance(value, bool):
        return 0
    match = _DRIFT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a drift such as 20ppm or -300ppb, not {value!r}")
    exact = Decimal(match.group(1)) * _DRIFT_UNITS[match.group(2)]
    if exact != int(exact) or abs(exact) > FASTEST_DRIFT_PPB:
        raise ValueError(
            f"{value!r} must be a whole number of ppb, and a tenth (100000ppm) at the most: no clock is worse"
        )
    return int(exact)


def spell_signed_time(ns: int) -> str:
    """The inverse of parse_signed_time, without loss."""
    return f"-{time_text(-ns)}" if ns < 0 else time_text(ns)


def spell_exact_rate(bps: int) -> str:
    """The inverse of parse_rate, without loss."""
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bps and bps % size == 0:
            return f"{bps // size}{unit}"
    return f"{bps}bit"


class AsWritten(GenerateJsonSchema):
    """A JSON Schema whose defaults are told as a user writes them: ``300us``, not the number of nanoseconds."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """See GenerateJsonSchema, which tells them so in the schema of what is printed alone."""
        default = super().get_default_value(schema)
        inside: Any = schema["schema"]
        while "serialization" not in inside and "schema" in inside:  # bounds stand around it
            inside = inside["schema"]
        spelling = inside.get("serialization", {})
        spelled = default is not None and spelling.get("type") == "function-plain"
        return spelling["function"](default) if spelled else default


def _schema(pattern: str, example: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}], "examples": [example]}
    return WithJsonSchema(schema)


Time = Annotated[
    int,
    BeforeValidator(parse_time),
    PlainSerializer(time_text, return_type=str, when_used="json"),
    _schema(r"^\s*\d+(\.\d+)?\s*(ns|us|µs|μs|ms|s)\s*$", "50us"),
]
SignedTime = Annotated[
    int,
    BeforeValidator(parse_signed_time),
    PlainSerializer(spell_signed_time, return_type=str, when_used="json"),
    _schema(r"^\s*[+-]?\d+(\.\d+)?\s*(ns|us|µs|μs|ms|s)\s*$", "-5us"),
]
Drift = Annotated[
    int,
    BeforeValidator(parse_drift),
    PlainSerializer(drift_text, return_type=str, when_used="json"),
    _schema(r"^\s*[+-]?\d+(\.\d+)?\s*(ppm|ppb)\s*$", "20ppm"),
]
Rate = Annotated[
    int,
    BeforeValidator(parse_rate),
    PlainSerializer(spell_exact_rate, return_type=str, when_used="json"),
    _schema(r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]?[bB][iI][tT])(/s|ps)?\s*$", "10gbit"),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(spell_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[KMG]iB\s*$", "examples": ["64MiB"]}),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%?\s*$"},
                {"type": "number", "minimum": 0, "maximum": 1},
            ],
            "examples": ["1%", 0.01],
        }
    ),
]
