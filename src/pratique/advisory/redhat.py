"""Red Hat's product names in, ecosystems out: which of its streams are kept, and under which one name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pratique.advisory.keys import Keys
from pratique.model.advisory import VersionRange
from pratique.model.ecosystems import canonical

_Point = tuple[str, bytes]  # a version and its key

_PREFIX = "Red Hat:"
_MAIN = "enterprise_linux:"
# Extended, Advanced Mission Critical, Telco, for SAP, Extended Life Cycle: https://access.redhat.com/support/policy/updates/errata
_EXTENDED = frozenset(("rhel_eus", "rhel_aus", "rhel_tus", "rhel_e4s", "rhel_els", "rhel_eus_long_life"))
# The minor release that a build was made for: 2.9-10.el9_2.4; whatever follows it counts builds.
_TAG = re.compile(r"(\.el\d+_)(\d+)(?:\.[\d.]+)?\Z")


def place(ecosystem: str) -> str:
    """Return where a package is looked up: "Red Hat:enterprise_linux:9::appstream" -> "Red Hat:enterprise_linux:9".

    No package of a release is in two repositories. From 10 on the minor release stands in the name, too, and is left out: fixes
    go on from one to the next. All other ecosystems: as `canonical` writes them.
    """
    if not ecosystem.startswith(_PREFIX):
        return canonical(ecosystem)
    product = ecosystem.removeprefix(_PREFIX).partition("::")[0].rstrip(":")
    if product.startswith(_MAIN):
        product = _MAIN + product.removeprefix(_MAIN).partition(".")[0].partition(":")[0]
    return _PREFIX + product


def place_of_cpe(cpe: str) -> str | None:
    """Return the same of a CPE ("cpe:/a:redhat:enterprise_linux:9::appstream"); None for every product but the main stream.

    Extended streams (EUS, AUS, E4S) number their fixes apart, and layered products ship packages of their own.
    """
    head, _, product = cpe.partition(":redhat:")
    if head not in {"cpe:/o", "cpe:/a"} or not product.startswith(_MAIN):
        return None
    return place(_PREFIX + product)


def extended_of_cpe(cpe: str) -> str | None:
    """Return the main stream that an extended one goes on from: "cpe:/o:redhat:rhel_eus:9.2::baseos" -> as above.

    Which stream an image is of stands nowhere in its packages, but their versions say from which minor release they were built.
    """
    head, _, product = cpe.partition(":redhat:")
    name, _, release = product.partition(":")
    if head not in {"cpe:/o", "cpe:/a"} or name not in _EXTENDED or not release[:1].isdigit():
        return None
    return place(_PREFIX + _MAIN + release.partition(":")[0])


def carve(ranges: Sequence[VersionRange], extended: Iterable[str], keys: Keys) -> tuple[VersionRange, ...]:
    """Take the builds of extended streams that have a fix out of `ranges`.

    1.0-10.el9_2.4 of a stream that goes on from 9.2 has the fix, and so have later builds with the same number up to
    1.0-10.el9_3; whatever is built for a later minor release goes by the ranges of the main stream.
    """
    kept = tuple(ranges)
    for fix in sorted(extended):
        end = _TAG.sub(lambda found: f"{found[1]}{int(found[2]) + 1}", fix) if _TAG.search(fix) else ""
        start, stop = keys(fix), keys(end) if end else None
        if start is not None and stop is not None and start < stop:
            kept = tuple(part for one in kept for part in _without(one, (fix, start), (end, stop), keys))
    return kept


def _without(one: VersionRange, fix: _Point, end: _Point, keys: Keys) -> Iterator[VersionRange]:
    low = keys(one.introduced) if one.introduced else b""
    high = keys(one.fixed) if one.fixed else None
    if low is None or (one.fixed and high is None) or (high is not None and fix[1] >= high) or end[1] <= low:
        yield one
        return
    if low < fix[1]:
        yield VersionRange(one.introduced, fix[0])
    if high is None or end[1] < high:
        yield VersionRange(end[0], one.fixed)
