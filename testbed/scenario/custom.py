"""Fabrics from a Mininet Topo class in a file of the user's, or in a package that is installed.

What the file means by a name is as with ``mn --custom``: the entry of its dictionary ``topos``, or else the class.
Reading a file runs what stands in it, but for what stands under ``if __name__ == "__main__"``; a network that it would
start then is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from types import ModuleType
from typing import Any

from testbed import plugins
from testbed.nodes.core.own import OwnEngineError
from testbed.own_engines import Files
from testbed.scenario.document import resolve_scalar
from testbed.scenario.errors import FieldError, shown, suggestion
from testbed.scenario.model import CustomClass, InstalledTopology
from testbed.topologies.build import KINDS
from testbed.topologies.build import fabric as fabric_of
from testbed.topologies.fabric import Fabric

Arguments = Mapping[str, Any] | Sequence[Any]


def custom_fabric(wanted: CustomClass, files: Files) -> Fabric:
    """The fabric of a user's Topo class. Raises FieldError, one line, for whatever goes wrong in the user's file."""
    module = read_module(wanted.file, files)
    made = _offered(module).get(wanted.class_)
    if made is None:
        offered = _offered(module)
        advice = suggestion(wanted.class_, offered) if offered else "a Mininet Topo is wanted, and there is none in it"
        raise FieldError(("custom", "class"), f"no class {shown(wanted.class_)} in {wanted.file}; {advice}")
    try:
        return _built(wanted.class_, made, wanted.args, wanted.file)
    except ValueError as error:
        raise FieldError(("custom", "class"), str(error)) from None


def installed_fabric(wanted: InstalledTopology) -> Fabric:
    """The fabric of a class that a package brings. Raises ValueError, one line; PluginError for the package itself."""
    point = plugins.called(plugins.TOPOLOGIES, wanted.kind, KINDS)
    assert point is not None, "the model has looked"
    made = plugins.loaded(point)
    if not callable(made):
        raise ValueError(f"{wanted.kind} of {plugins.package(point)} is no class")
    return _built(wanted.kind, made, wanted.__pydantic_extra__ or {}, "")


def only_name(file: str, files: Files) -> str:
    """The topology that a file means where none is named. Raises FieldError."""
    module = read_module(file, files)
    own = [name for name, item in _offered(module).items() if getattr(item, "__module__", "") == module.__name__]
    names = list(getattr(module, "topos", {})) or own
    if len(names) != 1:
        raise FieldError(("custom", "class"), f"name one of those in {file}: {', '.join(names) or 'there is none'}")
    return str(names[0])


def named_arguments(wanted: str) -> tuple[str, dict[str, Any] | list[Any]]:
    """``tree,2,fanout=3``, as Mininet takes it: the name, and the arguments, by place or (all of them) by name. Raises
    ValueError."""
    name, *words = [word.strip() for word in wanted.split(",")]
    pairs = [word.partition("=") for word in words]
    named = {key: resolve_scalar(value) for key, equals, value in pairs if equals}
    placed = [resolve_scalar(key) for key, equals, _ in pairs if not equals]
    if named and placed:
        raise ValueError(f"{wanted}: give all arguments by place, as {name},2,3, or all by name")
    return name, named or placed


def _built(name: str, made: Callable[..., Any], arguments: Arguments, file: str) -> Fabric:
    try:
        topo = made(**arguments) if isinstance(arguments, Mapping) else made(*arguments)
        return fabric_of(topo, name)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ValueError(f"{name} can't be built: {reason(error, file)}") from None


def _offered(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """What a file means by which name."""
    classes = {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, type) and (item.__module__ == module.__name__ or hasattr(item, "build"))
    }
    topos = getattr(module, "topos", {})
    return classes | (dict(topos) if isinstance(topos, Mapping) else {})


def read_module(file: str, files: Files) -> ModuleType:
    """What a file of the user's comes to. Raises FieldError."""
    try:
        text = files.text(file)
    except OwnEngineError as error:
        raise FieldError(("custom", "file"), str(error)) from None
    module = ModuleType("custom_topology")
    module.__file__ = file
    try:
        code = compile(text, file, "exec", dont_inherit=True)
        with _starting_nothing("Mininet" in text):
            exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise FieldError(("custom", "file"), f"{file} can't be run: {reason(error, file)}") from None
    return module


@contextmanager
def _starting_nothing(may_start: bool) -> Iterator[None]:
    """While a file is read, no network of Mininet's is made in it."""
    if not may_start:
        yield
        return
    from mininet.net import Mininet

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError('it starts Mininet as it is read; let that stand under if __name__ == "__main__":')

    before = Mininet.__init__
    Mininet.__init__ = refused
    try:
        yield
    finally:
        Mininet.__init__ = before


def reason(error: BaseException, file: str) -> str:
    """What the user's code raised, and in which line of the file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == file and file]
    speaks = isinstance(error, ValueError | RuntimeError | TypeError)  # for itself
    told = text if speaks else f"{type(error).__name__}: {text}"
    return f"line {lines[-1]}: {told}" if lines else told
