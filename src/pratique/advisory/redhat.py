"""Red Hat's product names in, ecosystems out: which of its streams are kept, and under which one name."""

from __future__ import annotations

from pratique.model.ecosystems import canonical

_PREFIX = "Red Hat:"
_MAIN = "enterprise_linux:"


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
