"""What a shell completes: names of what there is, found without loading anything that takes long."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def scenarios(incomplete: str) -> list[str]:
    """Those that ship, and documents here."""
    return _documents("scenarios", incomplete)


def studies(incomplete: str) -> list[str]:
    """Those that ship, and documents here."""
    return _documents("studies", incomplete)


def grounds(incomplete: str) -> list[str]:
    """Kinds of topology, and scenarios."""
    return _beginning([*_topologies(), "from_file"], incomplete) + scenarios(incomplete)


def engines(incomplete: str) -> list[str]:
    """What runs a scenario."""
    from testbed.engines.registry import ENGINES

    return _beginning(ENGINES, incomplete)


def fabrics(incomplete: str) -> list[str]:
    """Those that are up."""
    from testbed.cli.fabrics import running

    return _beginning((entry.name for entry in running(tidy=False)), incomplete)


def nodes(incomplete: str) -> list[str]:
    """Of all fabrics that are up."""
    from testbed.cli.fabrics import running

    return _beginning(dict.fromkeys(node for entry in running(tidy=False) for node in entry.nodes), incomplete)


def runs(incomplete: str) -> list[str]:
    """The last run, and all in ./runs."""
    return _beginning(["latest", *(str(path.parent) for path in Path("runs").glob("*/meta.json"))], incomplete)


def names(incomplete: str) -> list[str]:
    """Whatever `testbed show` knows by its name alone."""
    return list(dict.fromkeys(grounds(incomplete) + studies(incomplete) + engines(incomplete) + runs(incomplete)))


def _documents(folder: str, incomplete: str) -> list[str]:
    from testbed.shipped import shipped

    ours = (path.stem for path in shipped(folder).glob("*.yaml"))
    return _beginning([*ours, *(str(path) for path in Path().glob("*.yaml"))], incomplete)


def _topologies() -> list[str]:
    from testbed.topologies.build import KINDS

    return list(KINDS)


def _beginning(known: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in known if name.startswith(incomplete))
