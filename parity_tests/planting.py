"""What a planted bug is: a mistake of this field, typed into one module of `scratch`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlantedBug:
    """A mistake that was made in the world, as a change of one module.

    `old` stands in the module's source once, `new` takes its place. The tests of the `concept`,
    test_<concept>.py, must fail on it. `seen` says where the mistake was met.
    """

    name: str
    module: str
    concept: str
    old: str
    new: str
    seen: str

    def plant(self, source: str) -> str:
        """Return the source with the mistake in it, or raise ValueError where it does not fit."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(
                f"expected {self.old!r} to stand in {self.module} once, for {self.name}, "
                f"got {found} times"
            )
        return source.replace(self.old, self.new)
