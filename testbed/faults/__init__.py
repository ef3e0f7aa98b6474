"""Faults as a user orders them, compiled to the atomic, timed or triggered faults of a plan."""

from testbed.faults.orders import Order, compile_orders
from testbed.faults.text import describe, describe_lie
from testbed.faults.verbs import DEEDS, VERBS, Deed, Verb

__all__ = ["DEEDS", "VERBS", "Deed", "Order", "Verb", "compile_orders", "describe", "describe_lie"]
