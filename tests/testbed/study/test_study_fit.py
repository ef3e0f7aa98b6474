"""How well measured delays are met: samples whose distribution is known, and what must be said of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from testbed.cli.main import app
from testbed.engines.sim import SimEngine
from testbed.scenario import compile_plan, parse
from testbed.scenario.model import MeasuredDelays
from testbed.study.fit import Fit, Steps, distance, fit, named_settings


def fitted(directory: Path, values_us: list[float], frames: int = 0, **keys: object) -> Fit:
    (directory / "d.csv").write_text("delay_us\n" + "".join(f"{value:.3f}\n" for value in values_us))
    engines = [SimEngine()] if frames else []
    return fit(MeasuredDelays(file="d.csv", **keys), directory, engines, frames, seed=1)


def normal(n: int) -> list[float]:
    draw = random.Random(11)
    return [draw.gauss(100, 8) for _ in range(n)]


def long_tailed(n: int) -> list[float]:
    draw = random.Random(12)
    return [50 + draw.expovariate(1 / 20) for _ in range(n)]


def test_the_distance_is_that_of_kolmogorov_and_smirnov() -> None:
    one, other = normal(300), [value + 2 for value in normal(500)[300:]]
    told = distance(Steps.of_samples(one), Steps.of_samples(other))
    assert told == pytest.approx(stats.ks_2samp(one, other).statistic)


def test_delays_less_than_a_grain_apart_are_the_same() -> None:
    one, other = Steps.of_samples([10.0, 20.0, 30.0]), Steps.of_samples([11.0, 19.0, 30.0])
    assert distance(one, other) == pytest.approx(1 / 3)
    assert distance(one, other, grain_ns=1.5) == 0
    assert distance(one, Steps.of_samples([10.0, 20.0, 90.0]), grain_ns=1.5) == pytest.approx(1 / 3)


def test_a_normal_distribution_is_met_and_has_a_name(tmp_path: Path) -> None:
    found = fitted(tmp_path, normal(2000))
    assert found.is_met
    assert found.ks < 0.001
    assert found.band == pytest.approx(np.sqrt(np.log(2 / 0.05) / 4000))
    assert found.simpler == "normal"
    assert found.named["uniform"] > found.band
    assert found.law_mean_ns == pytest.approx(found.mean_ns, abs=10)
    assert named_settings("normal", found).startswith(f"{{delay: {round(found.mean_ns)}ns, jitter: ")


def test_a_named_distribution_that_is_suggested_gives_these_delays(tmp_path: Path) -> None:
    """A uniform one's jitter is half its width, not its deviation."""
    draw = random.Random(13)
    found = fitted(tmp_path, [draw.uniform(40, 80) for _ in range(3000)])
    assert found.simpler == "uniform"
    text = f"name: s\ntopology: {{kind: pair}}\nlinks: {{default: {named_settings('uniform', found)}}}\n"
    impairment = compile_plan(parse(text)).fabric.links[0].ab
    assert impairment.delay_ns == pytest.approx(60_000, abs=600)
    assert impairment.jitter_ns == pytest.approx(20_000, abs=600)


def test_what_is_lost_in_the_tail_is_counted(tmp_path: Path) -> None:
    values = long_tailed(4000)
    found = fitted(tmp_path, values)
    longer = sum(value * 1000 > found.law_greatest_ns + found.grain_ns for value in values) / len(values)
    assert found.beyond_above == longer > 0.001
    assert found.beyond == found.beyond_above
    assert found.law_greatest_ns == pytest.approx(found.mean_ns + 4 * found.deviation_ns, rel=0.001)
    assert longer <= found.ks <= longer + 0.001  # what piles up at the end, and nothing else
    assert found.simpler is None


def test_values_of_a_coarse_clock_are_met_as_they_are(tmp_path: Path) -> None:
    """A whole share of samples stands at each value; that the table's steps are a nanosecond off is no distance."""
    found = fitted(tmp_path, [float(round(value)) for value in normal(2000)])
    assert found.ks < 0.02
    assert found.is_met


def test_what_the_simulator_draws_is_what_the_table_says(tmp_path: Path) -> None:
    (drawn,) = fitted(tmp_path, long_tailed(500), frames=2000).drawn
    assert (drawn.engine, drawn.frames) == ("sim", 2000)
    assert drawn.ks < drawn.band == pytest.approx(np.sqrt(np.log(2 / 0.05) / 4000))
    assert drawn.quantiles_ns[4] == pytest.approx(50_000 + 20_000 * np.log(2), rel=0.03)


def test_draws_from_another_distribution_would_be_seen(tmp_path: Path) -> None:
    found = fitted(tmp_path, long_tailed(500), frames=2000)
    shifted = Steps.of_samples([value + 2000 for value in found.curves["sim"].at])
    assert distance(shifted, found.curves["table"]) > found.drawn[0].band


def test_the_verb_tells_it_draws_it_and_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answers = (f"icmp_seq={number} ttl=64 time={value / 500:.4f} ms\n" for number, value in enumerate(normal(200)))
    Path("p.txt").write_text("".join(answers))
    said = CliRunner().invoke(app, ["fit", "p.txt", "--frames", "100", "-o", "fit.svg"])
    assert said.exit_code == 0, said.stderr
    assert "200 round trips of ping; halved, as if both ways took the same" in said.stdout
    assert "sim: 100 frames drawn" in said.stdout
    assert Path("fit.svg").read_text().startswith("<svg")
    suggested = said.stdout[said.stdout.index("links:") :].split("\n#")[0]
    scenario = parse(f"name: s\ntopology: {{kind: pair}}\n{suggested}", "s.yaml", tmp_path)
    told = json.loads(CliRunner().invoke(app, ["fit", "p.txt", "--frames", "100", "--json"]).stdout)
    assert compile_plan(scenario).fabric.links[0].ab.delay_ns == round(told["mean_ns"])
    assert told["is_met"]
