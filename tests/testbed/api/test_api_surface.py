"""What ``import testbed`` gives: light, documented, silent, and errors that a user can act on."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import testbed
from testbed import api


def printed(code: str) -> str:
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_nothing_of_ours_is_loaded_before_it_is_asked_for() -> None:
    """Agents import the package too, in guests where every import is dear."""
    code = "import sys, testbed; print([name for name in sys.modules if name.startswith('testbed')])"
    assert printed(code) == "['testbed']"


def test_names_are_there_for_completion_before_they_are_loaded() -> None:
    assert printed("import testbed; print(set(testbed.__all__) <= set(dir(testbed)))") == "True"


def test_the_surface_is_the_same_for_readers_and_for_type_checkers() -> None:
    tree = ast.parse(Path(testbed.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in imports for alias in node.names}
    assert imported - {"TYPE_CHECKING", "api"} == set(testbed.__all__) == set(api.__all__)


def test_no_name_of_the_surface_is_that_of_a_module() -> None:
    """Importing the module would put it in the name's place."""
    assert not {module.name for module in pkgutil.iter_modules(testbed.__path__)} & set(testbed.__all__)


@pytest.mark.parametrize("name", testbed.__all__)
def test_all_that_is_public_is_documented(name: str) -> None:
    thing = getattr(testbed, name)
    assert inspect.getdoc(thing)
    members = inspect.getmembers(thing) if inspect.isclass(thing) and thing.__module__.startswith("testbed.api") else []
    bare = [key for key, member in members if not key.startswith("_") and not inspect.getdoc(member)]
    assert not bare


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ran'"):
        testbed.ran  # noqa: B018
    with pytest.raises(ImportError):
        from testbed import ran  # type: ignore[attr-defined]  # noqa: F401


PAIR = {"name": "two", "topology": {"kind": "pair"}, "protocol": {"window": "60us", "rounds": 2}}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: testbed.run("no-such"), "no-such: there is no such scenario"),
        (lambda: testbed.run(PAIR, engine="warp"), "engine warp: there are sim, vkernel, live"),
        (lambda: testbed.Scenario(**PAIR, topologi={}), "unknown key 'topologi'"),
        (lambda: testbed.Scenario(**PAIR).with_({"protocol.windw": "1us"}), "did you mean 'window'"),
        (lambda: testbed.run(PAIR).events_of("arrived"), "no events are of the kind 'arrived'; there are"),
        (lambda: testbed.run(PAIR).spacetime(round=7), "two: no swap was judged in round 7"),
        (lambda: testbed.run(PAIR).spacetime(link="host1<->host9"), "no swap of host1<->host9 was judged"),
        (lambda: testbed.open_run("nowhere"), "nowhere holds no run"),
        (lambda: testbed.open_study("nowhere"), "this study has not ended"),
        (lambda: testbed.run_study("no-such"), "no-such: there is no such study"),
        (lambda: testbed.catalogue("runes"), "there is no list of 'runes'; there are scenarios"),
        (lambda: testbed.fabric("pair", hosts=3), "pair has no parameter 'hosts'"),
        (lambda: testbed.sweep(PAIR, {"protocol.depth": []}), "protocol.depth: a list of values is wanted"),
        (lambda: testbed.sweep(PAIR, {"protocol.depth": "24"}), "protocol.depth: a list of values is wanted"),
        (lambda: testbed.sweep(PAIR, {"protocol.depth": [2, 2]}), "protocol.depth: each value once"),
        (lambda: testbed.sweep(PAIR, {"protocol.depth": [2]}, runs=0), "runs: 0 are none"),
        (
            lambda: testbed.sweep(PAIR, {"protocol.depth": [2]}, confidence=1.5),
            "confidence lies between 0 and 1",
        ),
        (lambda: testbed.sweep(PAIR, {"protocol.depth": [2]}, runs=1, jobs=0).curve(), "no number is swept"),
        (lambda: testbed.compare(PAIR, "sim", "warp"), "engine warp"),
    ],
)
def test_what_makes_no_sense_is_one_error_in_words(wrong: object, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(testbed.Error) as caught:
        wrong()  # type: ignore[operator]
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_what_is_not_a_runs_directory_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(testbed.Error, match="is not empty and holds no run"):
        testbed.run(PAIR, keep=tmp_path)
    with pytest.raises(testbed.Error, match="is not empty and holds no run"):
        testbed.run(PAIR).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(testbed.Error, match=f"{library} is not installed: pip install '{library}', or take to_arrow"):
        getattr(testbed.catalogue("engines"), f"to_{library}")()
