"""The tutorial, the how-tos and the first pages are done as a reader does them: every file written, every command and
every piece of Python run, and what they print held against what the page says (examples.py tells how pages are read).

``pytest tests/docs/test_docs_examples.py --rewrite-examples`` puts what comes today into the pages.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from needs import NEEDS, lacking
from typer.testing import CliRunner

from examples import Block, PageError, agrees, blocks, commands, rewritten, steps, tidy
from testbed.cli.main import app
from testbed.cli.output import USER_ERROR

ROOT = Path(__file__).resolve().parents[2]
DONE = [
    *sorted((ROOT / "docs" / "tutorial").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
    *(ROOT / "docs" / f"{name}.md" for name in ("index", "explorer", "flp")),
]
APART = {"attach", "capture", "down", "exec", "logs", "play", "serve", "up"}
"""Verbs that stay, fork, or hand their own standard streams on: they want a process to themselves."""
AT_MOST_S = 240


def page_of(path: Path) -> object:
    """A parameter: a page, slow if it says so or boots kernels."""
    found = list(blocks(path.read_text(encoding="utf-8")))
    slow = any(block.slow or "kernel" in block.needs for block in found)
    return pytest.param(path, id=f"{path.parent.name}-{path.stem}", marks=[pytest.mark.slow] if slow else [])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as wide a terminal as a pipe has, and this project's programs first on the way to programs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def fabrics(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> object:
    """A list of running fabrics of the page's own. Whatever it leaves up is ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("state")))
    yield
    CliRunner().invoke(app, ["down"])


@pytest.mark.usefixtures("fabrics")
@pytest.mark.parametrize("page", [page_of(path) for path in DONE])
def test_a_page_does_what_it_says(page: Path, here: Path, request: pytest.FixtureRequest) -> None:
    session: dict[str, object] = {"__name__": "__main__"}
    missing: dict[str, str] = {}
    left_out = 0
    for step in steps(page.read_text(encoding="utf-8")):
        lacks = {need: why for need in step.does.needs if (why := why_not(need, request))}
        if lacks:
            missing |= lacks
            left_out += 1
            continue
        came = done(step.does, here, session)
        if step.says is None or agrees(step.says.text, came):
            continue
        if request.config.getoption("--rewrite-examples"):
            rewritten(page, step, came)
        else:
            assert tidy(came) == tidy(step.says.text), f"{page.name}, line {step.says.line}"
    for need, why in missing.items():
        lacking(need, f"{why}; {left_out} steps of {page.name} were left out, the others were done")


def done(block: Block, here: Path, session: dict[str, object]) -> str:
    """Does what a block says in ``here``; what it printed."""
    if block.file:
        write(here / block.file, block)
        return ""
    if block.language == "python":
        return typed(block, session)
    return "".join(run(command.text, command.code, here) for command in commands(block))


def write(file: Path, block: Block) -> None:
    """Writes the reader's file, or changes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not block.change:
        file.write_text(block.text, encoding="utf-8")
        return
    before = file.read_text(encoding="utf-8")
    after = changed(before, block.text)
    assert after != before, f"line {block.line}: this changes nothing"
    file.write_text(after, encoding="utf-8")


def changed(before: str, change: str) -> str:
    """A document of YAML, each top-level key of ``change`` in place of what it has under that name, or at its end."""
    parts = {key_of(part): part for part in top_level(before)}
    parts |= {key_of(part): part for part in top_level(change) if not part.startswith("#")}
    return "".join(parts.values())


def top_level(document: str) -> list[str]:
    """A document of YAML cut before each line that is neither indented nor empty."""
    return re.findall(r"^\S[^\n]*\n(?:[ \n][^\n]*\n|\n)*", document, re.MULTILINE)


def key_of(part: str) -> str:
    """The top-level key that a part of a document gives; a comment is its own."""
    return part if part.startswith("#") else part.partition(":")[0]


def typed(block: Block, session: dict[str, object]) -> str:
    """Python, typed into the page's session."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        exec(compile(block.text, f"line {block.line} of the page", "exec"), session)
    return printed.getvalue()


def run(command: str, code: int, here: Path) -> str:
    """One command; what it prints, without its progress. Plain ones of the testbed run in this process, for speed."""
    if (words := plain(command)) and words[0] == "testbed" and not APART & set(words[1:2]):
        ran = CliRunner().invoke(app, words[1:])
        output, errors, ended = ran.stdout, ran.stderr, ran.exit_code
    else:
        shell = subprocess.run(
            ["bash", "-c", command],
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=AT_MOST_S,
            check=False,
        )
        output, errors, ended = shell.stdout, shell.stderr, shell.returncode
    assert ended == code, f"{command}\nended with {ended}, the page says {code}:\n{output}{errors}"
    return output + (errors if ended == USER_ERROR else "")


def plain(command: str) -> list[str]:
    """The words of a command that asks nothing of the shell but to start a program; none of any other."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words = list(lexer)
    return [] if any(set(word) <= set("();<>|&$") for word in words) else words


def why_not(need: str, request: pytest.FixtureRequest) -> str | None:
    """Why this machine does not have what a block needs."""
    assert need in NEEDS, need
    if need in ("kernel", "namespaces"):
        try:
            request.getfixturevalue(need)
        except pytest.skip.Exception as skipped:
            return str(skipped).partition(": ")[2]
        return None
    programs = {"tshark": ("tshark",), "ansible": ("ansible-playbook",), "tools": ("make", "ping", "tc")}[need]
    found = subprocess.run(["bash", "-c", f"type {' '.join(programs)}"], capture_output=True, check=False)
    return f"{', '.join(programs)} can't be found" if found.returncode else None


# -- the first look in README ------------------------------------------------------------------------------------------

ELSEWHERE = {
    "make setup": "it made the environment of these tests",
    "testbed run nic-crash-mid-swap -e": "tests/end_to_end",
    "testbed compare": "tests/end_to_end",
    "testbed serve": "it stays until Ctrl-C; tests/testbed/report",
    "testbed up": "how-to/running-fabric.md",
    "testbed capture": "how-to/running-fabric.md",
    "testbed study indulgence": "10,000 runs; tests/testbed/study",
    "testbed flp paxos": "tutorial/two-generals.md",
    "testbed cap": "every engine; tests/testbed/cli/test_cli_cap.py",
}
"""Lines of README's first look that take long, stay or need a machine of their own: where they are run, or why not."""


def first_look() -> list[str]:
    """Its commands, as they stand in README."""
    part = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A first look")[2].partition("\n## ")[0]
    shown = next(block for block in blocks(part) if block.language == "sh")
    return [command.text for command in commands(shown)]


def test_the_first_look_in_readme_is_as_short_as_it_looks(here: Path) -> None:
    """Exit code 1 is that of a search which finds what it is said to find."""
    look = first_look()
    assert [start for start in ELSEWHERE if not any(line.startswith(start) for line in look)] == []
    left = [line for line in look if not line.startswith(tuple(ELSEWHERE))]
    for line in left:
        run(line, int(line.startswith("testbed explore")), here)
    assert len(left) >= 5
    assert {"torus.svg", "fat_tree-containerlab", "runs"} <= {path.name for path in here.iterdir()}


# -- how pages are read ------------------------------------------------------------------------------------------------

PAGE = """\
# A page

```yaml
# mine.yaml
name: mine
seed: 1
```

<!-- needs: kernel, tshark -->
```sh
testbed run mine.yaml \\
    --seed 7            # a comment
testbed run none.yaml   # exit code 2: there is none
```

It says:

```text
mine … 7
…
the end
```

```yaml
# in mine.yaml
seed: 2
```
"""


def test_a_page_is_read_as_its_reader_reads_it() -> None:
    first, second, third = steps(PAGE)
    assert (first.does.file, first.does.change, third.does.file, third.does.change) == (
        "mine.yaml",
        False,
        "mine.yaml",
        True,
    )
    assert (second.does.needs, second.does.line) == (("kernel", "tshark"), 10)
    assert [(command.text, command.code) for command in commands(second.does)] == [
        ("testbed run mine.yaml      --seed 7            # a comment", 0),
        ("testbed run none.yaml   # exit code 2: there is none", 2),
    ]
    assert second.says is not None
    assert agrees(second.says.text, "mine is seed 7\n1\n2\nthe end\n")
    assert not agrees(second.says.text, "mine is seed 8\n1\n2\nthe end\n")
    assert not agrees(second.says.text, "mine is seed 7\nthe end\nand more\n")


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```text\nout of the blue\n```\n", "line 1: nothing before this text prints"),
        ("```sh\ntrue\n```\n```text\na\n```\n```text\nb\n```\n", "line 7: nothing before this text"),
        ("```yaml\nseed: 1\n```\n", "line 1: nobody knows what to do with this yaml"),
        ("<!-- not run: -->\n```sh\nfalse\n```\n", "line 2: 'not run' wants a reason"),
    ],
)
def test_a_page_that_nobody_could_do_is_told_of(page: str, problem: str) -> None:
    with pytest.raises(PageError, match=problem):
        steps(page)


def test_a_change_of_a_file_keeps_the_rest(here: Path) -> None:
    for step in (steps(PAGE)[0], steps(PAGE)[2]):
        done(step.does, here, {})
    assert (here / "mine.yaml").read_text() == "# mine.yaml\nname: mine\nseed: 2\n"
    longer = changed("a: 1\nb:\n  - {on: 2}\n\n  - 3\nc: 4\n", "# in x.yaml\nb: [5]\nd:\n  e: 6\n")
    assert longer == "a: 1\nb: [5]\nc: 4\nd:\n  e: 6\n"


def test_what_a_page_says_wrongly_is_seen(here: Path) -> None:
    (step,) = steps("```sh\necho a; false   # exit code 1\n```\n```text\nb\n```\n")
    came = done(step.does, here, {})
    assert came == "a\n"
    assert step.says is not None
    assert not agrees(step.says.text, came)
    with pytest.raises(AssertionError, match="ended with 1, the page says 0"):
        run("false", 0, here)


def test_only_what_asks_nothing_of_the_shell_is_run_in_this_process() -> None:
    assert plain("testbed run a.yaml --set 'links.leaf*<->spine*.loss=1%'  # as told") == [
        "testbed", "run", "a.yaml", "--set", "links.leaf*<->spine*.loss=1%",
    ]  # fmt: skip
    assert [plain(f"testbed run a.yaml{rest}") for rest in (" | head", " > a.txt", "; ls", " && ls", " $(ls)")] == [
        []
    ] * 5


def test_python_on_a_page_is_one_session(here: Path) -> None:
    one, two = steps("```python\nx = 6\n```\n```python\nprint(7 * x)\n```\n```text\n42\n```\n")
    session: dict[str, object] = {}
    assert (done(one.does, here, session), done(two.does, here, session)) == ("", "42\n")


def test_a_page_can_be_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\necho 1\n```\n\n```text\n2\n```\n\nmore\n")
    (step,) = steps(page.read_text())
    rewritten(page, step, "1\n")
    assert page.read_text() == "```sh\necho 1\n```\n\n```text\n1\n```\n\nmore\n"


def test_pages_are_found() -> None:
    assert {path.parent.name for path in DONE} >= {"tutorial"}
