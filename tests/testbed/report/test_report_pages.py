"""Reports: self-contained, complete, honest about what cannot be trusted. Structure, not pixels."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from testbed.actions.study import read_results
from testbed.engines.sim import SimEngine
from testbed.errors import UserError
from testbed.report import plots
from testbed.report.maps import maps
from testbed.report.pages import (
    Origin,
    Story,
    bracket,
    break_charts,
    distrusted,
    estimate,
    not_checked,
    run_page,
    study_page,
)
from testbed.report.plots import has_map
from testbed.report.struck import fabric_picture
from testbed.report.words import probability, setting
from testbed.scenario import compile_plan, parse
from testbed.study.document import human, load_study
from testbed.study.runner import run_study
from testbed.study.search import BreakPoint
from testbed.verdicts import judge
from testbed.verdicts.model import Trust
from testbed.verdicts.words import nothing_done

VOID = {"meta", "br", "hr", "img", "link", "input"}
STUDY = """
name: two-depths
about: Two hosts & <one> link.
scenario:
  name: pair
  topology: {kind: pair}
  links: {default: {delay: 50us, jitter: 5us}}
  protocol: {consensus: floodset, f: 1, depth: 2, window: 110us}
sweep: {parameter: links.default.jitter, from: 4us, to: 24us, steps: 6}
break_point: {probability: 0.05, confidence: 0.95, resolution: 0.2, rounds: 5000}
sim: {batch: 100}
variants:
  - {name: depth 2}
  - {name: depth 4, set: {protocol.depth: 4, protocol.window: 220us}}
expect_closed_form: true
seed: 3
"""


class Page(HTMLParser):
    """Collects ids, text and tags; fails on tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        text = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.S)
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids |= {value for name, value in attrs if name == "id" and value}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(STUDY)
    return run_study(load_study(folder / "study.yaml"), folder / "out", jobs=0).to_dict()


@pytest.fixture(scope="module")
def page_of_study(results: dict[str, Any]) -> str:
    """Its page, with the command that made it."""
    return study_page(results, ["testbed study x.yaml"])


@pytest.fixture(scope="module")
def page_beside_vkernel(results: dict[str, Any]) -> str:
    return study_page(with_vkernel(results))


def with_vkernel(results: dict[str, Any]) -> dict[str, Any]:
    """The results as if vkernel had measured what sim measured (to see that a page shows it)."""
    found = copy.deepcopy(results)
    for variant in found["variants"]:
        variant["vkernel"] = [
            {**row, "twin_broken": row["broken"], "twin_same_rounds": True} for row in variant["sim"][2:4]
        ]
        variant["vkernel_break_point"] = variant["break_point"]
    return found


def assert_self_contained(text: str, files: Collection[str] = ()) -> None:
    """Nothing is fetched: links lead inside the page, or to the files that lie beside it."""
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "img"}
    for _, attributes in page.tags:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#") or attributes[name] in files, attributes
    assert {link[1:] for _, found in page.tags if (link := found.get("href") or "").startswith("#")} <= page.ids
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(", text)


def test_a_study_page_is_one_file_and_escapes_what_it_is_given(page_of_study: str) -> None:
    assert_self_contained(page_of_study)
    page = Page(page_of_study)
    assert "Two hosts & <one> link." in page.text
    assert {"plot", "close", "breakpoints", "expectations", "shares", "consensus"} <= page.ids
    assert "testbed study x.yaml" in page.text


def test_a_study_page_shows_every_point_with_its_closed_form(results: dict[str, Any], page_of_study: str) -> None:
    text = page_of_study
    rows = sum(len(variant["sim"]) for variant in results["variants"])
    tables = re.findall(r'<table class="points sim">.*?</table>', text, re.S)
    assert sum(table.count("<tr><td>") for table in tables) == rows
    assert "–</td><td" not in re.sub(r"<td class=\"n\">[^<]* – [^<]*</td>", "", tables[0]).split("decided")[0]


def test_vkernel_points_stand_beside_sim_with_the_same_seed(page_beside_vkernel: str) -> None:
    page = Page(page_beside_vkernel)
    assert "sim, same seed" in page.text
    assert page.text.count("not run") == 0


def test_what_cannot_be_trusted_stands_on_top(results: dict[str, Any], page_of_study: str) -> None:
    spoilt = with_vkernel(results)
    spoilt["variants"][0]["vkernel"][0].update(trust="not_trusted", reasons=["delays are 12 us too long"])
    text = study_page(spoilt)
    assert text.index('id="distrusted"') < text.index('id="plot"')
    assert "delays are 12 us too long" in text
    assert distrusted(spoilt) != []
    assert 'id="distrusted"' not in page_of_study


def test_what_is_said_of_many_points_is_said_once(results: dict[str, Any]) -> None:
    """A page began with a line for each point."""
    spoilt = copy.deepcopy(results)
    rows = [row for variant in spoilt["variants"] for row in variant["sim"]]
    for place, row in enumerate(rows):
        row.update(reasons=["delays are too long"], unchecked=[f"all of host{place}>..>host9: why", "nothing was seen"])
    (reason,) = distrusted(spoilt)
    assert reason.startswith("depth 2 on sim at ")
    assert reason.endswith(" and others: delays are too long")
    assert not_checked(spoilt) == [
        "sim: all of host0>..>host9, host1>..>host9, host2>..>host9 and others: why",
        "sim: nothing was seen",
    ]


def test_a_study_page_names_the_fabric_and_the_protocol(results: dict[str, Any], page_of_study: str) -> None:
    found = results["studied"]
    assert (found["fabrics"], found["protocols"]) == (["pair"], ["floodset"])
    assert "alternating handshake of depth 2" not in found["settings"], "the variants differ in it"
    assert "horizon abort" in found["settings"]
    page = Page(page_of_study)
    assert "studied" in page.ids
    assert "Fabric: pair. Protocol: floodset; horizon abort." in page.text


def test_columns_that_are_empty_everywhere_are_left_out(results: dict[str, Any], mapped: dict[str, Any]) -> None:
    columns = {"closed form", "decided", "broken by", "vkernel alone"}
    headings = [set(re.findall(r"<th[^>]*>([^<]*)</th>", study_page(one))) for one in (with_vkernel(results), mapped)]
    assert [columns & found for found in headings] == [columns, {"closed form", "broken by"}]
    bare = copy.deepcopy(mapped)
    for variant in bare["variants"]:
        variant["closed_form"] = []
        for row in variant["sim"]:
            row["kinds"] = {}
    assert not columns & set(re.findall(r"<th[^>]*>([^<]*)</th>", study_page(bare)))


def test_where_nothing_was_seen_it_is_not_said_to_be_zero(mapped: dict[str, Any]) -> None:
    (drawn,) = maps(mapped)
    cells = [cell for row in drawn.cells for cell in row if cell]
    assert {cell.share for cell in cells if cell.p == 0} == {"none seen"}
    assert "none seen" not in {cell.share for cell in cells if cell.p > 0}
    assert re.search(r'<td class="n soft">none seen</td>', study_page(mapped))
    figure = plots.study_plot(mapped)
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == sum(cell.p == 0 for cell in cells)


@pytest.mark.parametrize(
    ("value", "words"),
    [("105000ns", "105 µs"), ("100ms", "100 ms"), ("105001ns", "105.001 µs"), ("1%", "1 %"), ("oae", "oae"), (4, "4")],
)
def test_what_a_variant_sets_is_told_in_units_for_people(value: str | int, words: str) -> None:
    assert setting(value) == words


def test_a_missing_kernel_is_told_on_top(results: dict[str, Any]) -> None:
    text = study_page({**results, "missing": ["engine vkernel: no kernel source. apt-get install linux-source"]})
    assert text.index('id="missing"') < text.index('id="plot"')


def test_intervals_that_hold_whenever_a_search_stops_are_said_to_be(
    results: dict[str, Any], page_of_study: str
) -> None:
    assert "confidence sequences, which hold whenever one stops" in Page(page_of_study).text
    fixed = {**results, "variants": [{**variant, "break_point": None} for variant in results["variants"]]}
    assert "confidence sequences" not in Page(study_page(fixed)).text


def test_a_caption_speaks_of_what_is_in_the_plot_only(
    results: dict[str, Any], page_of_study: str, page_beside_vkernel: str
) -> None:
    assert "filled squares" not in Page(page_of_study).text
    assert "filled squares" in Page(page_beside_vkernel).text
    plain = copy.deepcopy(results)
    for variant in plain["variants"]:
        variant["break_point"] = None
    assert "coloured band" in Page(page_of_study).text
    assert "coloured band" not in Page(study_page(plain)).text
    linear = copy.deepcopy(results)
    for variant in linear["variants"]:
        for row in variant["sim"]:
            row.update(p=0.2, low=0.15, high=0.25)
    assert "arrows hang" not in Page(study_page(linear)).text


def test_results_of_an_earlier_version_are_said_to_be(results: dict[str, Any], tmp_path: Path) -> None:
    """It was a KeyError in the middle of the page."""
    (tmp_path / "results.json").write_text(json.dumps({**results, "variants": []}))
    assert read_results(tmp_path)["name"] == "two-depths"
    old = {name: value for name, value in results.items() if name not in ("across", "grid")}
    (tmp_path / "results.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="of an earlier version: it lacks grid, across; go on with: testbed study"):
        read_results(tmp_path)


def test_each_mark_tells_its_engine_counts_interval_and_trust(
    results: dict[str, Any], page_beside_vkernel: str
) -> None:
    text = page_beside_vkernel
    row = results["variants"][0]["sim"][3]
    at = human(row["x"], "time")
    counts = f"{row['broken']} of {row['rounds']} rounds broke; trusted</title>"
    for engine in ("sim", "vkernel"):
        assert re.search(rf"<title>depth 2: {engine}, {at}: [^<]* 95 % interval [^<]*{counts}", text)
    assert "(confidence sequence)" in text
    assert "Sim: trusted; vkernel: trusted." in Page(text).text


def test_equal_results_give_equal_pages(results: dict[str, Any], page_of_study: str) -> None:
    assert page_of_study == study_page(copy.deepcopy(results), ["testbed study x.yaml"])


def test_probabilities_over_decades_get_a_logarithmic_axis(results: dict[str, Any]) -> None:
    rare = copy.deepcopy(results)
    for variant in rare["variants"]:
        variant["sim"][-1].update(p=0.2, low=0.15, high=0.25)
        variant["sim"][-2].update(p=0.0004, low=0.0001, high=0.001)
    assert plots.study_plot(rare).axes[0].get_yscale() == "log"
    flat = copy.deepcopy(results)
    for variant in flat["variants"]:
        for row in variant["sim"]:
            row.update(p=0.2, low=0.15, high=0.25)
    assert plots.study_plot(flat).axes[0].get_yscale() == "linear"


def test_the_plot_says_what_is_what(results: dict[str, Any]) -> None:
    figure = plots.study_plot(with_vkernel(results))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    for name in ("depth 2", "depth 4"):
        assert {f"{name}: closed form", f"{name}: sim", f"{name}: vkernel"} <= labels
        assert any(label.startswith(f"{name}: break point") for label in labels)
    assert "jitter" in figure.axes[0].get_xlabel()


def test_a_png_can_be_had_for_a_readme(results: dict[str, Any], tmp_path: Path) -> None:
    plots.save_png(plots.study_plot(results), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_over_whole_numbers_is_drawn_too(tmp_path: Path) -> None:
    document = yaml.safe_load(STUDY)
    document.update(name="depths", sweep={"parameter": "protocol.depth", "values": [2, 3]}, variants=[{"name": "one"}])
    document["sim"]["rounds"] = 1000
    del document["break_point"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    found = run_study(load_study(tmp_path / "study.yaml"), tmp_path / "out", jobs=0).to_dict()
    page = Page(study_page(found))
    assert "breakpoints" not in page.ids
    assert "close" not in page.ids


MAP = """
name: map
scenario:
  name: pair
  topology: {kind: pair}
  links: {default: {delay: 50us, jitter: 5us}}
  protocol: {consensus: none, depth: 2, window: 110us}
sweep: {parameter: links.default.jitter, values: [4us, 12us, 20us]}
across: {parameter: protocol.window, values: [105us, 110us, 115us]}
break_point: {probability: 0.05, confidence: 0.95, resolution: 0.3, rounds: 1200}
sim: {batch: 100}
seed: 3
"""


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("map")
    (folder / "study.yaml").write_text(MAP)
    return run_study(load_study(folder / "study.yaml"), folder / "out", jobs=0).to_dict()


def test_two_parameters_make_a_map_whose_cells_are_what_was_counted(mapped: dict[str, Any]) -> None:
    (drawn,) = maps(mapped)
    assert drawn.columns == ("4 µs", "12 µs", "20 µs")
    assert drawn.rows == ("105 µs", "110 µs", "115 µs")
    for arm, cells in zip(mapped["variants"], drawn.cells, strict=True):
        rows = {row["x"]: row for row in arm["sim"]}
        for x, cell in zip(mapped["grid"], cells, strict=True):
            assert cell is not None
            assert (cell.p, cell.low, cell.high) == (rows[x]["p"], rows[x]["low"], rows[x]["high"])
            assert cell.counted == f"{rows[x]['broken']} of {rows[x]['rounds']} rounds broke"


def test_the_line_of_break_points_runs_where_their_estimates_are(mapped: dict[str, Any]) -> None:
    (drawn,) = maps(mapped)
    found = [arm["break_point"] for arm in mapped["variants"]]
    assert [mark.row for mark in drawn.breaks] == [1, 2], "at 105 µs it breaks more than 5 % of rounds everywhere"
    assert [found[mark.row]["status"] for mark in drawn.breaks] == ["bracketed"] * 2
    for mark in drawn.breaks:  # columns are 8 µs apart
        assert mark.at == pytest.approx((found[mark.row]["estimate"] - 4000) / 8000)
        assert mark.low < mark.at < mark.high
    (line,) = drawn.contours
    assert len(line) == 2
    apart = replace(drawn, breaks=(drawn.breaks[0], replace(drawn.breaks[1], row=3)))
    assert [len(run) for run in apart.contours] == [1, 1], "no line across a row that has no break point"


def test_a_map_is_drawn_and_written_out_and_told_to_those_who_point_at_it(mapped: dict[str, Any]) -> None:
    text = study_page(mapped)
    assert_self_contained(text)
    page = Page(text)
    assert "The same as a table" in page.text
    assert "Diamonds are estimates" in page.text
    (drawn,) = maps(mapped)
    assert all(f"<title>{cell.title}</title>" in text for row in drawn.cells for cell in row if cell)
    assert not has_map({**mapped, "across": []})


def test_names_that_are_swept_stand_side_by_side_and_make_columns_of_a_map(tmp_path: Path) -> None:
    document = yaml.safe_load(MAP)
    del document["break_point"]
    document["sim"] = {"batch": 100, "rounds": 100}
    document["sweep"] = {"parameter": "protocol.horizon", "values": ["abort", "hold"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    (drawn,) = maps(run_study(load_study(tmp_path / "study.yaml"), tmp_path / "map", jobs=0).to_dict())
    assert drawn.columns == ("abort", "hold")
    assert len(drawn.cells) == 3
    assert drawn.breaks == ()
    del document["across"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    found = run_study(load_study(tmp_path / "study.yaml"), tmp_path / "bars", jobs=0).to_dict()
    axes = plots.study_plot(found).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["abort", "hold"]
    assert [text.get_text() for text in axes.texts] == [
        f"{arm['sim'][0]['broken']} of 100 rounds" for arm in found["variants"]
    ]


RUN = """
name: crash
topology: {kind: star, hosts: 3}
links: {default: {delay: 10us, jitter: 10us}}
protocol: {consensus: floodset, depth: 2, window: 70us, rounds: 40, f: 1}
faults:
  - {at: 310us, do: nic_down, on: host1}
  - {when: {node: host2, enters: REFLECTING, round: 30}, do: node_kill}
seed: 2
"""


def test_a_run_page_is_one_file_with_breaks_faults_and_fidelity() -> None:
    plan = compile_plan(parse(RUN))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    text = run_page(plan, history, verdicts, ["testbed replay runs/crash"])
    assert_self_contained(text)
    page = Page(text)
    assert {"breaks", "faults", "fidelity"} <= page.ids
    assert "at 310us nic_down host1-eth0" in page.text
    assert "when host2 enters REFLECTING in round 30: node_kill host2" in page.text
    assert {"fabric", "trust", "glossary"} <= page.ids
    assert text.index('id="fabric"') < text.index('id="broke"') < text.index('id="trust"')
    assert "Disagreements" in page.text
    assert text.count('class="spacetime"') >= 2
    assert "distrusted" not in page.ids


@pytest.mark.parametrize(
    ("failed", "words"), [((), "Expectations held: splits 1"), (["splits: expected 1, found 3"], "found 3")]
)
def test_a_run_page_tells_the_scenarios_story_and_what_became_of_what_it_expects(failed: list[str], words: str) -> None:
    plan = compile_plan(parse(RUN))
    history = SimEngine().run(plan)
    text = run_page(plan, history, judge(plan, history), (), Story("A NIC goes <down>.", "splits 1", failed))
    page = Page(text)
    assert "expected" in page.ids
    assert "A NIC goes <down>." in page.text
    assert words in " ".join(page.text.split())
    assert "3 hosts, 1 switch (" in page.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("switches: cells", "3 hosts, 1 cell (star(hosts=3));"),
        ("nodes: container", "3 hosts, which are containers, 1 switch (star(hosts=3));"),
    ],
)
def test_a_run_page_says_what_its_nodes_are(line: str, words: str) -> None:
    plan = compile_plan(parse(f"name: x\ntopology: {{kind: star, hosts: 3}}\nprotocol: {{rounds: 9}}\n{line}\n"))
    history = SimEngine().run(plan)
    page = Page(run_page(plan, history, judge(plan, history)))
    assert words in " ".join(page.text.split())


def test_a_run_that_cannot_be_trusted_says_so_first() -> None:
    plan = compile_plan(parse(RUN))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    fidelity = replace(verdicts.fidelity, answer=Trust.NOT_TRUSTED, reasons=("timers were 3 ms late",))
    text = run_page(plan, history, replace(verdicts, fidelity=fidelity))
    assert text.index('id="distrusted"') < text.index('class="facts"')
    assert "timers were 3 ms late" in text


def page_of(links: str, protocol: str = "rounds: 9", topology: str = "kind: star, hosts: 3") -> Page:
    plan = compile_plan(
        parse(f"name: x\ntopology: {{{topology}}}\nlinks: {{default: {{{links}}}}}\nprotocol: {{{protocol}}}\n")
    )
    history = SimEngine().run(plan)
    return Page(run_page(plan, history, judge(plan, history)))


@pytest.mark.parametrize("links", ["delay: 10us, loss: 100%", "delay: 10us, duplicate: 100%", "delay: 10us"])
def test_a_direction_without_delays_to_compare_has_its_row_all_the_same(links: str) -> None:
    """It was a crash: a direction that loses or doubles everything has no quantiles."""
    page = page_of(links)
    assert "fidelity" in page.ids
    assert "host1>switch1" in page.text


def test_what_of_a_direction_was_not_checked_stands_below_the_table() -> None:
    page = page_of("delay: 10us, loss: 1%, loss_correlation: 20%", topology="kind: pair")
    assert "host1>host2, host2>host1: correlated loss: its law is not worked out" in page.text
    assert "Not checked." in page.text
    assert "unchecked" in page.ids


def test_an_engine_that_is_not_made_of_swaps_is_not_said_to_have_held_no_rounds() -> None:
    page = page_of("delay: 10us", "consensus: paxos, f: 1, window: 1ms, instances: 9")
    assert "instances decided everywhere" in page.text
    assert "broke bisynchrony" not in page.text
    assert "handshake" not in page.text
    assert "rounds broke bisynchrony" in page_of("delay: 10us").text


@pytest.mark.parametrize(
    ("changes", "words", "about"),
    [
        ({}, "between 1 µs and 2 µs", "1.5 µs (1.4 µs – 1.7 µs)"),
        ({"rising": False}, "between 1 µs and 2 µs, falling", "1.5 µs (1.4 µs – 1.7 µs)"),
        ({"low": None, "high": None}, "between 1 µs and 2 µs", "1.5 µs"),
        ({"status": "always", "estimate": None}, "above 1 % at every value of the sweep", "–"),
        ({"status": "never", "estimate": None}, "below 1 % at every value of the sweep", "–"),
        ({"status": "open"}, "no two values were certain to lie on different sides", "1.5 µs (1.4 µs – 1.7 µs)"),
    ],
)
def test_a_break_point_in_words(changes: dict[str, Any], words: str, about: str) -> None:
    found = asdict(BreakPoint("bracketed", 0.01, 0.99, True, 1_000, 2_000, 1_500, 1_400, 1_700)) | changes
    assert bracket(found, "time") == words
    assert estimate(found, "time") == about


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.25, "0.25"), (0.0123456, "0.0123"), (1e-6, "1.00e-06")])
def test_probabilities_for_people(value: float, text: str) -> None:
    assert probability(value) == text


STUCK = """
name: stuck
topology: {kind: pair}
links: {default: {delay: 10us, loss: 100%}}
protocol: {consensus: oae, rounds: 12, f: 0}
"""


def test_where_nothing_came_about_the_page_says_so_before_all_figures() -> None:
    """It was a green page: no round broke, nothing disagreed."""
    plan = compile_plan(parse(STUCK))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    assert verdicts.bisynchrony.holds
    text = run_page(plan, history, verdicts)
    assert text.index('id="nothing"') < text.index('class="facts"')
    assert "Nothing was decided. No swap committed." in Page(text).text
    assert "nothing" not in Page(run_page_of(RUN)).ids


def test_where_all_swaps_split_nobody_says_that_nothing_could_go_wrong() -> None:
    late = STUCK.replace("delay: 10us, loss: 100%", "delay: 10us").replace(
        "consensus: oae, rounds: 12, f: 0", "depth: 4, window: 39us, rounds: 30"
    )
    plan = compile_plan(parse(late))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    assert verdicts.bisynchrony.swaps["split"] == 30
    assert nothing_done(verdicts) == []
    page = Page(run_page(plan, history, verdicts))
    assert "nothing" not in page.ids
    assert {"term-tentative", "term-reflecting", "term-in-doubt"} <= set(page.ids), "the picture has these words"


def run_page_of(scenario: str, origin: Origin | None = None) -> str:
    plan = compile_plan(parse(scenario))
    history = SimEngine().run(plan)
    return run_page(plan, history, judge(plan, history), origin=origin)


def test_a_page_says_what_made_it_and_links_to_what_lies_beside_it() -> None:
    text = run_page_of(RUN, Origin("OAE testbed 1.2.3, 2026-01-02", [("plan.json", "the plan"), ("events/", "tables")]))
    assert_self_contained(text, {"plan.json", "events/"})
    assert "OAE testbed 1.2.3, 2026-01-02" in Page(text).text
    assert "plan.json : the plan" in Page(text).text


def test_faults_are_drawn_where_they_strike_by_their_numbers() -> None:
    plan = compile_plan(parse(RUN))
    picture = ElementTree.fromstring(fabric_picture(plan))
    told = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert "fault 0: at 310us nic_down host1-eth0" in told
    assert "fault 1: when host2 enters REFLECTING in round 30: node_kill host2" in told
    crosses = [path for path in picture.iter("{http://www.w3.org/2000/svg}path") if path.get("class") == "m"]
    assert len(crosses) == 2
    dashed = [rect for rect in picture.iter("{http://www.w3.org/2000/svg}rect") if rect.get("class") == "m"]
    assert len(dashed) == 1, "round the node that is killed, not round the one whose NIC goes down"


LOSSY = """
name: lossy
topology: {kind: star, hosts: 3}
links: {default: {delay: 10us, loss: 2%}}
protocol: {consensus: none, depth: 2, window: 70us, rounds: 300}
"""


def test_many_breaks_are_told_by_when_and_where_in_place_of_a_list() -> None:
    plan = compile_plan(parse(LOSSY))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    text = run_page(plan, history, verdicts)
    assert "charts" in Page(text).ids
    assert "charts" not in Page(run_page_of(RUN)).ids
    over_time, by_link, by_hop = (svg for _, svg in break_charts(verdicts.bisynchrony))
    told = re.findall(r"<title>rounds? [^:]*: (\d+) of (\d+) broke", over_time)
    assert sum(int(broken) for broken, _ in told) == len(verdicts.bisynchrony.broken_rounds)
    assert sum(int(rounds) for _, rounds in told) == verdicts.bisynchrony.rounds == 300
    for chart in (by_link, by_hop):
        assert sum(map(int, re.findall(r": (\d+) broken swaps</title>", chart))) == len(verdicts.bisynchrony.breaks)
