"""``testbed image build|testbed|name|status``: the image of nodes in containers, and that of the whole testbed, made
from this machine's own packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.output import JsonFlag, Milestones, console, print_json, progress_bar, verb

if TYPE_CHECKING:
    from testbed.engines.live.containers.engine import ContainerEngine

app = typer.Typer(help="The image of nodes in containers (nodes: container).", no_args_is_help=True)


@app.command("build")
@verb
def build(json: JsonFlag = False) -> None:
    """Make the image, without any registry, and hand it to the container engine where there is one."""
    from testbed.engines.live.containers.image import build as build_image

    image = build_image()
    engine, why = _engine()
    if engine is not None:
        engine.load_image(image.archive)
    if json:
        print_json({"image": image.name, "digest": image.digest, "engine": engine.address if engine else None})
        return
    print(f"{image.name} {image.digest}")
    screen = console()
    screen.print(f"in the cache, for vkernel: {image.rootfs.parent}", soft_wrap=True)
    told = f"in the engine, for live: {engine.about()}" if engine else f"in no engine, so not for live: {why}"
    screen.print(told, soft_wrap=True)


@app.command("testbed")
@verb
def whole(
    out: Annotated[Path, typer.Option("--out", "-o", help="The archive, as docker load takes it (600 MB).")] = Path(
        "oae-testbed.tar"
    ),
    json: JsonFlag = False,
) -> None:
    """Make the image in which this command itself runs, with its virtual-time kernel inside, and hand it to the
    container engine where there is one."""
    from testbed.engines.live.containers.whole import build as build_whole
    from testbed.engines.live.containers.whole import image_name

    with progress_bar() as bar:
        task = bar.add_task("image", total=1.0, state="")
        milestones = Milestones("image", quiet=not bar.disable)

        def report(stage: str, share: float) -> None:
            bar.update(task, completed=share, state=stage)
            milestones(stage, share)

        digest = build_whole(out, report)
    name = image_name()
    engine, why = _engine()
    if engine is not None:
        engine.load_image(out)
    if json:
        print_json({"image": name, "digest": digest, "file": str(out), "engine": engine.address if engine else None})
        return
    print(f"{name} {digest}")
    told = f"in the engine: {engine.about()}" if engine else f"in no engine ({why}): docker load -i {out}"
    console().print(told, soft_wrap=True)
    console().print(
        f"then, with a folder of yours: docker run --rm -v $PWD:/work {name} run nic-crash-mid-swap -e vkernel",
        soft_wrap=True,
    )


@app.command("name")
@verb
def name() -> None:
    """Print the image's name, for `docker build -f nodes/Dockerfile -t "$(testbed image name)" .` with a registry."""
    from testbed.engines.live.containers.image import image_name

    print(image_name())


@app.command("status")
@verb
def status(json: JsonFlag = False) -> None:
    """Say which image belongs to the present nodes/, and where it is."""
    from testbed.engines.live.containers.image import find_image, image_name

    wanted, image = image_name(), find_image()
    engine, why = _engine()
    loaded = engine is not None and engine.has_image(wanted)
    if json:
        cached = {"digest": image.digest, "folder": str(image.rootfs.parent)} if image else None
        print_json({"image": wanted, "cache": cached, "engine": engine.address if engine else None, "loaded": loaded})
        return
    screen = console()
    screen.print(f"image:  {wanted}", soft_wrap=True)
    screen.print(f"cache:  {f'{image.digest} in {image.rootfs.parent}' if image else _NOT_MADE}", soft_wrap=True)
    screen.print(f"engine: {why or (engine.about() if loaded and engine else _NOT_MADE)}", soft_wrap=True)


_NOT_MADE = "not there: testbed image build"


def _engine() -> tuple[ContainerEngine | None, str]:
    """This host's engine, or why there is none."""
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.containers.engine import ContainerEngine

    try:
        return ContainerEngine.find(), ""
    except EngineUnavailable as error:
        return None, f"{error.why}. {error.advice}"
