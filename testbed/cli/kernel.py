"""``testbed kernel build|status``: the virtual-time kernel, built once and cached outside the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.output import JsonFlag, Milestones, console, print_json, progress_bar, verb

app = typer.Typer(help="The virtual-time kernel that the engine vkernel boots.", no_args_is_help=True)


@app.command("build")
@verb
def build(
    source: Annotated[Path | None, typer.Option(help="Kernel source tarball (default: the distribution's).")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Compilers at once (default: one per core).")] = None,
    json: JsonFlag = False,
) -> None:
    """Build the kernel unless it is in the cache, and print its path."""
    from testbed.engines.vkernel.kernel import build_kernel

    with progress_bar() as bar:
        task = bar.add_task("virtual-time kernel", total=1.0, state="")
        milestones = Milestones("virtual-time kernel", quiet=not bar.disable)

        def report(stage: str, share: float) -> None:
            bar.update(task, completed=share, state=stage)
            milestones(stage, share)

        path = build_kernel(source, report, jobs)
    if json:
        print_json({"kernel": str(path)})
    else:
        print(path)


@app.command("status")
@verb
def status(json: JsonFlag = False) -> None:
    """Say whether the kernel is built, and what building it would take."""
    from testbed.engines.vkernel.kernel import (
        VKernelUnavailable,
        cache_folder,
        find_kernel,
        find_source,
        missing_build_tools,
    )

    found, lacking = find_kernel(), missing_build_tools()
    try:
        source, why = str(find_source().archive), ""
    except VKernelUnavailable as error:
        source, why = "", f"{error.why}. {error.advice}"
    if json:
        print_json(
            {
                "kernel": str(found) if found else None,
                "cache": str(cache_folder()),
                "source": source or None,
                "missing_tools": lacking,
            }
        )
        return
    screen = console()
    screen.print(f"kernel: {found or 'not built yet: testbed kernel build'}", soft_wrap=True)
    screen.print(f"cache:  {cache_folder()}", soft_wrap=True)
    screen.print(f"source: {source or why}", soft_wrap=True)
    if lacking:
        screen.print(f"tools:  missing, apt-get install {' '.join(lacking)}", soft_wrap=True)
