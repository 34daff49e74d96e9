"""A text in, the text with what can be mended mended out.

Each round of rewrites is checked, and one that does not help is not kept.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from pratique.lint.check import Checked
from pratique.lint.checks.podsecurity import LATEST, Version
from pratique.lint.fixes import dockerfile, yaml
from pratique.lint.fixes.edit import Fix, applied, chosen
from pratique.lint.hit import Hit
from pratique.lint.run import UnreadError, check

MAX_CHECKS = 300  # of one file: fixes at one place wait for one another (a container has ten), and one in many may not help


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """A text after its fixes, and what was done; `text` is the same object where nothing was."""

    text: str
    done: tuple[Fix, ...] = ()


def fixes(checked: Checked) -> list[Fix]:
    """Return every fix of what was found and is not accepted, safe or not, in the order of the text."""
    propose = _proposer(checked)
    found = (propose(name, hit) for name, hit in checked.hits if not _accepted(checked, name, hit))
    return [fix for fix in found if fix is not None]


def _accepted(checked: Checked, name: str, hit: Hit) -> bool:
    ignore = checked.ignore(name, hit)
    return ignore is not None and not ignore.ended


def _proposer(checked: Checked) -> Callable[[str, Hit], Fix | None]:
    if checked.build is not None:
        scene = dockerfile.Scene(checked.text, checked.build)
        return lambda name, hit: dockerfile.propose(scene, name, hit)
    manifests = yaml.Scene(checked.text, checked.nodes)
    return lambda name, hit: yaml.propose(manifests, checked.kind, name, hit)


def mend(path: str, text: str, now: dt.datetime, version: Version = LATEST, *, unsafe: bool = False) -> Mended:
    """Apply the safe fixes (or all) until none is left. Raises UnreadError for a text that cannot be checked.

    A text that nothing is wrong with comes back as it is; mending a mended text changes nothing.
    """
    rounds = _Rounds(lambda new: check(path, new, now, version))
    checked = check(path, text, now, version)
    done: list[Fix] = []
    useless: set[tuple[str, str]] = set()
    while rounds.left > 0:
        offered = [fix for fix in fixes(checked) if (fix.safe or unsafe) and (fix.id, fix.hit.content) not in useless]
        if not offered:
            break
        kept, dropped, checked = rounds.round(checked, chosen(offered))
        useless.update((fix.id, fix.hit.content) for fix in dropped)
        done += kept
    return Mended(text=checked.text if done else text, done=tuple(done))


class _Rounds:
    def __init__(self, recheck: Callable[[str], Checked]) -> None:
        self._recheck = recheck
        self.left = MAX_CHECKS

    def round(self, before: Checked, together: Sequence[Fix]) -> tuple[Sequence[Fix], Sequence[Fix], Checked]:
        """Apply fixes together where that helps, else a part of them that does; return these, and those that help nowhere."""
        after = self._tried(before, together)
        if after is not None:
            return together, (), after
        if len(together) == 1 or self.left <= 0:
            return (), together, before
        half = len(together) // 2
        kept, dropped, after = self.round(before, together[:half])
        if kept:
            return kept, dropped, after
        kept, more, after = self.round(before, together[half:])
        return kept, [*dropped, *more], after

    def _tried(self, before: Checked, together: Sequence[Fix]) -> Checked | None:
        """Return the text with fixes, checked; None unless what they mend is rarer and nothing else more frequent."""
        self.left -= 1
        try:
            after = self._recheck(applied(before.text, together))
        except UnreadError:
            return None
        old, new = _counts(before.hits), _counts(after.hits)
        grown = any(new[name] > old[name] for name in new) or len(after.gaps) > len(before.gaps) or after.kind != before.kind
        return after if not grown and all(new[fix.id] < old[fix.id] for fix in together) else None


def _counts(hits: Iterable[tuple[str, Hit]]) -> Counter[str]:
    return Counter(name for name, _ in hits)
