"""A protocol made of rounds: one round, and the value of the first member that was heard in it is decided."""

from collections.abc import Mapping

from .registers import read, written


class FirstWins:
    """Whoever of those that were heard comes first among the members decides. Nobody may be missed."""

    ENGINE = {"most_f": lambda n: 0, "rule": "f = 0", "indulgent": False, "rounds_per_instance": lambda f: 1}

    def __init__(self, me: int, members: tuple[int, ...], f: int, value: int) -> None:
        self.value = value

    def message(self, round_: int) -> bytes:
        return written(self.value)

    def deliver(self, round_: int, heard: Mapping[int, bytes]) -> int | None:
        return read(heard[min(heard)]) if round_ == 0 else None

    def snapshot(self) -> bytes:
        return written(self.value)

    def restore(self, snapshot: bytes) -> None:
        self.value = read(snapshot)
