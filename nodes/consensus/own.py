"""From the text of a user's files to an engine: its module, its EngineSpec, and who tells what goes wrong inside it.

What a file offers is an EngineSpec, or a class that one is made of: a machine that decides instances (InstanceMachine,
or whatever else is a testbed.nodes.core.Consensus), one that keeps a log (testbed.nodes.core.Log), or an algorithm made
of rounds (testbed.nodes.oae.algorithm.RoundAlgorithm). What such a class does not say of itself in ``ENGINE``, a
mapping with the names of EngineSpec's fields, is as most engines have it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, fields, make_dataclass, replace
from functools import cache, partial
from hashlib import blake2b
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from traceback import walk_tb
from types import ModuleType
from typing import Any, cast, get_args, get_type_hints

from testbed.nodes.consensus.spec import CARRIES, INSTANCES, LOG, RETRIES, EngineSpec, minority, swaps_settle_ns
from testbed.nodes.core import Effect, Effects, Life, Machine, Port, Send
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.own import OwnEngine, OwnEngineError
from testbed.nodes.core.text import message_text, time_text
from testbed.nodes.frames import Message
from testbed.nodes.oae.rounds import RoundMachine

SETTINGS = "ENGINE"
"""Where a class says of itself what its engine's spec is to say."""

_SAID_ELSEWHERE = ("name", "build", "made_of_swaps", "order", "parameters")  # by what the class is, and how it is made
_EFFECTS = frozenset(get_args(Effect))
_COUNTS = ("most_f", "settle_ns", "rounds_per_instance")
_CALLBACKS = ("on_start", "on_message", "on_timer")
_KINDS: Mapping[str, Sequence[str]] = {
    INSTANCES: (*_CALLBACKS, "awaits", "propose"),
    LOG: (*_CALLBACKS, "submit", "compact", "read"),
    "rounds": ("message", "deliver", "snapshot", "restore"),
}
_SETTING_TYPES = (bool, int, float, str)


@cache
def own_spec(own: OwnEngine) -> EngineSpec:
    """What the engine says about itself. Raises OwnEngineError for whatever goes wrong in the user's file."""
    module = _module(own)
    found = getattr(module, own.object, None)
    if isinstance(found, EngineSpec):
        return _watched(own, replace(found, name=own.name))
    if not isinstance(found, type):
        offered = [name for name, item in vars(module).items() if _is_offered(item, module)]
        there = f"there is {', '.join(offered)}" if offered else "there is no class and no EngineSpec of its own in it"
        raise OwnEngineError(f"{own.file}: no class {own.object!r}; {there}")
    try:
        return _watched(own, _spec_of(own, found))
    except OwnEngineError as error:
        raise OwnEngineError(f"{_where(own, found)}: {own.object}: {error}") from None


def _is_offered(item: object, module: ModuleType) -> bool:
    if isinstance(item, type):
        return item.__module__ == module.__name__ and any(_lacks(item, names) == [] for names in _KINDS.values())
    return isinstance(item, EngineSpec)


def _where(own: OwnEngine, made: type) -> str:
    """``file:line`` of a class."""
    try:
        return f"{own.file}:{inspect.getsourcelines(made)[1]}"
    except (OSError, TypeError):
        return own.file


# -- from a class to a spec --------------------------------------------------------------------------------------------


def _spec_of(own: OwnEngine, made: type) -> EngineSpec:
    kind = _kind(made)
    parameters = _parameters(made)
    settings = _settings(made)
    planted = "pitfalls" in inspect.signature(made).parameters
    if settings.get("pitfalls") and not planted:
        raise OwnEngineError(f"{SETTINGS} names pitfalls, and __init__ takes none; add an argument pitfalls")
    build = _build_rounds if kind == "rounds" else _build_machine
    usual: dict[str, Any] = {
        "title": (inspect.getdoc(made) or own.object).splitlines()[0].rstrip("."),
        "most_f": minority,
        "rule": "f < n/2" if "most_f" not in settings else "an f that its most_f allows",
        "settle_ns": swaps_settle_ns if kind == "rounds" else _settle_ns,
        "rounds_per_instance": _one_more if kind == "rounds" else _one,
    }
    return EngineSpec(
        name=own.name,
        build=partial(build, made, planted),
        made_of_swaps=kind == "rounds",
        order=LOG if kind == LOG else INSTANCES,
        parameters=parameters,
        **usual | settings,
    )


def _watched(own: OwnEngine, spec: EngineSpec) -> EngineSpec:
    """With functions that tell where in the user's file they go wrong."""
    if spec.carries not in CARRIES:
        raise OwnEngineError(f"{own.file}: carries is {spec.carries!r}; there are {', '.join(CARRIES)}")
    found = {name: getattr(spec, name) for name in (*_COUNTS, "wrong", "says", "falsify")}
    watched: dict[str, Any] = {name: _function(own, name, ask) for name, ask in found.items() if ask is not None}
    return replace(spec, **watched)


def _function(own: OwnEngine, name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    def asked(*args: Any) -> Any:
        with _telling(own, name):
            answer = ask(*args)
            if name in _COUNTS and type(answer) is not int:
                raise TypeError(f"it answers with {answer!r:.60}, not with a whole number")
        return answer

    return asked


def _one_more(f: int) -> int:
    return f + 1


def _one(f: int) -> int:  # noqa: ARG001 - the same for every f
    return 1


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - however many there are
    """A message there and back, and as many retransmissions as one is given to come through."""
    return 2 * longest_ns + RETRIES * (protocol.retry_ns + 2 * longest_ns)


def _kind(made: type) -> str:
    lacking = {kind: _lacks(made, names) for kind, names in _KINDS.items()}
    kind = min(lacking, key=lambda kind: len(lacking[kind]) / len(_KINDS[kind]))
    if lacking[kind]:
        raise OwnEngineError(
            f"is no engine: it lacks {', '.join(lacking[kind])}; a machine of instances has "
            f"{', '.join(_KINDS[INSTANCES])}, one that keeps a log {', '.join(_KINDS[LOG])}, "
            f"an algorithm made of rounds {', '.join(_KINDS['rounds'])}"
        )
    abstract = sorted(getattr(made, "__abstractmethods__", ()))
    if abstract:
        raise OwnEngineError(f"is unfinished: it lacks {', '.join(abstract)}")
    return kind


def _lacks(made: type, names: Sequence[str]) -> list[str]:
    return [name for name in names if not callable(getattr(made, name, None))]


def _settings(made: type) -> dict[str, Any]:
    said = getattr(made, SETTINGS, {})
    known = [item.name for item in fields(EngineSpec) if item.name not in _SAID_ELSEWHERE]
    if not isinstance(said, Mapping):
        raise OwnEngineError(f"{SETTINGS} must be a mapping with some of {', '.join(known)}")
    for name in said:
        if name not in known:
            raise OwnEngineError(f"{SETTINGS} knows no {name!r}; there are {', '.join(known)}")
    return dict(said)


def _parameters(made: type) -> type:
    """The engine's own settings: the keyword-only arguments of the class, with their types and defaults."""
    try:
        hints = get_type_hints(made.__init__)  # type: ignore[misc]
    except NameError as error:
        raise OwnEngineError(f"the annotations of __init__ can't be read: {error}") from None
    found: list[tuple[str, Any, Any]] = []
    for name, argument in inspect.signature(made).parameters.items():
        if argument.kind is not argument.KEYWORD_ONLY or name == "pitfalls":
            continue
        if hints.get(name) not in _SETTING_TYPES or argument.default is argument.empty:
            kinds = ", ".join(kind.__name__ for kind in _SETTING_TYPES)
            raise OwnEngineError(f"its argument {name} is a setting: give it a type ({kinds}) and a default")
        found.append((name, hints[name], field(default=argument.default)))
    return make_dataclass("Parameters", found, frozen=True, namespace={"__doc__": made.__doc__})


def _build_machine(made: Callable[..., Any], planted: bool, config: NodeConfig, pitfalls: Collection[str]) -> Any:
    own = {**config.protocol.parameters, **({"pitfalls": frozenset(pitfalls)} if planted else {})}
    return made(config, **own)


def _build_rounds(
    made: Callable[..., Any], planted: bool, config: NodeConfig, pitfalls: Collection[str]
) -> RoundMachine:
    own = {**config.protocol.parameters, **({"pitfalls": frozenset(pitfalls)} if planted else {})}
    return RoundMachine(config, partial(made, **own))


# -- from texts to modules ---------------------------------------------------------------------------------------------


class _Sources(MetaPathFinder, Loader):
    """Finds the modules of users' engines, each engine's in a package of its own; packages are named for what is in
    them, so that what a machine's state is made of has the same name in every process."""

    def __init__(self) -> None:
        self.engines: dict[str, OwnEngine] = {}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        package, _, name = fullname.partition(".")
        own = self.engines.get(package)
        if own is None or (name and name not in dict(own.sources)):
            return None
        return ModuleSpec(fullname, self, origin=own.path(name), is_package=not name)

    def exec_module(self, module: ModuleType) -> None:
        package, _, name = module.__name__.partition(".")
        if name:
            own = self.engines[package]
            text = dict(own.sources)[name]
            module.__file__ = own.path(name)
            exec(compile(text, own.path(name), "exec", dont_inherit=True), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """For whoever shows lines of it (linecache)."""
        package, _, name = fullname.partition(".")
        return dict(self.engines[package].sources).get(name)


_SOURCES = _Sources()


def _module(own: OwnEngine) -> ModuleType:
    package = f"own_engine_{blake2b(repr(own).encode(), digest_size=8).hexdigest()}"
    _SOURCES.engines[package] = own
    if _SOURCES not in sys.meta_path:
        sys.meta_path.append(_SOURCES)
    with _telling(own, ""):
        return import_module(f"{package}.{own.sources[0][0]}")


# -- what goes wrong in it ---------------------------------------------------------------------------------------------


class _telling:  # noqa: N801 - used as a function is
    """While inside, whatever the user's code raises is told as an OwnEngineError: ``when``, and where in the file."""

    def __init__(self, own: OwnEngine, when: str) -> None:
        self.own, self.when = own, when

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, OwnEngineError):
            raise OwnEngineError(told(self.own, error, self.when)) from error


def told(own: OwnEngine, error: Exception, when: str) -> str:
    """``mine.py:12: when host2 is told TELL_ME: ZeroDivisionError: division by zero``."""
    paths = {own.path(name) for name, _ in own.sources}
    if isinstance(error, SyntaxError) and error.filename in paths:
        return f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    where = next((f"{file}:{line}" for file, line in reversed(lines) if file in paths), own.file)
    reason = " ".join(str(error).split())
    what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return ": ".join(part for part in (where, when, what) if part)


class Guarded:
    """A machine inside which an engine of the user's works (testbed.nodes.core.Machine): what the user's code raises is
    told with the event, the node and the line, and what it answers with are effects that can be performed."""

    def __init__(self, config: NodeConfig, build: Callable[[], Machine]) -> None:
        self.config = config
        with _telling(_own(config), f"as {config.name} is made"):
            self.machine = build()

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The node comes up."""
        return self._answer(lambda: self.machine.on_start(now_ns, disk), lambda: "starts", now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """The peer behind ``port`` said something."""
        return self._answer(
            lambda: self.machine.on_message(port, message, life, now_ns),
            lambda: f"hears {message_text(message)} from {self.config.peers[port].name}",
            now_ns,
        )

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """A timer is due."""
        return self._answer(lambda: self.machine.on_timer(name, now_ns), lambda: f"finds timer {name!r} due", now_ns)

    def _answer(self, ask: Callable[[], Effects], event: Callable[[], str], now_ns: int) -> Effects:
        try:
            effects = ask()
            self._check(effects)
        except OwnEngineError:
            raise
        except Exception as error:
            when = f"as {self.config.name} {event()} at {time_text(now_ns)}"
            raise OwnEngineError(told(_own(self.config), error, when)) from error
        return effects

    def _check(self, effects: object) -> None:
        """Raises TypeError or ValueError for what no driver could perform."""
        if type(effects) is not list:
            raise TypeError(f"it answers with {effects!r:.60}, not with a list of effects")
        for effect in effects:
            if type(effect) not in _EFFECTS:
                raise TypeError(f"it answers with {effect!r:.60}, which is no effect")
            if type(effect) is Send and not 0 <= effect.port < len(self.config.peers):
                last = len(self.config.peers) - 1
                raise ValueError(f"it sends to port {effect.port}; its peers are behind ports 0 to {last}")


def _own(config: NodeConfig) -> OwnEngine:
    return cast("OwnEngine", config.protocol.consensus)
