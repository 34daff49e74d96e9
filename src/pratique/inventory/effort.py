"""What following the links and folders of an image costs in, an end to it out: layers are put together outside the sandbox."""

from __future__ import annotations

from pratique.model.errors import BudgetExceededError

# Bytes of paths that were looked at; what stays in memory counts four times. An image of 100,000 files takes some ten million;
# this is some seconds' work and a gigabyte, whatever the layers hold.
MAX_EFFORT = 2 << 30
KEPT = 4
EACH = 64  # what a path costs besides its bytes: an object and an entry of a table


class Effort:
    """How much work may still be done for one image."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_EFFORT

    def spend(self, cost: int) -> None:
        """Take some. Raises BudgetExceededError when there is no more."""
        self._left -= cost
        if self._left < 0:
            raise BudgetExceededError(
                "the links and folders of this image take more work to follow than any image's",
                hint="it was made to exhaust whoever reads it",
            )

    def climb(self, path: bytes, above: set[bytes]) -> None:
        """Add all folders above a path that are not there."""
        folder = path.rpartition(b"/")[0]
        cost = 0
        while folder and folder not in above:
            above.add(folder)
            cost += len(folder) + EACH
            folder = folder.rpartition(b"/")[0]
        if cost:
            self.spend(KEPT * cost)
