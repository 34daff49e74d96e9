"""Red Hat's VEX documents in, advisories out: one a CVE, for the packages of the main streams of Red Hat Enterprise Linux.

https://redhatproductsecurity.github.io/security-data-guidelines/csaf-vex/

Both forms are read: the older, which lists each architecture and names what is installed, and that of 2026, which mostly names
source packages alone. A source package is written as its file is called, "curl.src"; a package of a module after its stream,
"nodejs:18/npm".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote, urljoin

import msgspec

from pratique.advisory.archive import tarred, unreadable
from pratique.advisory.csaf import Branch, Document, Remediation, Threat, Tree, Vulnerability
from pratique.advisory.feeds import BESIDE, Step
from pratique.advisory.keys import Keys
from pratique.advisory.redhat import carve, extended_of_cpe, place_of_cpe
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, RangeState, VersionRange
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap

# Beside it, under vex/, are the documents in their older form; those of 2026 say more of single streams and less that is void.
_UPSTREAM = "https://security.access.redhat.com/data/csaf/v2/vex-feed/"
# The archive of everything has some 300 MB.
_MAX_BYTES = 1 << 30
_ARCHIVE = re.compile(r"[A-Za-z0-9_.-]{1,100}\.tar\.zst")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(?::[\w.+-]+/[\w.+-]+)?")
_EPOCH = re.compile(r"-(\d+):")
_STREAM = re.compile(r"(.*\.el\d+_\d+)(?:\.|$)")
_MINOR = re.compile(r"(?<![\d.])\d{1,2}\.(\d{1,2})(?!\d)")
_ERRATUM = re.compile(r"/errata/(RH[SBE]A-\d{4}:\d+)")
_NOT_INSTALLED = ("-debuginfo", "-debugsource")
# Products without a minor release mean the newest; no release has as many.
_ANY = 100
_MAX_ERRATA = 6
_TITLE_CHARACTERS = 240
_NOTE_CHARACTERS = 80


class RedHat:
    """One feed; ecosystem "Red Hat:enterprise_linux:9", whatever the repository."""

    name = "redhat"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="redhat/vex",
                path="rhel/csaf/v2/vex-feed/archive_latest.tar.zst",
                url=_UPSTREAM + "archive_latest.txt",
                max_bytes=_MAX_BYTES,
                ecosystems=("Red Hat",),
                licence="CC-BY-4.0",
            )
        ]

    def route(self, _: Feed) -> Sequence[Step]:
        """The file at the feed's address holds the name of the archive beside it."""
        return (_named,)

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        decode = msgspec.json.Decoder(Document).decode
        keys = Keys("Red Hat")
        for entry in tarred(body, feed.name):
            if isinstance(entry, Gap):
                yield entry
                continue
            name, content = entry
            try:
                document = decode(content)
                found = list(_advisories(document, keys))
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                yield unreadable(feed.name, name, str(error))
                continue
            yield from found


def _named(url: str, content: bytes) -> str:
    name = content.decode("ascii", "replace").strip()
    if not _ARCHIVE.fullmatch(name):
        raise ParseError(f"{url}: does not name an archive")
    return f"{urljoin(url, name)}#{BESIDE}"


class _Component(NamedTuple):
    """A package of a product: its name as it is looked up, its version where it is one that has the fix, and whether source."""

    name: str
    version: str
    source: bool


class _Place(NamedTuple):
    """The ecosystem of a product, the module (with a slash) or "", and whether it is an extended stream of the release."""

    ecosystem: str
    module: str
    extended: bool = False


class _Row:
    """What is said of one package of one release."""

    __slots__ = ("denied", "extended", "fixed_minor", "fixes", "note", "open", "open_minor", "severity", "source", "state")

    def __init__(self, source: bool) -> None:  # noqa: FBT001 - private, one caller
        self.source = source
        self.fixes: set[str] = set()
        self.extended: set[str] = set()
        self.open = False
        self.fixed_minor = -1
        self.open_minor = -1
        self.denied = False
        self.state: RangeState = ""
        self.note = ""
        self.severity = ""


_Rows = dict[tuple[str, str], _Row]


class _Reader:
    """Resolves the products of one document."""

    def __init__(self, tree: Tree) -> None:
        self._helpers: dict[str, tuple[str, str]] = {}
        self._collect(tree.branches)
        self._pairs = {
            one.full_product_name.product_id: (one.product_reference, one.relates_to_product_reference)
            for one in tree.relationships or ()
        }
        self._components: dict[str, _Component | None] = {}
        self._places: dict[str, _Place | None] = {}

    def _collect(self, branches: Sequence[Branch]) -> None:
        for branch in branches:
            if branch.product is not None:
                helper = branch.product.product_identification_helper or {}
                for kind in ("cpe", "purl"):
                    if kind in helper:
                        self._helpers[branch.product.product_id] = kind, msgspec.json.decode(helper[kind], type=str)
            if branch.branches:
                self._collect(branch.branches)

    def resolve(self, product_id: str) -> tuple[_Place, _Component, int] | None:
        """Return (place, component, minor release or _ANY); None for what is no package of a stream."""
        pair = self._pairs.get(product_id)
        if pair is None:
            return None
        reference, owner = pair
        if owner not in self._places:
            self._places[owner] = self._place(owner)
        place = self._places[owner]
        if place is None:
            return None
        if reference not in self._components:
            kind, value = self._helpers.get(reference, ("", ""))
            self._components[reference] = _component(value, reference) if kind == "purl" else _unhelped(reference)
        component = self._components[reference]
        if component is None:
            return None
        if place.module and "/" not in component.name:
            component = component._replace(name=place.module + component.name)
        minor = _MINOR.search(self._pairs.get(owner, ("", owner))[1])
        return place, component, int(minor[1]) if minor else _ANY

    def _place(self, owner: str) -> _Place | None:
        """Return where a product is, or a module that is a component of a product."""
        module = ""
        pair = self._pairs.get(owner)
        if pair is not None:
            module = _module_of(self._helpers.get(pair[0], ("", ""))[1])
            owner = pair[1]
        kind, value = self._helpers.get(owner, ("", ""))
        if kind != "cpe":
            return None
        if (main := place_of_cpe(value)) is not None:
            return _Place(main, module)
        extended = extended_of_cpe(value)
        return _Place(extended, module, extended=True) if extended is not None else None


def _module_of(purl: str) -> str:
    """pkg:rpmmod/redhat/nodejs@18:8090020231019:b46abd14 -> "nodejs:18/"."""
    name, at, version = purl.removeprefix("pkg:rpmmod/redhat/").partition("@")
    return f"{unquote(name)}:{unquote(version).partition(':')[0]}/" if at and purl.startswith("pkg:rpmmod/") else ""


def _unhelped(reference: str) -> _Component | None:
    """Some packages without a fix have a name and no purl: a source package, as the others of that age are."""
    return _Component(f"{reference.removesuffix('.src')}.src", "", source=True) if _NAME.fullmatch(reference) else None


def _component(purl: str, reference: str) -> _Component | None:
    head, _, query = purl.partition("?")
    kind, _, rest = head.partition("/redhat/")
    if not rest or kind not in {"pkg:rpm", "pkg:rpmmod"}:
        return None
    path, _, version = rest.partition("@")
    path, version = unquote(path), unquote(version)
    words = dict(part.partition("=")[::2] for part in query.split("&"))
    if kind == "pkg:rpmmod":  # "nodejs:18/nodejs" is a package in a module, "nodejs@18:..." the module itself
        return _Component(f"{path}.src", "", source=True) if "/" in path and not version else None
    module = unquote(words.get("rpmmod", "")).split(":")
    prefix = f"{module[0]}:{module[1]}/" if len(module) > 1 else ""
    source = words.get("arch") == "src"
    if version:
        found = _EPOCH.search(reference)
        epoch = words.get("epoch") or (found[1] if found else "")
        version = f"{epoch}:{version}" if epoch not in {"", "0"} else version
    return _Component(f"{prefix}{path}.src" if source else prefix + path, version, source)


def _advisories(document: Document, keys: Keys) -> Iterator[Advisory]:
    reader = _Reader(document.product_tree)
    for one in document.vulnerabilities:
        rows, spoken = _rows(one, reader)
        if not spoken:
            continue
        head = document.document
        yield Advisory(
            id=one.cve,
            source="redhat",
            related=_errata(one),
            summary=_title(one.title or head.title),
            cvss=_vectors(one),
            severity=head.aggregate_severity.text if head.aggregate_severity else "",
            references=(f"https://access.redhat.com/security/cve/{one.cve}",),
            cwes=(one.cwe.id,) if one.cwe is not None and one.cwe.id else (),
            published=one.release_date or one.discovery_date,
            modified=head.tracking.current_release_date,
            affected=tuple(_affected(rows, keys)),
        )


def _rows(one: Vulnerability, reader: _Reader) -> tuple[_Rows, bool]:
    """Return what is said of each package of each release; and whether anything is said of one at all."""
    rows: _Rows = {}
    status, states, words = one.product_status, _states(one.remediations), _impacts(one.threats)
    spoken = False
    for kind, listed in (
        ("fixed", status.fixed),
        ("affected", status.known_affected),
        ("undetermined", status.under_investigation),
        ("denied", status.known_not_affected),
    ):
        for product_id in listed:
            found = reader.resolve(product_id)
            if found is None:
                continue
            place, component, minor = found
            spoken = spoken or not place.extended
            if component.name.endswith(_NOT_INSTALLED):
                continue
            row = rows.setdefault((place.ecosystem, component.name), _Row(component.source))
            if place.extended:
                if kind == "fixed" and component.version:
                    row.extended.add(component.version)
                continue
            row.severity = row.severity or words.get(product_id, "")
            if kind == "fixed" and component.version:
                row.fixes.add(component.version)
                row.fixed_minor = max(row.fixed_minor, minor % _ANY)
            elif kind == "denied":
                row.denied = True
            elif kind != "fixed":
                row.open = True
                row.open_minor = max(row.open_minor, minor)
                row.state, row.note = states.get(product_id, ("unfixed", ""))
                row.state = "undetermined" if kind == "undetermined" else row.state
    return rows, spoken


def _states(remediations: Sequence[Remediation]) -> dict[str, tuple[RangeState, str]]:
    """Return why there is no fix: "Will not fix" and "Out of support scope" are no_fix_planned, "Fix deferred" none_available."""
    found: dict[str, tuple[RangeState, str]] = {}
    for one in remediations:
        if one.category in {"no_fix_planned", "none_available"}:
            note = " ".join(one.details.split())[:_NOTE_CHARACTERS]
            state: RangeState = "wont-fix" if one.category == "no_fix_planned" else "unfixed"
            found.update(dict.fromkeys(one.product_ids, (state, "" if note == "Affected" else note)))
    return found


def _impacts(threats: Sequence[Threat]) -> dict[str, str]:
    """Return the impact by product where products differ in it."""
    impacts = [one for one in threats if one.category == "impact"]
    if len({one.details for one in impacts}) < 2:
        return {}
    return {product_id: one.details for one in impacts for product_id in one.product_ids}


def _affected(rows: _Rows, keys: Keys) -> Iterator[Affected]:
    """Give source packages only where what is built of them is not listed; denials only where such a source would be asked."""
    binaries: dict[str, set[str]] = {}
    built: dict[str, set[str]] = {}
    for (ecosystem, name), row in rows.items():
        if not row.source and (row.fixes or row.open):
            binaries.setdefault(ecosystem, set()).add(name)
            built.setdefault(ecosystem, set()).update(row.fixes)
    told = {
        (ecosystem, name)
        for (ecosystem, name), row in rows.items()
        if row.source and (row.fixes & built.get(ecosystem, set()) or _lists(name, binaries.get(ecosystem, set())))
    }
    doubtful = {
        ecosystem
        for (ecosystem, name), row in rows.items()
        if row.source and (ecosystem, name) not in told and (row.fixes or row.open)
    }
    for (ecosystem, name), row in sorted(rows.items()):
        if row.fixes or row.open:
            if (ecosystem, name) not in told:
                yield Affected(
                    ecosystem=ecosystem,
                    name=name,
                    ranges=carve(_ranges(row, keys), row.extended, keys),
                    severity=row.severity,
                    state="" if row.fixes else row.state,
                    note="" if row.fixes else row.note,
                )
        elif row.denied and not row.source and ecosystem in doubtful:
            yield Affected(ecosystem=ecosystem, name=name, state="not-affected")


def _lists(source: str, names: set[str]) -> bool:
    stem = source.removesuffix(".src")
    module, slash, bare = stem.rpartition("/")
    return any(name.startswith((stem, f"{module}{slash}lib{bare}")) for name in names)


def _ranges(row: _Row, keys: Keys) -> tuple[VersionRange, ...]:
    """Return what is affected in the main stream, given the versions with the fix and whether some minor release has none.

    A fix of a minor release and that of the next are both listed. Between them lie the builds after the first fix and those of
    the next minor release before its fix: a build whose release number begins higher than that of the fix is one of the latter.
    """
    fixes = sorted(row.fixes, key=lambda version: keys(version) or b"")
    if not fixes:
        return (VersionRange(),)
    found = [VersionRange("", fixes[0])]
    for before, fix in pairwise(fixes):
        start = _after(before, fix)
        low, high = keys(start), keys(fix)
        if low is not None and high is not None and low < high:
            found.append(VersionRange(start, fix))
    if row.open_minor >= row.fixed_minor:
        found.append(VersionRange(_after(fixes[-1], "")))
    return tuple(found)


def _after(version: str, following: str) -> str:
    """Return where builds of a later minor release begin: 2.9-10.el9_6 -> 2.9-11; of one with the same number, at its own tag."""
    upstream, _, release = version.rpartition("-")
    digits = re.match(r"\d+", release)
    if digits is None:
        return version
    if following.startswith(f"{upstream}-{digits[0]}."):
        found = _STREAM.match(following)
        return found[1] if found else following
    return f"{upstream}-{int(digits[0]) + 1}"


def _errata(one: Vulnerability) -> tuple[str, ...]:
    found = (_ERRATUM.search(remediation.url) for remediation in one.remediations if remediation.category == "vendor_fix")
    return tuple(dict.fromkeys(match[1] for match in found if match))[:_MAX_ERRATA]


def _vectors(one: Vulnerability) -> tuple[str, ...]:
    listed = (vector for score in one.scores for vector in (score.cvss_v4, score.cvss_v3, score.cvss_v2))
    return tuple(dict.fromkeys(vector.vector for vector in listed if vector is not None and vector.vector))


def _title(text: str) -> str:
    text = " ".join(text[: 4 * _TITLE_CHARACTERS].split())
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1].rstrip() + "…"


PROVIDER = RedHat()
