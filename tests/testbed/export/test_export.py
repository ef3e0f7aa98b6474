"""Fabrics written for other tools: read back by their grammars, and built from their text alone."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo
from needs import MOOT, lacking
from typer.testing import CliRunner

from testbed.cli.main import app
from testbed.engines.base import EngineUnavailable
from testbed.engines.live.isolation import check_isolation, isolated_popen
from testbed.export import TOOLS
from testbed.export.mininet import expressed
from testbed.scenario import compile_plan, parse
from testbed.topologies.build import KINDS, fabric, make_fabric
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment

SCHEMA = os.environ.get("CONTAINERLAB_SCHEMA", "")
HARSH = Impairment(
    delay_ns=20_000, jitter_ns=2_000, distribution="normal", correlation=0.25, loss=0.01, duplicate=0.02,
    corrupt=0.03, rate_bps=10_000_000_000, order="fifo", limit=99, seed=7,
)  # fmt: skip


def hurt(built: Fabric, there: Impairment, back: Impairment = CLEAN) -> Fabric:
    return replace(built, links=tuple(replace(link, ab=there, ba=back) for link in built.links))


def ends(built: Fabric) -> set[frozenset[str]]:
    return {frozenset((link.a.node, link.b.node)) for link in built.links}


# -- containerlab ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_containerlab_file_is_read_back_as_the_same_fabric(kind, tmp_path):
    built = make_fabric(kind)
    ((name, text),) = TOOLS["containerlab"](built, kind).files.items()
    (tmp_path / name).write_text(text)
    scenario = parse(f"name: x\ntopology: {{kind: from_file, file: {name}}}", "s.yaml", tmp_path)
    back = compile_plan(scenario).fabric
    assert (back.hosts, back.switches, ends(back)) == (built.hosts, built.switches, ends(built))
    assert {node: replace(place, at=()) for node, place in built.places.items()} == back.places


@pytest.mark.parametrize("kind", KINDS)
def test_a_containerlab_file_keeps_to_its_grammar(kind):
    """What the published schema says of the parts that are written, by hand; the test below takes the schema itself."""
    for text in TOOLS["containerlab"](hurt(make_fabric(kind), HARSH), "a lab/1").files.values():
        lab = yaml.safe_load(text)
        assert set(lab) == {"name", "topology"}
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", lab["name"])
        topology = lab["topology"]
        assert set(topology) == {"kinds", "nodes", "links"}
        for name, node in topology["nodes"].items():
            assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", name)
            assert set(node) <= {"kind", "labels", "exec"}
            assert node["kind"] == "linux"
            assert all(isinstance(line, str) and line for line in node.get("exec", ["-"]))
            assert all(isinstance(value, str) for value in node["labels"].values())
        wired = [end for link in topology["links"] for end in link["endpoints"]]
        assert len(set(wired)) == len(wired) == 2 * len(topology["links"])
        assert all(re.fullmatch(r"[^\s:]+:eth[1-9][0-9]*", end) for end in wired), "eth0 is containerlab's own"


@pytest.mark.parametrize("kind", KINDS)
def test_a_containerlab_file_passes_the_published_schema(kind):
    if not SCHEMA:
        lacking(MOOT, "set CONTAINERLAB_SCHEMA to a copy of schemas/clab.schema.json of containerlab's repository")
    try:
        import jsonschema
    except ImportError:
        lacking(MOOT, "pip install jsonschema, which only this test needs")
    # Its patterns are ECMAScript's; \\p{N}\\p{L} are letters and digits there, which Python calls \\w.
    schema = json.loads(Path(SCHEMA).read_text().replace(r"\\p{N}\\p{L}", r"\\w"))
    judge = jsonschema.Draft7Validator(schema)
    for impaired in (make_fabric(kind), hurt(make_fabric(kind), HARSH)):
        for text in TOOLS["containerlab"](impaired, kind).files.values():
            lab = yaml.safe_load(text)
            judge.validate(lab)
            lab["topology"]["nodes"]["host1"]["kind"] = "toaster"
            assert not judge.is_valid(lab), "it would have been told"


def test_what_links_do_stands_in_the_commands_of_their_ends():
    (text,) = TOOLS["containerlab"](hurt(make_fabric("pair"), HARSH, Impairment(delay_ns=5)), "x").files.values()
    nodes = yaml.safe_load(text)["topology"]["nodes"]
    (tc,) = [line for line in nodes["host1"]["exec"] if line.startswith("tc")]
    assert tc == (
        "tc qdisc replace dev eth1 root netem limit 99 delay 20000ns 2000ns 25% distribution normal loss 1% "
        "duplicate 2% corrupt 3% rate 10000000000bit 24"
    )
    assert "tc qdisc replace dev eth1 root netem limit 100000 delay 5ns" in nodes["host2"]["exec"]


# -- Kathara ---------------------------------------------------------------------------------------------------------

ASSIGNMENT = re.compile(r"^(?P<key>[a-z0-9_]{1,30})\[(?P<arg>\w+)\]=([\"\'])(?P<value>[^\"\']+)(\3)$")
METADATA = ("LAB_NAME", "LAB_DESCRIPTION", "LAB_VERSION", "LAB_AUTHOR", "LAB_EMAIL", "LAB_WEB")


def lab_conf(text: str) -> tuple[dict[str, dict[int, str]], dict[str, dict[str, str]]]:
    """Device -> its interfaces' collision domains, and its options; as Kathara's parser reads a line."""
    wired: dict[str, dict[int, str]] = {}
    options: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#") or line.startswith(tuple(f"{name}=" for name in METADATA)):
            continue
        found = ASSIGNMENT.match(line)
        assert found, line
        assert found["key"] not in ("shared", "_test")
        if found["arg"].isdecimal():
            assert re.fullmatch(r"\w+", found["value"])
            wired.setdefault(found["key"], {})[int(found["arg"])] = found["value"]
        else:
            options.setdefault(found["key"], {})[found["arg"]] = found["value"]
    return wired, options


@pytest.mark.parametrize("kind", KINDS)
def test_a_lab_of_katharas_has_a_collision_domain_per_link(kind):
    built = hurt(make_fabric(kind), HARSH)
    files = TOOLS["kathara"](built, kind).files
    wired, options = lab_conf(files["lab.conf"])
    assert set(options) == {*built.hosts, *built.switches}
    assert set(files) == {"lab.conf", *(f"{node}.startup" for node in wired)}
    on: dict[str, list[str]] = {}
    for device, interfaces in wired.items():
        assert sorted(interfaces) == list(range(len(interfaces))), "Kathara wants them without gaps, from 0"
        for domain in interfaces.values():
            on.setdefault(domain, []).append(device)
    assert all(len(devices) == 2 for devices in on.values())
    assert {frozenset(devices) for devices in on.values()} == ends(built)
    assert len(on) == len(built.links)


def test_names_that_kathara_does_not_take_are_changed_and_that_is_told():
    topo = Topo()
    for name in ("Leaf-1", "leaf_1", "shared"):
        (topo.addHost if name == "shared" else topo.addSwitch)(name)
    topo.addHost("h1")
    for one, other in (("Leaf-1", "leaf_1"), ("Leaf-1", "shared"), ("leaf_1", "h1")):
        topo.addLink(one, other)
    exported = TOOLS["kathara"](fabric(topo), "x")
    assert {"Leaf-1 is called leaf_1", "leaf_1 is called leaf_1_2", "shared is called shared_2"} <= set(
        exported.remarks
    )
    assert set(lab_conf(exported.files["lab.conf"])[1]) == {"leaf_1", "leaf_1_2", "shared_2", "h1"}
    assert "# shared is called shared_2\n" in exported.files["lab.conf"]


# -- Mininet ---------------------------------------------------------------------------------------------------------


def script_of(built: Fabric, tmp_path: Path) -> dict[str, object]:
    """What the script defines, run by a Python that knows Mininet (its command line is not opened)."""
    ((name, text),) = TOOLS["mininet"](built, "a fabric").files.items()
    assert name == "a_fabric.py"
    assert not re.search(r"import (topologies|testbed|nodes)|from (topologies|testbed|nodes)", text)
    (tmp_path / name).write_text(text)
    return runpy.run_path(str(tmp_path / name))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mininet_script_builds_the_same_fabric_to_every_address_and_port(kind, tmp_path):
    mild = Impairment(delay_ns=20_000, jitter_ns=2_000, loss=0.01, rate_bps=100_000_000, limit=500)
    built = hurt(make_fabric(kind), mild, Impairment(delay_ns=7))
    defined = script_of(built, tmp_path)
    topo = defined["Fabric"]()
    topo.joins_everybody = getattr(KINDS[kind].topo, "joins_everybody", True)
    back = fabric(topo, built.name)
    assert (back.hosts, back.switches, back.links) == (built.hosts, built.switches, built.links)
    assert back.forwarding == built.forwarding == (defined["FORWARDING"] or {})
    assert issubclass(defined["StaticBridge"], LinuxBridge)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Impairment,
        delay_ns=st.integers(0, 10**9),
        jitter_ns=st.integers(0, 10**6),
        loss=st.sampled_from([0.0, 0.001, 0.07, 1.0]),
        rate_bps=st.sampled_from([0, 10**6, 10**9, 10**10]),
        limit=st.integers(0, 10**6),
        distribution=st.sampled_from(["uniform", "normal"]),
        order=st.sampled_from(["free", "fifo"]),
        duplicate=st.sampled_from([0.0, 0.5]),
    )
)
def test_what_mininet_can_say_of_a_link_comes_back_and_the_rest_is_told(tmp_path_factory, way):
    built = hurt(make_fabric("pair"), way)
    exported = TOOLS["mininet"](built, "x")
    (text,) = exported.files.values()
    (link,) = fabric(script_of(built, tmp_path_factory.mktemp("mn"))["Fabric"]()).links
    assert link.ab == expressed(way) or (way.is_clean and link.ab == CLEAN)
    told = " ".join(exported.remarks)
    assert (way.distribution == "normal" and way.jitter_ns > 0) == ("normal is left out" in told)
    assert (way.rate_bps > 10**9) == (f"{way.rate_bps} bit/s is left out" in told)
    assert (way.duplicate > 0) == ("does not know duplicate" in told)
    assert (way.order == "fifo") == ("does not know order" in told)
    assert all(remark in text for remark in exported.remarks), "in the script's own text as well"


def test_every_field_that_some_tool_can_not_express_is_told():
    burst = Impairment(burst_loss=GilbertElliott(0.1, 0.5), jitter_ns=9, delay_ns=9, distribution="pareto")
    told = {tool: " ".join(export(hurt(make_fabric("pair"), burst), "x").remarks) for tool, export in TOOLS.items()}
    assert "does not know burst_loss" in told["mininet"]
    assert "pareto is left out" in told["mininet"]
    for tool in ("containerlab", "kathara"):
        assert "iproute2's own tables" in told[tool]
        assert "seeds of the links are left out" in told[tool]
    table = replace(burst, distribution="table", table=(-8192, 8192))
    assert "measured delay tables" in " ".join(TOOLS["kathara"](hurt(make_fabric("pair"), table), "x").remarks)


# -- built from their text alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["containerlab", "kathara"])
def test_the_commands_of_a_lab_make_a_fabric_that_forwards_over_loops_without_a_storm(tool, tmp_path):
    """Two spines are a loop; a bridge that learned and flooded would melt down here."""
    try:
        check_isolation()
    except EngineUnavailable as error:
        lacking("namespaces", str(error))
    for file, text in TOOLS[tool](make_fabric("leaf_spine", {"leaves": 2}), "lab").files.items():
        (tmp_path / file).write_text(text)
    script = Path(__file__).with_name("export_in_namespaces.py")
    command = [sys.executable, str(script), str(tmp_path), "host1", "host4", "10.0.0.4"]
    done = isolated_popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors.decode()
    assert output.decode().endswith("host1 reaches host4\n")


# -- the verb --------------------------------------------------------------------------------------------------------


def test_the_verb_writes_files_tells_what_is_left_out_and_touches_nothing_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", "kathara", "ring", "--set", "switches=3"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "ring-kathara/lab.conf and 6 more files\n"
    assert "testbed: kathara: kathara/base stands for any image with ip, bridge and tc\n" in done.stderr
    again = CliRunner().invoke(app, ["export", "kathara", "ring", "--set", "switches=3"])
    assert again.exit_code == 2
    assert "ring-kathara/lab.conf: is there already; remove it, or name another directory with --out" in again.stderr
    listed = CliRunner().invoke(app, ["export", "mininet", "pair", "-o", "here", "--json"])
    assert json.loads(listed.stdout) == {"tool": "mininet", "files": ["here/pair.py"], "remarks": []}


def test_a_picture_is_written_to_a_file(tmp_path):
    done = CliRunner().invoke(app, ["topo", "draw", "torus", "-f", "svg", "-o", str(tmp_path / "torus.svg")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "torus.svg").read_text().startswith("<svg ")
