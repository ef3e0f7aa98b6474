"""A search that is kept in a file, to be gone on with later."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from testbed.errors import UserError
from testbed.explore.breadth import Search
from testbed.explore.schedule import Asked
from testbed.explore.states import States
from testbed.explore.worlds import Worlds

_MAGIC = b"testbed explore, a search\n"


def keep(search: Search, asked: Asked, code: str, path: Path) -> None:
    """Writes it, whole or not at all. code: a hash of the code that it was made with."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(_MAGIC)
        pickle.dump((code, asked, search.symmetric), file, pickle.HIGHEST_PROTOCOL)
        pickle.dump((search.worlds.states, search.state()), file, pickle.HIGHEST_PROTOCOL)
    os.replace(unfinished, path)


def take_up(path: Path, asked: Asked, code: str, symmetric: bool = False) -> Search:
    """The search in the file. What is read is run: take up files of your own only.

    Raises UserError where it holds none, another one, or one of other code, whose states may not be those of today.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{path} holds no search; name another file with --resume")
        try:
            was_code, *was_asked = pickle.load(file)
            if was_asked != [asked, symmetric]:
                raise UserError(f"{path} holds a search that asks for something else; name another file with --resume")
            if was_code != code:
                raise UserError(f"{path} was made with other code; delete it, or name another file with --resume")
            states, state = pickle.load(file)
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, TypeError, ValueError) as error:
            raise UserError(f"{path} can't be read ({error}); delete it, or name another file with --resume") from None
    assert isinstance(states, States)
    model = asked.model()
    states.adopt(model)
    return Search(Worlds(model, asked.rules, states), state)
