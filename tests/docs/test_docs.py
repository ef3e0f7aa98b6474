"""What README and docs/ name is there: files behind links, commands, targets, scenarios and studies."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.actions.find import find_document
from testbed.cli.main import app
from testbed.reference import PAGES as REFERENCE
from testbed.report.link_page import link_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = {"run": "scenarios", "compare": "scenarios", "explain": "scenarios", "study": "studies"}
PLACEHOLDERS = {"SCENARIO", "…"}
GROUPS = {group.name for group in app.registered_groups}
DONE = [path for folder in ("tutorial", "how-to") for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
"""Pages whose commands are run one by one (test_docs_examples.py)."""
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def commands(text: str, program: str) -> list[list[str]]:
    """Every call of ``program`` in code: at the start of a line of a block, or of a phrase in backticks."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    phrases = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [shlex.split(line, comments=True) for line in (*lines, *phrases) if re.match(rf"{program}\s", line)]
    return [words[1:] for words in found if len(words) > 1]


@cache
def help_of(*words: str) -> str:
    """What ``testbed WORDS --help`` prints; pages name the same verbs over and over."""
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0, words
    return told.stdout


@pytest.mark.parametrize("page", [*PAGES, *DONE], ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    made = {ROOT / "docs" / place for place in REFERENCE}  # with the site
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert [link for link in missing if Path(os.path.normpath(page.parent / link)) not in made] == []


@page
def test_commands_exist_and_name_what_ships(page: Path) -> None:
    for words in commands(page.read_text(), "testbed"):
        verb, *rest = words
        help_of(verb)
        if verb in DOCUMENTS and rest and not rest[0].startswith("-") and rest[0] not in PLACEHOLDERS:
            assert find_document(rest[0], DOCUMENTS[verb]).is_file()


@page
def test_options_exist(page: Path) -> None:
    for verb, *rest in commands(page.read_text(), "testbed"):
        # Of `topo draw` the options stand in both words' help; `exec host1 --help` would run in a host1 that is up.
        known = help_of(verb) + (help_of(verb, *rest[:1]) if verb in GROUPS else "")
        assert [word for word in rest if word.startswith("-") and word not in known] == []


@page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in commands(page.read_text(), "make")} <= targets


def test_what_the_documents_commands_write_is_not_left_untracked_in_the_clone(tmp_path: Path) -> None:
    """Files that are named (-o), and the folders that exports make; git itself says what it leaves out."""
    calls = [words for path in PAGES for words in commands(path.read_text(), "testbed")]
    files = [words[words.index("-o") + 1] for words in calls if "-o" in words]
    folders = [f"{words[2]}-{words[1]}/" for words in calls if words[0] == "export" and len(words) == 3]
    written = sorted({*files, *folders} - {"-"})
    assert {"torus.svg", "fat_tree-containerlab/", "ring-kathara/"} <= set(written)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    done = subprocess.run(["git", "check-ignore", *written], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == written


def test_the_link_page_is_drawn_from_the_table() -> None:
    written = (ROOT / "docs" / "link.md").read_text(encoding="utf-8")
    assert written == link_page(), "write it anew: python -m testbed.report.link_page > docs/link.md"


def test_the_commands_are_found() -> None:
    text = "".join(path.read_text() for path in PAGES)
    assert ["run", "nic-crash-mid-swap", "-e", "vkernel"] in commands(text, "testbed")
    assert ["study"] in commands(text, "make")


def test_no_text_sends_a_reader_to_a_file_that_is_not_shipped() -> None:
    """Names in capitals with .md are files at the top of the clone, or nothing that a user has."""
    named = re.compile(r"\b[A-Z]{4,}\.md\b")
    tracked = [
        path for folder in ("docs", "nodes", "topologies", "testbed", "tests") for path in (ROOT / folder).rglob("*")
    ]
    texts = [path for path in (*tracked, *ROOT.glob("*.md")) if path.suffix in (".py", ".md", ".sh", ".yaml", ".css")]
    lost = {
        (path.name, name) for path in texts for name in named.findall(path.read_text()) if not (ROOT / name).exists()
    }
    assert lost == set()
