"""SUSE's OVAL definitions in, advisories out: what is not mended yet, and what is not affected, by CVE.

https://www.suse.com/support/security/oval/ ("affected" files, one a service pack). Fixed versions are OSV's to tell, with their
notices; here they only keep a package from being called unaffected. Ecosystems are OSV's.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from pratique.advisory.archive import unreadable
from pratique.advisory.xml import Bounded, elements, text
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

_UPSTREAM = "https://ftp.suse.com/pub/projects/security/oval"
# The largest have some 20 MB, inflated 400 MB.
_MAX_BYTES = 256 << 20
# The modules of SUSE Linux Enterprise 15 whose packages matching asks for.
MODULES = (
    "Basesystem",
    "Server Applications",
    "Development Tools",
    "Containers",
    "Python 3",
    "Web and Scripting",
    "Legacy",
)
_SERVICE_PACKS = range(3, 8)
_LEAPS = ("15.5", "15.6")
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}")
_PRODUCT = re.compile(
    r"(?:SUSE (Linux Enterprise (?:Server|Desktop|Module for [\w ]+?) \d[\w. -]*)|openSUSE (Leap [\d.]+)) is installed"
)
_STATED = re.compile(r"(\S+) is (not affected|affected|installed)")
_VERSION = re.compile(r"-[^-\s]+-[^-\s]+\Z")
# Definitions nest three or four levels deep.
_MAX_DEPTH = 12

_LTSS = "-LTSS"
_Statements = dict[tuple[str, str], dict[str, str]]  # (ecosystem, package) -> what is said of it -> version with the fix, if any


class Suse:
    """One feed a service pack, with its modules; a scan fetches that of its image."""

    name = "suse"

    def feeds(self) -> Sequence[Feed]:
        packs = [
            (f"suse.linux.enterprise.15-sp{pack}-affected.xml.gz", f"15-sp{pack}", _places(f"15 SP{pack}", modules=True))
            for pack in _SERVICE_PACKS
        ]
        packs += [
            ("suse.linux.enterprise.12-sp5-affected.xml.gz", "12-sp5", _places("12 SP5", modules=False)),
            ("suse.linux.enterprise.server.16.0-affected.xml.gz", "16.0", _places("16.0", modules=False)),
            *((f"opensuse.leap.{leap}-affected.xml.gz", f"leap-{leap}", (f"openSUSE:Leap {leap}",)) for leap in _LEAPS),
        ]
        return [
            Feed(
                name=f"suse/{name}",
                path=f"suse/oval/{file}",
                url=f"{_UPSTREAM}/{file}",
                max_bytes=_MAX_BYTES,
                ecosystems=places,
                licence="CC-BY-4.0",
            )
            for file, name, places in packs
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        wanted = frozenset(feed.ecosystems)
        try:
            with gzip.GzipFile(fileobj=body) as stream:
                for element in elements(Bounded(stream, feed.name), "definition", "definitions", feed.name):
                    if element.get("class") != "vulnerability":
                        continue
                    try:
                        found = _advisory(element, wanted)
                    except ValueError as error:
                        yield unreadable(feed.name, element.get("id") or "a definition", str(error))
                        continue
                    if found is not None:
                        yield found
        except (OSError, EOFError, zlib.error) as error:
            raise ParseError(f"{feed.name}: not a gzip file, or cut short: {error}") from error


def _places(release: str, *, modules: bool) -> tuple[str, ...]:
    products = [f"Server {release}", f"Desktop {release}", f"Server {release}-LTSS"]
    products += [f"Module for {name} {release}" for name in MODULES] if modules else []
    return tuple(f"SUSE:Linux Enterprise {product}" for product in products)


def _advisory(element: _Element, wanted: frozenset[str]) -> Advisory | None:
    """Return what a definition says of the packages of `wanted`; None where that is nothing new."""
    metadata = element.find("{*}metadata")
    title = _CVE.fullmatch(text(metadata, "title")) if metadata is not None else None
    if metadata is None or title is None:
        raise ValueError("has no CVE for a title")
    criteria = element.find("{*}criteria")
    said: _Statements = {}
    if criteria is not None:
        _read(criteria, (), said, 0)
    rows = tuple(_affected(said, wanted, _impact(metadata)))
    if not rows:
        return None
    advisory = metadata.find("{*}advisory")
    issued, updated = (advisory.find(f"{{*}}{name}") if advisory is not None else None for name in ("issued", "updated"))
    return Advisory(
        id=title[0],
        source="suse",
        cvss=_vectors(metadata),
        references=(f"https://www.suse.com/security/cve/{title[0]}",),
        published=_day(issued),
        modified=_day(updated if updated is not None else issued),
        affected=rows,
    )


def _affected(said: _Statements, wanted: frozenset[str], severity: str) -> Iterator[Affected]:
    mended = {package for (_, package), words in said.items() if words.keys() & {"installed", "affected"}}
    sold = {package: words["installed"] for (place, package), words in said.items() if _LTSS in place and "installed" in words}
    for (place, package), words in sorted(said.items()):
        if place not in wanted:
            continue
        if "affected" in words:
            fix = sold.get(package, "")
            yield Affected(
                ecosystem=place,
                name=package,
                ranges=(VersionRange("", fix),),
                severity=severity,
                state="" if fix else "unfixed",
                note="with LTSS" if fix else "",
            )
        elif "installed" not in words and package not in mended:  # another product's fix says that its code was the same
            yield Affected(ecosystem=place, name=package, state="not-affected")


def _read(criteria: _Element, places: tuple[str, ...], said: _Statements, depth: int) -> None:
    """Gather what is said of packages: installed (with the version that has the fix), affected, not affected."""
    if depth > _MAX_DEPTH:
        raise ValueError("is nested too deep")
    comments = [one.get("comment") or "" for one in criteria.iterfind("{*}criterion")]
    children = list(criteria.iterfind("{*}criteria"))
    if criteria.get("operator", "AND") == "AND":
        # Products stand in a branch of their own beside the packages, or alone as a criterion.
        places = tuple(_products([*comments, *(c for child in children for c in _comments(child))])) or places
    for comment in comments:
        stated = _STATED.fullmatch(comment)
        if stated is None or _PRODUCT.fullmatch(comment):
            continue
        name = _VERSION.sub("", stated[1]) if stated[2] == "installed" else stated[1]
        for place in places:
            said.setdefault((place, name), {})[stated[2]] = stated[1][len(name) + 1 :]
    for child in children:
        _read(child, places, said, depth + 1)


def _comments(criteria: _Element) -> list[str]:
    return [one.get("comment") or "" for one in criteria.iterfind("{*}criterion")]


def _products(comments: Iterable[str]) -> Iterator[str]:
    for comment in comments:
        found = _PRODUCT.fullmatch(comment)
        if found:
            yield f"SUSE:{found[1].strip()}" if found[1] else f"openSUSE:{found[2]}"


def _impact(metadata: _Element) -> str:
    return next((one.get("impact") or "" for one in metadata.iterfind("{*}advisory/{*}cve") if one.get("impact")), "")


def _vectors(metadata: _Element) -> tuple[str, ...]:
    """An attribute holds score and vector: "7.8/CVSS:3.1/AV:L/..."."""
    found = []
    for one in metadata.iterfind("{*}advisory/{*}cve"):
        for name in ("cvss4", "cvss3"):
            vector = (one.get(name) or "").partition("/")[2]
            if vector.startswith("CVSS:"):
                found.append(vector)
    return tuple(dict.fromkeys(found))


def _day(element: _Element | None) -> str:
    day = (element.get("date") or "") if element is not None else ""
    return f"{day}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else ""


PROVIDER = Suse()
