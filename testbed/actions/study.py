"""The directory of a study: whether one may work there, and the report of what it found."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.study.document import Study


def claim(directory: Path) -> Path:
    """``directory`` when a study may work in it: it is not there yet, empty, or a study's (known by its trials)."""
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; name a directory for the study")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "trials.jsonl").is_file():
        raise UserError(f"{directory} is not empty and holds no study; name another directory with --out")
    return directory


def read_results(directory: Path) -> dict[str, Any]:
    """What the study in ``directory`` found. Raises UserError when it has not ended, or was damaged."""
    import json
    from dataclasses import fields

    from testbed.study.results import Results

    path = directory / "results.json"
    go_on = f"go on with: testbed study {directory / 'study.yaml'} --out {directory}"
    if not path.is_file():
        raise UserError(f"{directory}: this study has not ended; {go_on}")
    try:
        results = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; {go_on}") from None
    if not isinstance(results, dict) or "variants" not in results:
        raise UserError(f"{path} is damaged: it holds no results of a study; {go_on}")
    if missing := [field.name for field in fields(Results) if field.name not in results]:
        raise UserError(f"{path} is of an earlier version: it lacks {', '.join(missing)}; {go_on}")
    return results


def own_directory(loaded: Study) -> Path:
    """runs/study-<name>, numbered where another study of that name has been worked on: one that was edited since. The
    document that a study has left in its directory leads to that."""
    from testbed.study.runner import as_yaml

    text, base = as_yaml(loaded), f"study-{loaded.document.name}"
    number, given = 1, Path(loaded.source).parent
    if (given / "trials.jsonl").is_file():
        return given
    while True:
        directory = Path("runs") / (base if number == 1 else f"{base}-{number}")
        document = directory / "study.yaml"
        if not document.is_file() or document.read_text(encoding="utf-8") == text:
            return directory
        number += 1


def write_report(loaded: Study, results: dict[str, Any], directory: Path) -> Path:
    """report.html, and the plot as PNG and SVG beside it."""
    from testbed.actions.origin import origin
    from testbed.report import plots
    from testbed.report.pages import study_page
    from testbed.report.spacetime import instance_caption, instance_diagram
    from testbed.study.runner import FILES, specimen
    from testbed.verdicts import judge

    pictures = []
    for variant in results["variants"]:
        for found in variant.get("specimens", ()):
            plan, history = specimen(loaded, variant["name"], found["x"], found["seed"])
            consensus = judge(plan, history).consensus
            for item in consensus.disagreements[:1] if consensus else ():
                told = " ".join(instance_caption(plan, history, item))
                caption = f"{variant['name']}, seed {found['seed']}: {told}"
                pictures.append((caption, instance_diagram(plan, history, item)))
    commands = [f"testbed study {quote(str(directory / 'study.yaml'))} --out another-directory"]
    plots.save_png(plots.study_plot(results), directory / "plot.png")
    drawn = plots.svg_of(plots.study_plot(results), plots.study_label(results))
    (directory / "plot.svg").write_text(drawn, encoding="utf-8")
    target = directory / "report.html"
    page = study_page(results, commands, pictures, origin(directory / "results.json", FILES))
    target.write_text(page, encoding="utf-8")
    return target
