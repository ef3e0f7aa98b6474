"""Pages as a browser shows them: wide and narrow, light and dark, without a mouse, read aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import AXE, CHROMIUM, look
from needs import needs

from testbed.engines.sim import SimEngine
from testbed.report.listing import Item, Progress, listing_page, progress_page
from testbed.report.pages import Origin, Story, run_page, study_page
from testbed.scenario import compile_plan, parse
from testbed.study.document import load_study
from testbed.study.runner import run_study
from testbed.verdicts import judge

pytestmark = [
    pytest.mark.slow,
    needs("browser", CHROMIUM, "no Chromium here (apt-get install chromium)"),
]
RUN = """
name: crash
topology: {kind: leaf_spine, spines: 2, leaves: 2, hosts_per_leaf: 2}
links: {default: {delay: 5us, jitter: 4us, loss: 2%}}
protocol: {consensus: floodset, depth: 2, window: 70us, rounds: 60, f: 1}
faults:
  - {at: 310us, do: nic_down, on: host1}
  - {when: {node: host2, enters: REFLECTING, round: 30}, do: node_kill}
seed: 2
"""
MANY = """
name: many
topology: {kind: pair}
links: {default: {delay: 10us}}
protocol: {depth: 4, window: 39us, rounds: 30}
seed: 1
"""
MAP = """
name: map
about: Two parameters.
scenario:
  name: pair
  topology: {kind: pair}
  links: {default: {delay: 50us, jitter: 5us}}
  protocol: {consensus: none, depth: 2, window: 110us}
sweep: {parameter: links.default.jitter, values: [4us, 12us, 20us]}
across: {parameter: protocol.window, values: [105us, 110us]}
sim: {batch: 50, rounds: 50}
seed: 3
"""
WIDTHS = (1300, 400)
LOOK = """
const table = document.getElementById("fidelity");
const reach = (one) => one.scrollLeft + one.getBoundingClientRect().right;
const answer = {
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  table: table ? Math.max(...[...table.querySelectorAll("td")].map(reach)) - innerWidth : 0,
  paper: getComputedStyle(document.body).backgroundColor,
  ink: [...document.querySelectorAll("svg.spacetime text")].map((one) => getComputedStyle(one).fill),
  unnamed: [...document.querySelectorAll("svg")].filter((one) => one.getAttribute("role") !== "img").length,
};
if (window.axe) {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  answer.axe = found.violations.map((one) => [one.impact, one.id, one.nodes.map((node) => node.html).slice(0, 3)]);
}
return answer;
"""
STEP = """
const box = document.querySelector(".stepper"), steps = box.querySelectorAll("ol > li").length;
const seen = [];
const now = box.querySelector(".now");
const state = () => seen.push([box.querySelectorAll("svg .later").length, now.textContent.trim()]);
const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
seen.push([box.querySelector(".controls").hidden, box.querySelector("details").open]);
state();
press("ArrowRight"); state();
press("ArrowRight"); state();
press("ArrowLeft"); state();
const forward = box.querySelectorAll("button")[1];
for (let step = 1; step < steps; step += 1) forward.click();
state();
seen.push(forward.disabled);
box.querySelectorAll("button")[2].click(); state();
return seen;
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    plan = compile_plan(parse(RUN))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    assert verdicts.consensus is not None
    assert verdicts.consensus.disagreements
    late = compile_plan(parse(MANY))
    splits = SimEngine().run(late)
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(MAP)
    results = run_study(load_study(folder / "study.yaml"), folder / "out", jobs=0).to_dict()
    origin = Origin("OAE testbed 1.2, 2026-01-02 03:04 UTC", [("plan.json", "the plan")])
    item = Item("a-study", "study", "What it is about.", "goes on", "2026-01-02 03:04:05", True)
    return {
        "run": run_page(plan, history, verdicts, ["testbed replay x"], Story("A story.", "splits 1", ["no"]), origin),
        "many": run_page(late, splits, judge(late, splits), ["testbed replay x"]),  # with charts
        "study": study_page(results, ["testbed study x"], (), origin),
        "list": listing_page("runs", [item, item._replace(name="crash", kind="run", state="ended")]),
        "progress": progress_page(item, [Progress("deep", "sim", 2, 6, 40, "3 of 900", "–", 1.5)]),
    }


def looked_at(pages: dict[str, str], folder: Path, dark: bool, axe: bool) -> dict[str, Any]:
    shown = {f"{name}-{width}": (text, width) for name, text in pages.items() for width in WIDTHS}
    return look(shown, LOOK, folder, dark, axe)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_fit_and_keep_nobody_out(pages: dict[str, str], tmp_path: Path, dark: bool) -> None:
    found = looked_at(pages, tmp_path, dark, AXE.is_file())
    assert len(found) == len(pages) * len(WIDTHS)
    for name, seen in found.items():
        assert seen["wide"] <= 0, f"{name}: the page scrolls sideways"
        assert seen["table"] <= 0, f"{name}: the fidelity table is cut off"
        assert seen["unnamed"] == 0, f"{name}: a picture that can't be read aloud"
        assert seen["paper"] == ("rgb(21, 24, 29)" if dark else "rgb(255, 255, 255)")
        shades = [sum(map(int, ink[4:-1].split(","))) for ink in seen["ink"]]
        assert all(shade > 380 if dark else shade < 380 for shade in shades), f"{name}: words that can't be seen"
        wrong = [entry for entry in seen.get("axe", ()) if entry[0] in ("serious", "critical")]
        assert not wrong, f"{name}: {wrong}"


@needs("axe", AXE.is_file(), "axe-core is not here (make browser)")
def test_axe_sees_what_is_wrong(tmp_path: Path) -> None:
    page = '<!doctype html><html lang="en"><title>x</title><main><h1>x</h1><button></button></main></html>'
    found = look({"page": (page, 800)}, LOOK, tmp_path, axe=True)
    assert [entry[:2] for entry in found["page"]["axe"]] == [["critical", "button-name"]]


def test_a_break_is_stepped_through_forward_and_back(pages: dict[str, str], tmp_path: Path) -> None:
    listed, whole, first, second, again, last, at_the_end, all_ = look({"run": (pages["run"], 1300)}, STEP, tmp_path)[
        "run"
    ]
    assert listed == [False, False], "buttons in place of the list"
    assert whole == [0, ""]
    assert first[1].startswith("Step 1 of ")
    assert second[1].startswith("Step 2 of ")
    assert again == first
    assert first[0] >= second[0] > last[0] == 0, "ever more of the picture is there"
    assert "knows" in first[1] or "has offered" in first[1]
    assert at_the_end
    assert all_ == whole
