"""The notebooks in examples/ show what they give: each is run, and what it says is what stands in the file.

They are kept with their outputs, so that they can be read where nothing runs. Where one is to say something else:
``python tests/testbed/api/test_api_notebooks.py`` runs them all and writes them anew.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[3] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, scratch: Path) -> Any:
    """The notebook as it comes out of a kernel of its own, which works in ``scratch`` and keeps its things there."""
    notebook = nbformat.read(path, as_version=4)
    places = {name: str(scratch) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "HOME")}
    with patch.dict(os.environ, places):
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(scratch)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    return notebook


def said(notebook: Any) -> list[list[str]]:
    """What each cell says in words. Pictures and what a browser shows are made of the same, and tested elsewhere."""
    return [
        ["".join(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first-look.ipynb", "own-analysis.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_stands_in_its_file(path: Path, tmp_path: Path) -> None:
    assert said(executed(path, tmp_path)) == said(nbformat.read(path, as_version=4))


if __name__ == "__main__":
    for one in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(one, Path(folder)), one)
