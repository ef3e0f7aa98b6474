"""What whoever starts a run tells its supervisor about containers: a file in the folder of the job."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "containers.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """How this run's containers are made.

    program: what runs them: the address of an engine's socket (unix://...), or the path of an OCI runtime.
    image: a name that the engine knows, or the folder of the root file system. run: names the run in containers' names
    and labels; owner: names its process (see ledger.py). host_proc: a descriptor of the host's /proc, for whoever has a
    process namespace of its own. folder: where the sockets to containers lie.
    """

    program: str
    image: str
    run: str = ""
    owner: str = ""
    host_proc: int = -1
    folder: str = ""

    def write(self, job: Path) -> None:
        """Into a job's folder."""
        (job / _FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, job: Path) -> Settings:
        """From a job's folder."""
        return cls(**json.loads((job / _FILE).read_text(encoding="utf-8")))
