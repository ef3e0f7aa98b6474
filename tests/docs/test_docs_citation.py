"""The citation file is one that tools read, and says what the project says of itself."""

from __future__ import annotations

import tomllib

import yaml
from needs import ROOT

REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license", "license-url",
    "preferred-citation", "references", "repository", "repository-artifact", "repository-code", "type", "url",
    "version",
}  # fmt: skip
"""Keys of the Citation File Format 1.2.0."""


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited.keys() >= REQUIRED
    assert cited.keys() <= KNOWN
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["authors"]
    for author in cited["authors"]:
        assert {"name"} <= author.keys() or {"family-names", "given-names"} <= author.keys()


def test_it_says_what_the_project_says() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(cited["version"]) == project["version"]
    assert cited["keywords"] == project["keywords"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in project["authors"]]
    assert cited["license"] in project["license"].split()
