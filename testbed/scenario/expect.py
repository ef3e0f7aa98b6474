"""A scenario's expectations held against the verdicts (as ``Verdicts.to_dict`` gives them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.scenario.model import Expectation

SERVICE_PROPERTIES = ("durability", "exclusion", "leadership", "barrier", "sums", "staleness")
"""What may be expected of a service besides: fields of Expectation, properties of its verdict."""


def unmet(expect: Expectation, verdicts: Mapping[str, Any]) -> list[str]:
    """One sentence for each expectation that does not hold; empty when all do."""
    checks = [
        *_bisynchrony(expect, verdicts["bisynchrony"]),
        *_consensus(expect, verdicts["consensus"]),
        *_service(expect, verdicts["service"]),
        _compare("fidelity", expect.fidelity, verdicts["fidelity"]["answer"]),
    ]
    return [problem for problem in checks if problem]


def _bisynchrony(expect: Expectation, verdict: Mapping[str, Any]) -> list[str]:
    if expect.bisynchrony is not None and not verdict["rounds"]:
        return [f"bisynchrony: expected {expect.bisynchrony}, but no round was judged"]
    kinds = sorted({item["kind"] for item in verdict["breaks"]})
    wanted = None if expect.kinds is None else sorted(set(expect.kinds))
    return [
        _compare("bisynchrony", expect.bisynchrony, "breaks" if verdict["broken_rounds"] else "holds"),
        _compare("kinds of breaks", wanted, kinds),
        _compare("splits", expect.splits, verdict["swaps"].get("split", 0)),
        _compare("blocked swaps", expect.blocked, verdict["swaps"].get("blocked", 0)),
    ]


def _consensus(expect: Expectation, verdict: Mapping[str, Any] | None) -> list[str]:
    wanted = (expect.agreement, expect.validity, expect.integrity, expect.order, expect.termination)
    if verdict is None:
        asked = any(value is not None for value in wanted)
        return ["agreement, validity or the like was expected, but the run proposed nothing"] if asked else []
    found = "some" if verdict["decided"] else "none"
    ended = {found} if verdict["undecided"] or not verdict["decided"] else {"all", "some"}
    terminated = expect.termination is None or expect.termination in ended
    return [
        _compare("agreement", expect.agreement, "violated" if verdict["disagreements"] else "holds"),
        _compare("validity", expect.validity, "violated" if verdict["invalid"] else "holds"),
        _compare("integrity", expect.integrity, "violated" if verdict.get("repeated") else "holds"),
        _compare("order", expect.order, "violated" if verdict.get("disordered") else "holds"),
        "" if terminated else f"termination: expected {expect.termination}, found {found}",
    ]


def _service(expect: Expectation, verdict: Mapping[str, Any] | None) -> list[str]:
    promised = {name: getattr(expect, name) for name in SERVICE_PROPERTIES}
    if verdict is None:
        asked = [expect.service, expect.operations, *promised.values()] != [None] * (2 + len(promised))
        return ["service, operations or the like was expected, but the run has no service"] if asked else []
    returned = "none" if not verdict["done"] else "some" if verdict["open"] else "all"
    return [
        _compare("service", expect.service, "violated" if verdict["violations"] else "holds"),
        _compare("operations", expect.operations, returned),
        *(_property(name, wanted, verdict.get("properties", {})) for name, wanted in promised.items()),
    ]


def _property(name: str, wanted: str | None, judged: Mapping[str, bool]) -> str:
    found = "violated" if not judged.get(name, True) else "holds" if name in judged else "that nobody promised it"
    return _compare(name, wanted, found)


def _compare(what: str, wanted: object, found: object) -> str:
    return "" if wanted is None or wanted == found else f"{what}: expected {wanted}, found {found}"
