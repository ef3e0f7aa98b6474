"""What is said of every key of a scenario or study (to editors, by the JSON Schemas; to readers, by the reference) is
true: each has a meaning and an example, each example loads where it belongs, and what ships fits the schemas."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from testbed import plugins
from testbed.nodes.registry import engine_names, service_names
from testbed.pcapng import Packets, Wires, write_packets
from testbed.scenario import ScenarioError, from_data, json_schema
from testbed.scenario.document import Document, read_document
from testbed.scenario.keys import Key, Place, keys, places
from testbed.scenario.model import Written
from testbed.scenario.parameters import mix_model, parameters_model
from testbed.study.document import StudyDocument, study_from, study_schema

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS, STUDIES = sorted((ROOT / "scenarios").glob("*.yaml")), sorted((ROOT / "studies").glob("*.yaml"))
SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {"scenario": json_schema, "study": study_schema}
EVERY_KEY = [
    pytest.param(place, key, id=f"{whole.__name__}:{place.path}.{key.name}")
    for whole in (Written, StudyDocument)
    for place in places(whole)
    for key in keys(place.part)
]
SENDER, RECEIVER = "host1-eth0", "host2-eth0"
MINE = """
from mininet.topo import Topo

class Mine(Topo):
    def build(self, size=4):
        switch = self.addSwitch("s1")
        for number in range(size):
            self.addLink(self.addHost(f"host{number + 1}"), switch)

def rack_power(order, fabric):
    return ["at 1ms node_kill host1"]
"""
BASE = {
    "name": "base",
    "topology": {"kind": "star", "hosts": 4},
    "protocol": {"consensus": "oae", "f": 1, "window": "1ms", "depth": 4, "participants": ["host1", "host2", "host3"]},
    "service": "kv",
    "clients": {"hosts": ["host4"], "operations": 10},
}


def sightings(interfaces: list[str], delays_us: list[int]) -> Packets:
    """A frame each millisecond, as these interfaces see it, the receiver so much later."""
    count, places = len(delays_us), range(len(interfaces))
    sent_ns = np.arange(count) * 1_000_000
    seen = {SENDER: sent_ns, RECEIVER: sent_ns + 1000 * np.array(delays_us)}
    return Packets(
        np.repeat(np.array(places, dtype=np.int32), count),
        np.concatenate([seen[name] for name in interfaces]),
        np.concatenate([np.full(count, name == SENDER) for name in interfaces]),
        np.concatenate([np.arange(count) for _ in places]),
        Wires.of([bytes(14) + number.to_bytes(4, "big") for number in range(count)]),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the files stand that examples name, and where Python finds the package that brings ``comb``."""
    tmp_path = tmp_path_factory.mktemp("examples")
    (tmp_path / "studies").mkdir()
    (tmp_path / "scenarios").mkdir()
    for place in (tmp_path, tmp_path / "scenarios"):
        (place / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    shutil.copy(ROOT / "examples" / "own_protocol" / "mine.py", tmp_path / "dictator.py")
    (tmp_path / "mine.adj").write_text("s1 host1 host2\ns2 host3 host4 s1\n", encoding="utf-8")
    (tmp_path / "switches.adj").write_text("s1 s2\ns2 s3\ns3 s1\n", encoding="utf-8")
    delays = [100 + number % 17 for number in range(200)]
    (tmp_path / "rtt.csv").write_text("rtt_us\n" + "\n".join(map(str, delays)), encoding="utf-8")
    for name, interfaces in (("sent", [SENDER]), ("received", [RECEIVER]), ("run", [SENDER, RECEIVER])):
        write_packets(tmp_path / f"{name}.pcapng", interfaces, sightings(interfaces, delays))
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{plugins.TOPOLOGIES}]\ncomb = mine:Mine\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(tmp_path))
        plugins.installed.cache_clear()
        yield tmp_path
    plugins.installed.cache_clear()
    sys.modules.pop("mine", None)


def load(place: Place, key: Key, folder: Path) -> None:
    """The document with the key's example in its place, as it would be read from a file in ``folder``."""
    whole = place.steps[0].part if place.steps else place.part
    data = place.document(key)
    if whole is Written:
        from_data(data, base_dir=folder)
    else:
        home = folder / "studies"
        study_from(Document(data, "study", {}), home if key.name == "paths_from" else folder)


@pytest.mark.parametrize(("place", "key"), EVERY_KEY)
def test_every_key_has_a_meaning_and_an_example_that_loads(place: Place, key: Key, folder: Path) -> None:
    assert key.meaning.endswith("."), "a sentence says what it means"
    assert key.example is not None
    assert key.place[key.name] == key.example
    load(place, key, folder)


@pytest.mark.parametrize("model", [*map(parameters_model, engine_names()), *map(mix_model, service_names())])
def test_every_setting_of_an_engine_or_service_has_a_meaning_and_an_example(model: type[BaseModel]) -> None:
    for place in places(model):
        for key in keys(place.part):
            assert key.meaning.endswith(".")
            model.model_validate(place.document(key))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schemas_are_the_models(name: str) -> None:
    published = json.loads((ROOT / "docs" / f"{name}.schema.json").read_text(encoding="utf-8"))
    command = "testbed schema" + (" study" if name == "study" else "")
    assert published == SCHEMAS[name](), f"write it anew: {command} > docs/{name}.schema.json"
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_of_a_schema_is_described(name: str) -> None:
    schema = SCHEMAS[name]()
    parts = {f"#/$defs/{part}": below for part, below in schema["$defs"].items()}
    properties = {
        f"{part}.{key}": {**parts.get(below.get("$ref"), {}), **below}  # what the part says as well is said there alone
        for part, whole in {"": schema, **parts}.items()
        for key, below in whole.get("properties", {}).items()
    }
    assert [key for key, below in properties.items() if "description" not in below] == []


@pytest.mark.parametrize("document", [*SCENARIOS, *STUDIES], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_ships_names_its_schema_and_fits_it(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    name = "scenario" if document in SCENARIOS else "study"
    first = text.splitlines()[0]
    assert first == f"# yaml-language-server: $schema=../docs/{name}.schema.json"
    assert (document.parent / first.partition("=")[2]).is_file()
    validator = Draft202012Validator(SCHEMAS[name]())
    assert [error.message for error in validator.iter_errors(read_document(text, document.name).data)] == []


def test_the_schema_accuses_what_the_loader_refuses() -> None:
    """It is no rubber stamp: a key misspelt, a time without a unit, an engine's setting that it has not."""
    validator = Draft202012Validator(json_schema())
    good = {"name": "x", "topology": {"kind": "star"}}
    assert validator.is_valid(good)
    for wrong in (
        {"faulst": []},
        {"epsilon": 50},
        {"protocol": {"consensus": "raft", "parameters": {"patiense": 3}}},
        {"protocol": {"consensus": "raft", "parameters": {"changes": [{"at": "5ms"}]}}},
    ):
        assert not validator.is_valid({**good, **wrong}), wrong


def test_a_document_may_name_its_schema_by_a_key_and_no_other_key_is_let_through() -> None:
    named = {"$schema": "../docs/scenario.schema.json", "name": "x", "topology": {"kind": "pair"}}
    assert from_data(named).name == "x"
    with pytest.raises(ScenarioError, match=r"unknown key '\$schem'; did you mean '\$schema'\?"):
        from_data({**named, "$schem": "x"})
    study = {**yaml.safe_load((ROOT / "studies" / "depth.yaml").read_text(encoding="utf-8")), "$schema": "x"}
    assert study_from(Document(study, "study", {}), ROOT / "studies").document.name == "depth"
