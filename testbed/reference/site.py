"""``make docs``: builds the documentation into site/, without the network; --serve then shows it on loopback."""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
_LOOPBACK = "127.0.0.1"


def build(target: Path) -> None:
    """The whole site. Raises mkdocs.exceptions.Abort when there is anything to warn of."""
    from mkdocs.commands.build import build as built
    from mkdocs.config import load_config

    config = load_config(str(CLONE / "mkdocs.yml"), site_dir=str(target), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    built(config)
    config.plugins.on_shutdown()


def serve(folder: Path, port: int) -> None:
    """Until it is interrupted."""
    with ThreadingHTTPServer((_LOOPBACK, port), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        print(f"http://{_LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> int:
    """Exit code 0: it was built; 2: it could not be, and stderr says why."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="show it on loopback")
    parser.add_argument("--port", type=int, default=8000, help="where (default: 8000; 0: any that is free)")
    parser.add_argument("--out", type=Path, default=CLONE / "site", help="the site's folder (default: site/)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        from mkdocs.exceptions import Abort, ConfigurationError
    except ImportError:
        print("make docs: MkDocs is missing; pip install -e '.[docs]'", file=sys.stderr)
        return 2
    try:
        build(given.out)
    except (Abort, ConfigurationError) as error:
        print(f"make docs: {error}", file=sys.stderr)
        return 2
    print(f"the site is in {given.out}; open {given.out / 'index.html'}")
    if given.serve:
        serve(given.out, given.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
