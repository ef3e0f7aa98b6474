"""The document a user writes: read, validated, explained, compiled to a plan."""

from testbed.scenario.compile import compile_plan
from testbed.scenario.errors import ScenarioError
from testbed.scenario.expect import unmet
from testbed.scenario.explain import explain
from testbed.scenario.load import Scenario, as_written, from_data, load, parse
from testbed.scenario.model import Expectation
from testbed.scenario.schema import json_schema

__all__ = [
    "Expectation",
    "Scenario",
    "ScenarioError",
    "as_written",
    "compile_plan",
    "explain",
    "from_data",
    "json_schema",
    "load",
    "parse",
    "unmet",
]
