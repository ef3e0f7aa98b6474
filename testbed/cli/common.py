"""From what a user names to scenarios and plans: shared by the verbs that run something."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.actions.find import check_kind, find_document
from testbed.cli.output import existing, overrides
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.plan import Container
    from testbed.scenario import Scenario
    from testbed.topologies.fabric import Fabric

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value, such as protocol.window=200us; repeatable."),
]
CustomOption = Annotated[
    str | None,
    typer.Option(
        "--custom",
        metavar="FILE[:NAME[,ARGS]]",
        help="Take the topology from this Python file, as `mn --custom` does: a name of its topos, or a class.",
    ),
]
_NAMED = 6


def load_scenario(name: str, pairs: list[str] | None, seed: int | None = None, custom: str | None = None) -> Scenario:
    """The scenario a user named, with overrides. custom: a topology of the user's own, in place of the scenario's."""
    from testbed.scenario import load

    scenario = load(check_kind(find_document(name, "scenarios"), "scenarios"))
    if custom is not None:
        scenario = scenario.with_override("topology", _custom_topology(custom, ""))
    for key, value in overrides(pairs):
        scenario = scenario.with_override(key, value)
    return scenario if seed is None else scenario.with_override("seed", seed)


def named_fabric(name: str, pairs: list[str] | None, custom: str | None = None) -> Fabric:
    """The fabric of a topology's kind (``--set spines=2`` sets its parameters), of a scenario's file, or of the user's
    own in a file ``custom``."""
    return named_ground(name, pairs, custom)[0]


def named_ground(name: str, pairs: list[str] | None, custom: str | None = None) -> tuple[Fabric, Container | None]:
    """As named_fabric, and what its hosts are: containers with these limits, or plain namespaces."""
    from testbed import plugins
    from testbed.scenario.from_file import is_fabric
    from testbed.topologies.build import KINDS, make_fabric

    if custom is not None:
        return _users_fabric(_custom_topology(custom, name), "args", overrides(pairs)), None
    if is_fabric(Path(name)):
        of_file = {"kind": "from_file", "file": str(existing(Path(name), "topology"))}
        return _users_fabric(of_file, "", overrides(pairs)), None
    if plugins.called(plugins.TOPOLOGIES, name, KINDS):
        return _users_fabric({"kind": name}, "", overrides(pairs)), None
    if not name:
        raise UserError("name a topology (see `testbed topo list`) or a scenario, or a file of yours with --custom")
    if name == "from_file":
        return _fabric_from_file(overrides(pairs)), None
    if name not in KINDS:
        if not Path(name).suffix and not Path(name).exists():
            _check_scenario(name)
        from testbed.scenario import compile_plan

        plan = compile_plan(load_scenario(name, pairs))
        return plan.fabric, plan.container
    parameters: dict[str, int] = {}
    links: list[tuple[str, str]] = []
    for key, value in overrides(pairs):
        if key.startswith("links."):
            links.append((key, value))
        elif value.isdigit():
            parameters[key] = int(value)
        else:
            raise UserError(
                f"--set {key}={value}: {key} of {name} must be a whole number (what links do is set as in "
                "links.default.delay=10ms)"
            )
    try:
        bare = make_fabric(name, parameters)
    except ValueError as error:
        raise UserError(str(error)) from None
    return (_with_links(name, parameters, links) if links else bare), None


def _check_scenario(name: str) -> None:
    """Raises UserError where a bare name is no scenario's either."""
    from testbed.topologies.build import KINDS

    try:
        find_document(name, "scenarios")
    except UserError:
        kinds = ", ".join((*KINDS, "from_file"))
        close = get_close_matches(name, KINDS, n=1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"{name}: neither a topology ({kinds}) nor a scenario{advice}") from None


def _custom_topology(custom: str, name: str) -> dict[str, Any]:
    """What a scenario would say of a topology in a file of the user's. custom: the file, and behind a colon which one
    in it is meant, which ``name`` may say as well."""
    from testbed.own_engines import Files
    from testbed.scenario.custom import named_arguments, only_name
    from testbed.scenario.errors import FieldError

    file, _, inside = custom.partition(":")
    if inside and name:
        raise UserError(f"--custom {custom} and {name}: one of them says which topology is meant")
    try:
        called, arguments = named_arguments(inside or name or only_name(file, Files()))
    except (FieldError, ValueError) as error:
        raise UserError(f"--custom {custom}: {error}") from None
    return {"custom": {"file": file, "class": called, "args": arguments}}


def _users_fabric(topology: dict[str, Any], arguments: str, pairs: list[tuple[str, str]]) -> Fabric:
    """What a scenario with nothing but this topology would run on, with what is set: its arguments, and its links."""
    from testbed.scenario import compile_plan, from_data
    from testbed.scenario.document import resolve_scalar

    own = topology.get("custom", topology)
    given = own.setdefault(arguments, {}) if arguments else own
    for key, value in pairs:
        if not key.startswith("links."):
            if not isinstance(given, dict):
                if given:
                    raise UserError(f"--set {key}={value}: the arguments are given by place already")
                given = own[arguments] = {}
            given[key] = resolve_scalar(value)
    scenario = from_data({"name": str(own.get("class", own.get("kind"))), "topology": topology}, "topology")
    for key, value in pairs:
        if key.startswith("links."):
            scenario = scenario.with_override(key, value)
    return compile_plan(scenario).fabric


def _with_links(kind: str, parameters: dict[str, int], links: list[tuple[str, str]]) -> Fabric:
    """What a scenario with nothing but this topology and these links would run on."""
    from testbed.scenario import compile_plan, from_data

    scenario = from_data({"name": kind, "topology": {"kind": kind, **parameters}}, "--set")
    for key, value in links:
        scenario = scenario.with_override(key, value)
    return compile_plan(scenario).fabric


def _fabric_from_file(pairs: list[tuple[str, str]]) -> Fabric:
    from pydantic import ValidationError

    from testbed.scenario.document import Document, resolve_scalar
    from testbed.scenario.errors import FieldError
    from testbed.scenario.from_file import file_fabric
    from testbed.scenario.model import FromFileTopology
    from testbed.scenario.problems import problem_lines

    given = {"kind": "from_file", **{key: resolve_scalar(value) for key, value in pairs}}
    try:
        return file_fabric(FromFileTopology.model_validate(given), Path())
    except FieldError as error:
        raise UserError(str(error)) from None
    except ValidationError as error:
        known = [key for key in FromFileTopology.model_fields if key != "kind"]
        raise UserError(problem_lines(error, Document(given, "--set"), lambda *_: known)[0]) from None


def unknown_node(word: str, hosts: Sequence[str], switches: Sequence[str]) -> str:
    """What is said of a word that is no node of a fabric: Mininet's users call hosts h1 and switches s1."""
    from testbed.scenario.errors import suggestion

    by_mininet = re.fullmatch(r"([hs])(\d+)", word)
    if by_mininet and by_mininet[1] == "h" and f"host{by_mininet[2]}" in hosts:
        return f"{word}: hosts are called {hosts[0]}, not h1, here; did you mean 'host{by_mininet[2]}'?"
    if by_mininet:
        kind, there = ("hosts", hosts) if by_mininet[1] == "h" else ("switches", switches)
        return f"{word}: there is no such node; {kind} here: {shortened(there)}"
    return f"{word}: there is no such node; {suggestion(word, (*hosts, *switches))}"


def shortened(names: Sequence[str]) -> str:
    """The first few of them."""
    shown = ", ".join(names[:_NAMED]) or "none"
    return f"{shown}, ... {names[-1]}" if len(names) > _NAMED else shown


def path_with_system_folders() -> str:
    """PATH, and behind it the folders of ``tc`` and its like, which ordinary users of Debian do not have in theirs."""
    found = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*found, *(folder for folder in ("/usr/sbin", "/sbin") if folder not in found)])


def study_directory(path: Path) -> bool:
    """Whether a directory is that of a study."""
    return (existing(path, "directory") / "study.yaml").is_file()
