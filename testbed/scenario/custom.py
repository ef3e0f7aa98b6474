"""Fabrics from a Mininet Topo class in a file of the user's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from testbed.scenario.errors import FieldError, shown, suggestion
from testbed.scenario.model import CustomTopology
from testbed.topologies.build import fabric as fabric_of
from testbed.topologies.fabric import Fabric


def custom_fabric(topology: CustomTopology, base_dir: Path) -> Fabric:
    """The fabric of a user's Topo class. Raises FieldError, one line, for whatever goes wrong in the user's file."""
    wanted = topology.custom
    module = _module(base_dir / wanted.file)
    made = getattr(module, wanted.class_, None)
    if not isinstance(made, type):
        classes = [name for name, item in vars(module).items() if isinstance(item, type)]
        problem = f"no class {shown(wanted.class_)} in {wanted.file}; {suggestion(wanted.class_, classes)}"
        raise FieldError(("custom", "class"), problem)
    try:
        topo = made(**wanted.args)
        return fabric_of(topo, wanted.class_)
    except Exception as error:  # the user's code may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FieldError(("custom", "class"), f"{wanted.class_} can't be built: {reason}") from None


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise FieldError(("custom", "file"), f"there is no file {shown(str(file))}; paths count from the scenario")
    spec = importlib.util.spec_from_file_location(f"custom_topology_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise FieldError(("custom", "file"), f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        raise FieldError(("custom", "file"), f"{file.name} can't be run: {type(error).__name__}: {error}") from None
    return module
