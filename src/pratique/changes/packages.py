"""Two reports in, the packages that came, went or have another version out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cmp_to_key

from pratique.changes import causes
from pratique.changes.facts import Facts, Half, Identity, identity
from pratique.model.change import PackageChange, PackageChanged, PackageState
from pratique.model.errors import BudgetExceededError, UnorderableVersionError
from pratique.model.inventory import Package
from pratique.versions import compare


def packages(facts: Facts) -> list[PackageChange]:
    """Compare. Versions of one name pair up in their order, the oldest with the oldest; what is over came or went."""
    olds, news = _only(facts.old, facts.new), _only(facts.new, facts.old)
    found = [
        change for what in sorted(olds.keys() | news.keys()) for change in _of(facts, olds.get(what, []), news.get(what, []))
    ]
    return sorted(
        found, key=lambda change: (change.type, change.name, *(item.purl if item else "" for item in (change.old, change.new)))
    )


def _only(has: Half, lacks: Half) -> dict[Identity, list[Package]]:
    """Return, by what they are, the packages whose version the other does not have."""
    others = {(identity(package), package.version) for package in lacks.report.packages}
    found: dict[Identity, list[Package]] = {}
    seen: set[tuple[Identity, str]] = set()
    for package in has.report.packages:
        key = (identity(package), package.version)
        if key not in others and key not in seen:
            seen.add(key)
            found.setdefault(key[0], []).append(package)
    return {what: _sorted(group) for what, group in found.items()}


def _sorted(group: list[Package]) -> list[Package]:
    def order(one: Package, other: Package) -> int:
        return compare(one.ecosystem, one.version, other.version)

    try:
        return sorted(group, key=cmp_to_key(order))
    except (UnorderableVersionError, BudgetExceededError):
        return sorted(group, key=lambda package: package.version)


def _of(facts: Facts, olds: list[Package], news: list[Package]) -> Iterator[PackageChange]:
    both = min(len(olds), len(news))
    for old, new in zip(olds[:both], news[:both], strict=True):
        yield _change(facts, _direction(old, new), old, new)
    for old in olds[both:]:
        yield _change(facts, "removed", old, None)
    for new in news[both:]:
        yield _change(facts, "added", None, new)


def _direction(old: Package, new: Package) -> PackageChanged:
    try:
        order = compare(new.ecosystem, old.version, new.version)
    except (UnorderableVersionError, BudgetExceededError):
        return "changed"
    return "upgraded" if order < 0 else "downgraded" if order > 0 else "changed"


def _change(facts: Facts, change: PackageChanged, old: Package | None, new: Package | None) -> PackageChange:
    package = new or old
    assert package is not None
    return PackageChange(
        change=change,
        name=package.name,
        type=package.type,
        ecosystem=package.ecosystem,
        old=_state(old, facts.old),
        new=_state(new, facts.new),
        cause=causes.of_package(facts, package, facts.new if new is not None else facts.old),
    )


def _state(package: Package | None, half: Half) -> PackageState | None:
    if package is None:
        return None
    place = package.locations[0] if package.locations else None
    layer = place.layer if place is not None else ""
    return PackageState(
        purl=package.purl,
        version=package.version,
        path=place.path if place is not None else "",
        layer=layer,
        instruction=half.instructions.get(layer, ""),
    )
