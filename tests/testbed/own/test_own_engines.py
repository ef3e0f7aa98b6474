"""A protocol of the user's own, from a file: what it is, where it goes, and what is said of what is wrong in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from own_mistakes import AS_READ, AS_RUN, Mistake
from typer.testing import CliRunner, Result

from testbed.cli.main import app
from testbed.nodes.core.own import OwnEngine, OwnEngineError
from testbed.nodes.registry import engine_spec
from testbed.own_engines import Files, own_engine
from testbed.plan import Plan
from testbed.runs import PLAN
from testbed.scenario import compile_plan, load

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_protocol"
DICTATOR = (EXAMPLE / "mine.py").read_text(encoding="utf-8")

ROUNDS = '''
"""The least of what is heard in f + 1 rounds: FloodSet, as a class made of rounds."""
from struct import Struct

from .words import SAID

REGISTER = Struct("!I12x")


class Least:
    """The least of all inputs. It counts rounds."""

    ENGINE = {"most_f": lambda n: n - 1, "indulgent": False}

    def __init__(self, me: int, members: tuple[int, ...], f: int, value: int, *, patient: bool = False) -> None:
        self.least, self.last, self.patient = value, f, patient

    def message(self, round_: int) -> bytes:
        return REGISTER.pack(self.least)

    def deliver(self, round_: int, heard):
        self.least = min(REGISTER.unpack(said)[0] for said in heard.values())
        return self.least if round_ == self.last else None

    def snapshot(self) -> bytes:
        return SAID + REGISTER.pack(self.least)

    def restore(self, snapshot: bytes) -> None:
        (self.least,) = REGISTER.unpack(snapshot[len(SAID):])
'''

SPEC = """
from testbed.nodes.consensus.floodset.spec import SPEC as FLOODSET

SPEC = FLOODSET
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's files, in which the user works."""
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def one_line(result: Result) -> str:
    """What a user is told of something to mend: one line, no traceback."""
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("testbed: error: ")
    return line


# -- what it is, and where it goes -------------------------------------------------------------------------------------


def test_the_example_is_short_and_runs_as_any_engine(here: Path) -> None:
    assert len(DICTATOR.splitlines()) < 100
    ran = typed("run", "scenario.yaml", "--json")
    found = json.loads(ran.stdout)["verdicts"]["consensus"]
    assert (found["instances"], found["decided"], found["disagreements"]) == (20, 5, [])
    assert "Dictator" in typed("explain", "scenario.yaml").stdout


def test_a_run_is_replayed_byte_for_byte_when_the_file_has_gone(here: Path) -> None:
    typed("run", "scenario.yaml", "--out", "run")
    (here / "mine.py").write_text("raise SystemExit('another one')\n", encoding="utf-8")
    assert "the same, byte for byte" in typed("replay", "run").stdout
    (here / "mine.py").unlink()
    assert "the same, byte for byte" in typed("replay", "run").stdout
    assert typed("report", "run").exit_code == 0


def test_the_plan_holds_the_engine_whole(here: Path) -> None:
    plan = compile_plan(load("scenario.yaml"))
    assert isinstance(plan.protocol.consensus, OwnEngine)
    assert plan.protocol.consensus.sources == (("mine", DICTATOR),)
    assert plan.protocol.parameters == {"patience": 2}
    assert Plan.from_json(plan.to_json()) == plan


def test_a_scenario_keeps_to_the_text_that_it_was_read_with(here: Path) -> None:
    """So that a study runs one engine to its end, here and on machines that have no such file."""
    scenario = load("scenario.yaml")
    before = compile_plan(scenario)
    (here / "mine.py").unlink()
    assert compile_plan(scenario.with_override("protocol.window", "200us")) == before


def test_plans_tell_engines_of_one_name_apart(here: Path) -> None:
    """The fingerprint of a trial is made of its plan."""
    before = compile_plan(load("scenario.yaml")).to_json()
    (here / "mine.py").write_text(DICTATOR + "\n# another one\n", encoding="utf-8")
    assert compile_plan(load("scenario.yaml")).to_json() != before


def test_a_class_made_of_rounds_and_a_spec_are_engines_too(here: Path) -> None:
    (here / "least.py").write_text(ROUNDS + SPEC, encoding="utf-8")
    (here / "words.py").write_text("SAID = b'said'\n", encoding="utf-8")
    late = "{delay: 20us, jitter: 15us, distribution: pareto}"
    for name, engine in {"ours": "floodset", "least": "least.py:Least", "spec": "least.py:SPEC"}.items():
        text = (
            f"name: {name}\ntopology: {{kind: star, hosts: 5}}\nlinks: {{default: {late}}}\n"
            f"protocol: {{consensus: {engine}, depth: 4, window: 170us, rounds: 60, f: 2}}\nseed: 11\n"
        )
        (here / f"{name}.yaml").write_text(text, encoding="utf-8")

    def found(*words: str) -> dict[str, object]:
        ran = typed("run", *words, "--json")
        assert ran.exit_code == 0, ran.output
        return dict(json.loads(ran.stdout)["verdicts"]["consensus"])

    in_all = found("ours.yaml", "--set", "protocol.parameters.early_deciding=false")
    assert found("least.yaml") == in_all != found("ours.yaml") == found("spec.yaml")
    plan = Plan.from_json((here / "runs" / "least" / PLAN).read_text())
    assert isinstance(plan.protocol.consensus, OwnEngine)
    assert [name for name, _ in plan.protocol.consensus.sources] == ["least", "words"]


def test_settings_are_the_keyword_arguments(here: Path) -> None:
    spelled = typed("explain", "scenario.yaml", "--set", "protocol.custom.args.patience=5").stdout
    assert "patience 5" in spelled
    wrong = typed("explain", "scenario.yaml", "--set", "protocol.custom.args.patience=soon")
    assert "protocol.custom.args.patience: must be a whole number, not 'soon'" in one_line(wrong)
    unknown = typed("explain", "scenario.yaml", "--set", "protocol.custom.args.patients=5")
    assert "protocol.custom.args.patients: unknown key 'patients'; did you mean 'patience'?" in one_line(unknown)


def test_every_schedule_of_it_is_looked_at(here: Path) -> None:
    sound = typed("explore", "mine.py:Dictator", "--crashes", "1", "--drops", "1", "--timers", "2")
    assert "569 distinct" in sound.stdout
    planted = typed("explore", "mine.py:Dictator", "--pitfall", "impatient", "--timers", "1")
    assert (planted.exit_code, "broken after 1 steps" in planted.stdout) == (1, True)
    assert "agreement: in instance 0" in typed("explore", "--replay", "Dictator.schedule.yaml").stdout
    drawn = typed("search", "mine.py:Dictator", "--pitfall", "impatient", "--schedules", "50", "--seed", "1")
    assert drawn.exit_code == 1
    parted = typed("cap", "--consensus", "mine.py:Dictator", "--json")
    assert json.loads(parted.stdout)[0]["gives_up"].startswith("answers at host3")


# -- what is wrong in it -----------------------------------------------------------------------------------------------


def misread(here: Path, mistake: Mistake) -> None:
    assert DICTATOR.count(mistake.before) == 1, mistake.before
    (here / "mine.py").write_text(DICTATOR.replace(mistake.before, mistake.after), encoding="utf-8")


@pytest.mark.parametrize("mistake", AS_READ.values(), ids=AS_READ)
def test_a_mistake_in_the_file_is_one_line_that_says_where(here: Path, mistake: Mistake) -> None:
    misread(here, mistake)
    assert mistake.told in one_line(typed("explain", "scenario.yaml"))


@pytest.mark.parametrize("mistake", AS_RUN.values(), ids=AS_RUN)
def test_a_mistake_in_a_run_is_one_line_that_says_when_and_where(here: Path, mistake: Mistake) -> None:
    misread(here, mistake)
    assert mistake.told in one_line(typed("run", "scenario.yaml"))


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["raises", "made"])
def test_a_real_kernel_says_the_same(kernel: object, here: Path, name: str) -> None:
    misread(here, AS_RUN[name])
    simulated = one_line(typed("run", "scenario.yaml"))
    assert AS_RUN[name].told in simulated
    assert one_line(typed("run", "scenario.yaml", "--engine", "vkernel")) == simulated


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{file: nothing.py, class: Dictator}", "protocol.custom.file: there is no file 'nothing.py'"),
        ("{file: mine.txt, class: Dictator}", "protocol.custom.file: 'mine.txt' is no Python file"),
        ("{file: mine.py, class: a b}", "protocol.custom.class: 'a b' can be no name"),
        ("{file: mine.py}", "protocol.custom.class: is missing; add it"),
        (
            "{file: mine.py, class: Dictator, clas: 1}",
            "protocol.custom.clas: unknown key 'clas'; did you mean 'class'?",
        ),
        ("{file: mine.py, class: Dictator}\n  consensus: oae", "stands beside consensus"),
        ("{file: mine.py, class: Dictator}\n  rounds: 3", "mine.py:Dictator has no rounds of swaps"),
    ],
)
def test_a_mistake_in_the_scenario_is_one_line_too(here: Path, written: str, told: str) -> None:
    text = (here / "scenario.yaml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "custom:" in line)
    (here / "scenario.yaml").write_text(text.replace(line, f"  custom: {written}"), encoding="utf-8")
    assert told in one_line(typed("explain", "scenario.yaml"))


def test_a_state_that_can_not_be_copied_is_told(here: Path) -> None:
    misread(here, Mistake("self.dictates = self.rank == 0", "self.dictates = self.rank == 0; self.f = lambda: 1", ""))
    assert "a machine's state must be plain data" in one_line(typed("explore", "mine.py:Dictator", "--timers", "1"))


def test_files_that_are_no_python_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "zero.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "long.py").write_bytes(b"#" * 300_000)
    for name, told in (("latin.py", "is not UTF-8"), ("zero.py", "null byte"), ("long.py", "more than such a file")):
        with pytest.raises(OwnEngineError, match=told):
            engine_spec(own_engine(name, "Mine", Files(tmp_path)))
