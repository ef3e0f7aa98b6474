"""The commands: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import call

from testbed.cli.explore import interruptible


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_states_and_depth_are_told() -> None:
    done = call("explore", "two_phase_commit")
    assert done.exit_code == 0
    assert "288 distinct" in done.stdout
    assert "depth 11" in done.stdout


def test_what_held_is_told_in_words() -> None:
    """Who asked what bisynchrony is was told that it held."""
    words = call("explore", "link", "--time", "timely").stdout
    assert "invariants held: bisynchrony, exchange" in words
    assert "bisynchrony: no swap has committed at one end and aborted at the other" in words


def test_what_breaks_is_told_written_and_run_again() -> None:
    done = call("explore", "link", "--time", "timely", "--drops", "1")
    assert done.exit_code == 1
    assert "bisynchrony: the swap of round 0 has committed at n1 and aborted at n0" in done.stdout
    again = call("explore", "--replay", "link.schedule.yaml")
    assert again.exit_code == 1
    assert again.stdout.strip() in done.stdout
    Path("link.schedule.yaml").write_text(Path("link.schedule.yaml").read_text().replace("timer: horizon", "timer: x"))
    refused = call("explore", "--replay", "link.schedule.yaml")
    assert refused.exit_code == 2
    assert "step 7 of the schedule can't happen" in refused.stderr


def test_a_search_that_stops_early_says_what_is_not_known() -> None:
    done = call("explore", "paxos", "--timers", "2", "--states", "500")
    assert done.exit_code == 0
    assert "what lies beyond is not known" in done.stdout
    as_json = json.loads(call("explore", "paxos", "--timers", "2", "--depth", "3", "--json").stdout)
    assert (as_json["end"], as_json["broken"]) == ("depth", None)


def test_a_search_that_stopped_is_kept_and_the_same_command_goes_on_with_it() -> None:
    words = ("explore", "paxos", "--nodes", "2", "--timers", "1", "--resume", "kept")
    stopped = call(*words, "--states", "20")
    assert "what lies beyond is not known" in stopped.stdout
    gone_on, at_once = call(*words), call(*words[:-2])
    assert gone_on.stdout == at_once.stdout
    assert "all of them" in gone_on.stdout


@pytest.fixture
def _interruptible_process() -> Iterator[None]:
    """What tests of other files leave, or who started the tests, may have made it deaf to interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible_process")
def test_ctrl_c_is_remembered_until_the_step_is_done() -> None:
    with interruptible() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_random_schedules_are_shrunk_and_written() -> None:
    done = call("search", "floodset", "--f", "1", "--crashes", "1", "--pitfall", "one_round_short", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert len(found["steps"]) < found["drawn"]
    assert call("explore", "--replay", found["schedule"]).exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explore", "paxos"], "--timers"),
        (["explore", "nothing"], "nothing"),
        (["explore"], "explore needs an engine"),
        (["explore", "link", "--set", "window=3"], "--set window"),
        (["explore", "link", "--time", "later"], "--time later"),
        (["search", "paxos", "--disk", "burnt"], "--disk burnt"),
        (["explore", "--replay", "none.yaml"], "none.yaml"),
    ],
)
def test_bad_input_gets_one_line(words: list[str], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_schedule_of_paxos_is_written_too() -> None:
    """Its messages have steps of a kind of their own, which no file knows."""
    done = call("search", "paxos", "--pitfall", "any_vote", "--schedules", "100", "--seed", "13")
    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert call("explore", "--replay", "paxos.schedule.yaml").stdout.splitlines()[-1].strip().startswith("agreement")
