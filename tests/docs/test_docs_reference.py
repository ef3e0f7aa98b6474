"""The reference pages, made from the code, and the site that holds them: nothing is missing in them, what they show is
tried, and the site is built without a warning."""

from __future__ import annotations

import inspect
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from needs import needs
from typer.testing import CliRunner

import testbed
from testbed.api.tables import MEANINGS
from testbed.cli.main import app
from testbed.engines.sim import SimEngine
from testbed.faults import DEEDS, VERBS
from testbed.nodes.core.meanings import EVENTS, FIRST, HOPS
from testbed.nodes.core.record import KINDS, Struck, schema
from testbed.nodes.registry import engine_names, engine_specs, service_names
from testbed.plan import VERBS as ATOMIC
from testbed.reference import PAGES
from testbed.reference.api import own
from testbed.reference.commands import examples, names
from testbed.reference.documents import heading_of
from testbed.reference.interface import tables_of_runs
from testbed.reference.surroundings import ENVIRONMENT, INTERNAL
from testbed.reference.tables import events_of
from testbed.runs import FILES, events_table, hops_table
from testbed.scenario import compile_plan, from_data
from testbed.scenario.document import read_document
from testbed.scenario.keys import keys, places
from testbed.scenario.model import TOPOLOGY_MODELS, Written
from testbed.study.document import StudyDocument

ROOT = Path(__file__).resolve().parents[2]
SITE = needs("docs", find_spec("material"), "MkDocs Material is not here (make docs)")
FABRIC = {"kind": "leaf_spine", "spines": 2, "leaves": 2, "hosts_per_leaf": 2}
IN_FORCE = {  # what has to stand before an order that ends something
    "nic_up": "nic_down", "nic_unmute": "nic_mute", "nic_hear": "nic_deaf", "heal": "partition", "unimpair": "jitter",
    "node_resume": "node_pause", "node_quick": "node_slow", "disk_free": "disk_full", "link_up": "link_down",
    "switch_restart": "switch_kill", "reroute": "switch_kill",
}  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: page() for name, page in PAGES.items()}


def headings(page: str) -> set[str]:
    """Those in backticks."""
    return set(re.findall(r"^##+ `([^`]+)`$", page, re.MULTILINE))


@pytest.mark.parametrize(("name", "whole"), [("scenario", Written), ("study", StudyDocument)])
def test_every_key_has_its_row(pages: dict[str, str], name: str, whole: type) -> None:
    page = pages[f"reference/{name}.md"]
    for place in places(whole):
        if place.part in TOPOLOGY_MODELS.values():
            continue
        assert not place.path or f"## {heading_of(place.part, place.path)}\n" in page
        for key in keys(place.part):
            assert f"| `{key.name}` |" in page


def test_every_engine_service_topology_and_verb_has_its_heading(pages: dict[str, str]) -> None:
    assert headings(pages["reference/engines.md"]) == set(engine_names())
    assert headings(pages["reference/services.md"]) == set(service_names())
    assert headings(pages["reference/topologies.md"]) == set(TOPOLOGY_MODELS)
    assert headings(pages["reference/faults.md"]) == set(VERBS)
    assert headings(pages["reference/commands.md"]) == set(names())


def test_no_engine_is_said_to_read_in_the_same_way_twice(pages: dict[str, str]) -> None:
    told = re.findall(r"^\| can serve \| yes, reads: (.*) \|$", pages["reference/engines.md"], re.MULTILINE)
    ways = [reads.split(", ") for reads in told]
    assert len(ways) == sum(spec.can_serve for spec in engine_specs())
    assert all(len(set(each)) == len(each) for each in ways), ways


@pytest.mark.parametrize("name", ["scenario", "study", "topologies"])
def test_examples_shown_are_yaml(pages: dict[str, str], name: str) -> None:
    """That each loads in its place is tried in test_scenario_schema.py, of the same data."""
    for line in pages[f"reference/{name}.md"].splitlines():
        found = re.search(r"Example: `([^`]*)` \|$", line)
        assert bool(found) == line.startswith("| `")
        if found:
            assert isinstance(read_document(found[1].replace("\\|", "|"), name).data, dict), line


def test_the_python_interface_is_there_whole(pages: dict[str, str]) -> None:
    page = pages["reference/api.md"]
    for name in testbed.__all__:
        assert f"## `testbed.{name}`" in page
        thing = getattr(testbed, name)
        for key in own(thing) if inspect.isclass(thing) and thing.__module__.startswith("testbed.api") else ():
            assert f"### `{name}.{key}`" in page or f"| `{key}` |" in page
    for columns in MEANINGS.values():
        assert all(f"| `{column}` |" in page for column in columns)


def test_each_atomic_fault_says_what_it_does_in_each_engine() -> None:
    assert set(DEEDS) == set(ATOMIC) >= {verb.atomic for verb in VERBS.values()}


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_the_example_of_each_fault_strikes(verb) -> None:
    """On the simulator, on the fabric that the example names; what it ends is in force by then."""
    before = IN_FORCE.get(verb.name)
    first = [VERBS[before].example.partition(" for ")[0].partition(" reroute ")[0]] if before else []
    scenario = from_data(
        {"name": "example", "topology": FABRIC, "faults": [*first, verb.example], "protocol": {"rounds": 60}}
    )
    plan = compile_plan(scenario)
    struck = {what.verb for _, _, what in SimEngine().run(plan).events.of_kind(Struck)}
    assert verb.atomic in struck
    assert not verb.undo or verb.undo in struck


def test_the_columns_of_events_and_hops_are_those_that_a_run_writes() -> None:
    assert list(EVENTS) == [schema(kind).name for kind in KINDS]
    for kind in KINDS:
        assert events_of(kind).names == [*FIRST, *EVENTS[schema(kind).name][1]]
    plan = compile_plan(from_data({"name": "x", "topology": {"kind": "pair"}, "protocol": {"rounds": 3}}))
    history = SimEngine().run(plan)
    assert hops_table(history.hops).column_names == list(HOPS)
    written = [kind for kind in KINDS if history.events.count(kind)]
    assert len(written) > 5
    for kind in written:
        assert events_table(history.events.table(kind)).schema == events_of(kind), "of the same types, too"


def test_what_a_run_leaves_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("name: x\ntopology: {kind: pair}\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["run", "x.yaml", "--out", "kept"]).exit_code == 0
    left = {path.name + "/" * path.is_dir() for path in (tmp_path / "kept").iterdir()}
    assert left <= set(FILES)
    assert set(FILES) - left == {"frames/"}


def test_every_verb_of_the_command_line_shows_a_call_and_all_its_options(pages: dict[str, str]) -> None:
    assert set(names()) <= set(examples()), "show a call of it in README.md or docs/, on a line of a block"
    page = pages["reference/commands.md"]
    for name in names():
        told = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "200"}).stdout
        section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", told)) - {"--help"}
        assert options <= set(re.findall(r"--[a-z-]+", section))
        words = examples()[name].split()
        assert words[: len(name.split())] == name.split()
        assert {word for word in words if word.startswith("--")} <= options


def test_all_that_import_testbed_gives_is_told_of_with_the_columns_of_its_tables(pages: dict[str, str]) -> None:
    page = pages["reference/python.md"]
    assert {f"testbed.{name}" for name in testbed.__all__} < headings(page)
    assert set(tables_of_runs()) >= {"events", "frames", "swaps", "rounds", "breaks", "operations", "fidelity", "hops"}
    told = {heading.removeprefix("run.") for heading in headings(page) if heading.startswith("run.")}
    assert told == set(tables_of_runs())
    run = testbed.run({"name": "small", "topology": {"kind": "pair"}, "protocol": {"rounds": 2}})
    for name in told:
        section = page.partition(f"### `run.{name}`\n")[2].partition("\n#")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == getattr(run, name).columns
        assert not re.search(r"\|  \|$", section, re.MULTILINE), "each column says what it means"


def test_every_variable_that_the_code_looks_at_is_named() -> None:
    sources = [path for folder in ("testbed", "nodes") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r'"(OAE_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    own = {name for name in ENVIRONMENT if name.startswith("OAE_")}
    assert used - INTERNAL <= own
    text = "".join(path.read_text(encoding="utf-8") for path in sources if "reference" not in path.parts)
    assert [name for name in (*ENVIRONMENT, *INTERNAL) if name not in text and name != "COLUMNS"] == []


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site is made of, to be spoiled."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


@SITE
@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    from testbed.reference.site import build

    build(tmp_path / "site")  # strict: a warning ends it
    built = {path.relative_to(tmp_path / "site").as_posix(): path for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "reference/scenario.html", "tutorial/two-generals.html", "faults.html"} <= set(built)
    texts = {name: path.read_text(encoding="utf-8") for name, path in built.items()}
    fetched = re.compile(r"<(?:script|img|iframe)[^>]+src=\"?https?:|<link[^>]+stylesheet[^>]+href=\"?https?:")
    assert [name for name, text in texts.items() if fetched.search(text)] == []
    assert "assets/iframe-worker.js" in texts["index.html"]
    assert (tmp_path / "site" / "search" / "search_index.js").stat().st_size > 100_000
    links = [
        (name, target)
        for name, text in texts.items()
        for target in re.findall(r'href="?([^"#?>\s]+)', text)
        if "://" not in target and not target.startswith(("mailto:", "data:", "/")) and name != "404.html"
    ]
    assert len(links) > 1000
    assert [(name, to) for name, to in links if not (built[name].parent / to).exists()] == []


@SITE
@pytest.mark.slow
def test_a_link_that_leads_nowhere_ends_the_build(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mkdocs.exceptions import Abort

    from testbed.reference import site

    with (clone / "docs" / "trust.md").open("a", encoding="utf-8") as page:
        page.write("\n[gone](no-such-page.md)\n")
    monkeypatch.setattr(site, "CLONE", clone)
    with pytest.raises(Abort):
        site.build(tmp_path / "site")
