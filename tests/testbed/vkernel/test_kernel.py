"""Finding and building the kernel, on a source tree that takes a second to build."""

import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from needs import MOOT, lacking
from vkernel_helpers import processes_below

from testbed.engines.vkernel import kernel as kernels
from testbed.engines.vkernel.kernel import VKernelUnavailable

MAKEFILE = """\
tinyconfig:
\ttouch .config
olddefconfig:
\tgrep -q CONFIG_HOSTFS=y .config
linux:
\t@echo '  CC      init/main.o'
\t{extra}
\techo built >> {count}
\tcp {binary} linux
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no patches: the small tree has nothing to patch."""
    monkeypatch.setenv("OAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OAE_KERNEL", raising=False)
    monkeypatch.delenv("OAE_KERNEL_SOURCE", raising=False)
    monkeypatch.setattr(kernels, "PATCHES", tmp_path)
    if kernels.missing_build_tools():
        lacking("tools", f"build tools are missing: {kernels.missing_build_tools()}")
    return kernels.cache_folder()


def small_source(folder: Path, extra: str = "true", name: str = "linux-small.tar.xz") -> Path:
    """A tarball that looks like a kernel tree; `count` beside it gets a line per build."""
    tree = folder / "linux-small"
    (tree / "arch/um").mkdir(parents=True, exist_ok=True)
    (tree / "arch/um/Makefile").touch()
    (tree / "Makefile").write_text(
        MAKEFILE.format(extra=extra, count=folder / "count", binary=Path("/bin/true").resolve())
    )
    with tarfile.open(folder / name, "w:xz") as archive:
        archive.add(tree, "linux-small")
    return folder / name


def test_a_build_is_installed_whole_and_found_again(cache: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    source = small_source(tmp_path)
    built = kernels.build_kernel(source, lambda stage, share: told.append((stage, share)))
    assert built.parent.parent == cache
    assert subprocess.run([built], check=False).returncode == 0
    assert kernels.find_kernel() == built
    assert kernels.build_kernel(source) == built
    assert (tmp_path / "count").read_text() == "built\n"
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1] == ("built", 1.0)
    assert "compiling" in {stage for stage, _ in told}


def test_another_recipe_is_another_kernel(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = kernels.build_kernel(small_source(tmp_path))
    fragment = tmp_path / "fragment"
    fragment.write_text("CONFIG_HOSTFS=y\n")
    monkeypatch.setattr(kernels, "FRAGMENT", fragment)
    assert kernels.find_kernel() is None
    assert kernels.build_kernel(small_source(tmp_path)) != built


def test_a_kernel_can_be_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAE_KERNEL", "/bin/true")
    assert kernels.find_kernel() == Path("/bin/true")
    monkeypatch.setenv("OAE_KERNEL", "/nowhere/linux")
    assert kernels.find_kernel() is None


def test_a_failing_build_leaves_nothing_and_says_why(cache: Path, tmp_path: Path) -> None:
    source = small_source(tmp_path, extra="@echo no such header; exit 3")
    with pytest.raises(VKernelUnavailable, match="no such header") as caught:
        kernels.build_kernel(source)
    assert "build.log" in caught.value.advice
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "build.log"]
    assert kernels.find_kernel() is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_half_installed(cache: Path, tmp_path: Path, how: signal.Signals) -> None:
    source = small_source(tmp_path, extra=f"touch {tmp_path}/begun; exec sleep 600")
    code = "import sys; from pathlib import Path; from testbed.engines.vkernel import kernel as k;"
    code += f"k.PATCHES = Path({str(tmp_path)!r}); sys.exit(k.main(['build', '--source', {str(source)!r}]))"
    builder = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "begun").exists)
    builder.send_signal(how)
    assert builder.wait(timeout=20) != 0
    wait_until(lambda: not processes_below(cache))  # not make alone: found when a compiler's stand-in stayed behind
    assert kernels.find_kernel() is None
    good = small_source(tmp_path, name="linux-good.tar.xz")
    assert kernels.build_kernel(good).exists()
    assert not list(cache.glob(".build-*"))


def test_two_builds_at_once_build_once(cache: Path, tmp_path: Path) -> None:
    source = small_source(tmp_path, extra="sleep 0.5")
    got: list[Path] = []
    builders = [threading.Thread(target=lambda: got.append(kernels.build_kernel(source))) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(got) == 3
    assert len(set(got)) == 1
    assert (tmp_path / "count").read_text() == "built\n"


def test_no_source_says_how_to_get_one(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SOURCE_FOLDER", tmp_path / "nothing")
    with pytest.raises(VKernelUnavailable, match="apt-get install linux-source"):
        kernels.build_kernel()
    with pytest.raises(VKernelUnavailable, match="missing is not a file"):
        kernels.find_source(tmp_path / "missing")


def test_a_tarball_that_is_no_kernel_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "note", "note")
    with pytest.raises(VKernelUnavailable, match="no kernel tree"):
        kernels.build_kernel(tmp_path / "x.tar")


def test_missing_tools_are_named_as_packages(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {"bison", "flex", "gcc", "xz-utils"} <= set(kernels.missing_build_tools())
    with pytest.raises(VKernelUnavailable, match="apt-get install"):
        kernels.build_kernel(small_source(tmp_path))


def test_a_cache_that_cannot_be_written_is_said(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(VKernelUnavailable, match="OAE_CACHE"):
        kernels.build_kernel(small_source(tmp_path))


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = os.uname_result(("Linux", "host", "6.1", "1", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: arm)
    with pytest.raises(VKernelUnavailable, match="aarch64"):
        kernels.build_kernel()


def test_all_of_the_fragment_reached_the_kernel(kernel: Path) -> None:
    """A line that Kconfig drops without a word would be missed only when somebody needs it."""
    if not (kernel.parent / "config").exists():
        lacking(MOOT, "a kernel named in OAE_KERNEL has no configuration beside it")
    taken = set((kernel.parent / "config").read_text().splitlines())
    asked = [line for line in kernels.FRAGMENT.read_text().splitlines() if line.startswith("CONFIG_")]
    wanted = [line for line in asked if not line.endswith("=n") and line not in taken]
    unwanted = [line for line in asked if line.endswith("=n") and line[:-1] + "y" in taken]
    assert (wanted, unwanted) == ([], [])


def wait_until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
