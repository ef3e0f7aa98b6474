"""The image of nodes, made of this machine's own packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from needs import ROOT, lacking

from testbed.engines.live.containers import image as images
from testbed.engines.live.containers.image import HOME, Image, ImageUnavailable, build, find_image, image_name


def test_the_same_inputs_give_the_same_digest(
    node_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder, at another time, with another mask and another hash seed."""
    old = os.umask(0o077)
    try:
        environment = {**os.environ, "OAE_CACHE": str(tmp_path), "PYTHONHASHSEED": "11"}
        told = subprocess.run(
            [sys.executable, "-c", "from testbed.engines.live.containers.image import build; print(build().digest)"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        os.umask(old)
    assert told.stdout.strip() == node_image.digest
    monkeypatch.setenv("OAE_CACHE", str(tmp_path))
    again = find_image()
    assert again is not None
    assert again.archive.read_bytes() == node_image.archive.read_bytes()


def test_the_archive_is_what_its_digest_says_and_holds_nothing_of_who_made_it(node_image: Image) -> None:
    with tarfile.open(node_image.archive) as archive:
        (manifest,) = json.loads(archive.extractfile("manifest.json").read())
        config = archive.extractfile(manifest["Config"]).read()
        assert f"sha256:{hashlib.sha256(config).hexdigest()}" == node_image.digest
        with tarfile.open(fileobj=archive.extractfile(manifest["Layers"][0])) as layer:
            entries = layer.getmembers()
    assert manifest["RepoTags"] == [node_image.name] == [image_name()]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, 0)}
    assert not any(entry.mode & (stat.S_ISUID | stat.S_ISGID) for entry in entries)
    assert not any(entry.isdev() for entry in entries)
    assert not [entry.name for entry in entries if entry.name.startswith("home") or "/root/" in entry.name]


def test_what_is_in_it_runs_by_itself(node_image: Image) -> None:
    """Its Python finds its library, its modules find their shared libraries, and ``nodes`` is this one."""
    if os.geteuid() != 0:
        lacking("user", "chroot is root's")
    code = (
        "import ctypes, hashlib, json, mmap, select, socket, sys, zlib;"
        "from testbed import nodes; import testbed.nodes.agent, testbed.nodes.registry as r;"
        "[r.engine_spec(name) for name in r.engine_names()];"
        "print(sys.version_info >= (3, 11), nodes.__file__, testbed.nodes.agent.__cached__.endswith('.pyc'))"
    )
    command = ["/usr/sbin/chroot", str(node_image.rootfs), "/usr/bin/python3", "-c", code]
    told = subprocess.run(command, env={"PYTHONPATH": HOME}, capture_output=True, text=True, check=False)
    assert told.stdout.split() == ["True", f"{HOME}/testbed/nodes/__init__.py", "True"], told.stderr
    shell = subprocess.run(
        ["/usr/sbin/chroot", str(node_image.rootfs), "/bin/sh", "-c", "ip -V; ls /"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "iproute2" in shell.stdout
    for source in sorted((ROOT / "nodes").rglob("*.py")):
        inside = node_image.rootfs / HOME.lstrip("/") / "testbed" / source.relative_to(ROOT)
        assert inside.read_bytes() == source.read_bytes()


def test_another_version_of_nodes_has_another_name(tmp_path: Path) -> None:
    """So an image of other sources is never run by mistake: the one that is wanted is not there."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "testbed", clone / "testbed", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "testbed" / "nodes" / "agent" / "timers.py").open("a").write("# changed\n")
    ask = [sys.executable, "-m", "testbed.cli.main", "image", "name"]
    told = subprocess.run(
        ask, cwd=clone, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert told.stdout.strip() != image_name()
    assert told.stdout.startswith("oae-node:")


@pytest.mark.parametrize(
    ("change", "value", "said"),
    [
        ("PYTHON", "/usr/bin/no-python", "there is no /usr/bin/no-python. Install it: apt-get install python3"),
        ("LEAST_PYTHON", (9, 9), "and nodes need 9.9 or newer. Build it from nodes/Dockerfile"),
        ("SYSTEM_FOLDERS", "/nowhere", "there is no dash. apt-get install dash"),
    ],
)
def test_what_is_missing_is_said_in_one_line_and_nothing_is_left(
    change: str, value: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAE_CACHE", str(tmp_path))
    monkeypatch.setattr(images, change, value)
    with pytest.raises(ImageUnavailable) as caught:
        build()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "oae-testbed" / "image").iterdir()] == [".lock"]
