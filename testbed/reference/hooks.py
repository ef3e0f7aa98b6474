"""What MkDocs does besides when it builds the site: pages made from the code, and links that lead out of docs/."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from testbed.reference import PAGES

_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)#\s]+)(?P<at>#[^)\s]*)?\)")
_CODE_OR_LINK = re.compile(rf"^(?P<fence>```|~~~).*?^(?P=fence)[ ]*$|{_LINK.pattern}", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".sh": "sh", ".yaml": "yaml", ".c": "c", ".lua": "lua", ".json": "json"}
_GROUPS = {"Tutorial": "tutorial", "How-to": "how-to"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages of the tutorial and the how-tos that the navigation does not name come last."""
    for group in config.nav or []:
        for name, folder in _GROUPS.items():
            if name in group:
                there = sorted(Path(config.docs_dir, folder).glob("*.md"))
                group[name] += [place for page in there if (place := f"{folder}/{page.name}") not in group[name]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The reference, and a page for each file of the clone that some page leads to."""
    for place, page in PAGES.items():
        files.append(File.generated(config, place, content=page()))
    docs = Path(config.docs_dir)
    for file in [file for file in files if file.is_documentation_page()]:
        for match in _links(file.content_string):
            source = _outside(docs, file.src_uri, match["target"])
            if source is not None and source.is_file() and not files.get_file_from_path(_shown_at(docs, source)):
                files.append(File.generated(config, _shown_at(docs, source), content=_as_page(docs, source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Links to files of the clone lead to their pages; those to its folders are plain text."""
    docs, here = Path(config.docs_dir), page.file.src_uri

    def led(match: re.Match[str]) -> str:
        source = _outside(docs, here, match["target"])
        if source is None:
            return match[0]
        if not source.is_file():
            return match["text"]
        return f"[{match['text']}]({os.path.relpath(_shown_at(docs, source), Path(here).parent)}{match['at'] or ''})"

    return _with_links(markdown, led)


def _links(markdown: str) -> list[re.Match[str]]:
    return [match for match in _CODE_OR_LINK.finditer(markdown) if not match["fence"]]


def _with_links(markdown: str, led: Callable[[re.Match[str]], str]) -> str:
    return _CODE_OR_LINK.sub(lambda match: match[0] if match["fence"] else led(match), markdown)


def _outside(docs: Path, page: str, target: str) -> Path | None:
    """The file or folder of the clone that a page's link leads to, where that is not in docs/."""
    if "://" in target or target.startswith(("mailto:", "/")):
        return None
    found = Path(os.path.normpath((docs / page).parent / target))
    return found if found.is_relative_to(docs.parent) and not found.is_relative_to(docs) and found.exists() else None


def _shown_at(docs: Path, source: Path) -> str:
    return f"source/{source.relative_to(docs.parent).as_posix()}.md"


def _as_page(docs: Path, source: Path) -> str:
    """A file as a page that search leaves out: Markdown as it is, but for its links; all else as code."""
    name = source.relative_to(docs.parent).as_posix()
    head = f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n"
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return head + _with_links(text, lambda match: match["text"])
    fence = "`" * (1 + max([2, *map(len, re.findall(r"`+", text))]))
    return f"{head}# `{name}`\n\n{fence}{_LANGUAGES.get(source.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
