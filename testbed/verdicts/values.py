"""Values in words: numbers and bytes as they are written everywhere, entries of a service's log by their operations."""

from __future__ import annotations

import hashlib

from testbed.nodes.core.values import text
from testbed.nodes.registry import service_spec
from testbed.nodes.services.log import life_of, parts_of, read_entry
from testbed.plan import Plan

_SHOWN_OPERATIONS = 3
NO_OPERATION = "nothing"


def value_text(plan: Plan, value: bytes) -> str:
    """What was proposed or decided."""
    operations = read_entry(value) if plan.service else None
    if operations is None:
        return text(value)
    if not operations:
        return NO_OPERATION
    spec = service_spec(plan.service)
    said = [f"{operation_name(plan, one.number)} {spec.call_text(one.command)}" for one in operations]
    more = len(said) - _SHOWN_OPERATIONS
    if more > 0:
        digest = hashlib.blake2b(value, digest_size=4).hexdigest()
        said = [*said[:_SHOWN_OPERATIONS], f"{more} more ({digest})"]
    return f"[{'; '.join(said)}]"


def operation_name(plan: Plan, number: int) -> str:
    """``host4.1.6``: of the first life of the client on host4 operation 6. Of nobody's operation the number."""
    session, sequence = parts_of(number)
    node, epoch = life_of(session)
    return f"{plan.fabric.hosts[node]}.{epoch}.{sequence}" if node in plan.clients else str(number)
