"""Faults of a user's own: a function that says of which faults a new one is made.

It is given the order as it stands in the scenario (without ``do``) and the fabric, and returns orders of verbs that
there are, as mappings or lines of text. So a fault of one's own means the same in every engine, is checked and
explained as any other, and needs nothing where the plan goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from testbed import plugins
from testbed.faults import VERBS
from testbed.own_engines import Files
from testbed.scenario.custom import read_module, reason
from testbed.scenario.document import Document
from testbed.scenario.errors import FieldError, shown, suggestion
from testbed.scenario.model import FaultOrder, OwnFault
from testbed.scenario.problems import problem_lines
from testbed.topologies.fabric import Fabric

Makes = Callable[[dict[str, Any], Fabric], list[Any]]


def orders_of(fault: OwnFault, fabric: Fabric, files: Files) -> list[FaultOrder]:
    """The orders that it is made of. Raises FieldError, one line, for whatever goes wrong."""
    makes, file = _function(fault.do, files)
    given = dict(fault.__pydantic_extra__ or {})
    try:
        made = makes(given, fabric)
    except Exception as error:  # the user's code may raise anything
        raise FieldError("do", f"{fault.do} can't be made: {reason(error, file)}") from None
    if not isinstance(made, list):
        raise FieldError("do", f"{fault.do} is made of {shown(made)}; a list of orders is wanted")
    return [_order(fault.do, one) for one in made]


def _order(name: str, made: object) -> FaultOrder:
    try:
        return FaultOrder.model_validate(made)
    except ValidationError as error:
        (line, *_) = problem_lines(error, Document(made, f"{name} makes {shown(made)}"), lambda *_: [])
        raise FieldError("do", line) from None


def _function(name: str, files: Files) -> tuple[Makes, str]:
    """The function that a verb names, and its file where that is the user's own."""
    file, colon, called = name.partition(":")
    if not colon:
        point = plugins.called(plugins.FAULTS, name, VERBS)
        assert point is not None, "the model has looked"
        found, file = plugins.loaded(point), ""
    else:
        try:
            module = read_module(file, files)
        except FieldError as error:
            raise FieldError("do", str(error)) from None
        found = getattr(module, called, None)
        if found is None:
            own = [key for key, item in vars(module).items() if getattr(item, "__module__", "") == module.__name__]
            raise FieldError("do", f"{name} can't be found; {suggestion(called, own)}")
    if not callable(found):
        raise FieldError("do", f"{name} is no function")
    makes: Makes = found
    return makes, file
