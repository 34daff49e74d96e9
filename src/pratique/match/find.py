"""Packages and what a database knows of them in, matches out: which advisory holds for which package, by which comparison.

Pure. A version that cannot be ordered never means "not vulnerable": the match is kept as under investigation, with a Gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from pratique.model.ecosystems import base, canonical, normalize
from pratique.model.errors import BudgetExceededError, UnorderableVersionError
from pratique.model.finding import FindingStatus
from pratique.model.hits import LAST_AFFECTED, OPEN, Hit, HitRange
from pratique.model.inventory import Gap, Package
from pratique.model.ports import VersionScheme
from pratique.model.programs import CPES, PROGRAMS
from pratique.model.versions import scheme_for

OS_TYPES = frozenset(("deb", "apk", "rpm"))
# Signed kernels are built from a source package of their own ("linux-signed-amd64", "linux-signed-hwe-6.5"), with a version of
# its own, but advisories speak of the kernel ("linux", "linux-hwe-6.5"), whose version the binary package has.
_SIGNED = "linux-signed"
_SIGNED_FOR = frozenset(("amd64", "arm64", "armhf", "i386"))
# Their advisories name source packages, some of them binary ones.
_BY_SOURCE = frozenset(("Azure Linux", "Photon OS"))
# Most of their notices that are about a module say which stream they mean.
_BY_STREAM = frozenset(("AlmaLinux", "Oracle Linux", "Rocky Linux"))
# SUSE files a package of version 15 under the module that ships it; what is mended for long-term customers, under the product.
_SUSE_MODULES = (
    "Basesystem",
    "Server Applications",
    "Development Tools",
    "Containers",
    "Python 3",
    "Web and Scripting",
    "Legacy",
)
_MODULE = ".module"  # in the release of every RPM that a module stream was built of: ".module+el9...", ".module_el9..."
_MODULAR = ".module"
# A package database of 300,000 entries that all name one source weighs little, and matches millions of times, at 5 KB each in
# memory. A machine with eight kernel packages and every advisory of its distribution has some 50,000.
MAX_MATCHES = 300_000
_NAMED = 5  # advisories that a gap names; the findings name all


class Subject(NamedTuple):
    """What to ask about a package: the OSV ecosystem with release, the name there, and the version to compare."""

    package: Package
    ecosystem: str
    name: str
    version: str


class Match(NamedTuple):
    """An advisory that holds for a package, or may: `status` says which; `within` is the range that was met, if it was one."""

    subject: Subject
    hit: Hit
    within: HitRange | None
    status: FindingStatus
    comparison: str


class Matches(NamedTuple):
    """Matches in the order of the packages, what sources deny as (vulnerability id, purl), and gaps."""

    found: list[Match]
    denied: set[tuple[str, str]]
    gaps: list[Gap]


def subjects(packages: Iterable[Package], release: str) -> tuple[list[Subject], list[Gap]]:
    """Say what to ask about each package. `release` is the distribution's OSV ecosystem ("Debian:12"), "" where it has none.

    A package that an OS package installed is not asked about: its vulnerabilities are those of its owner, whose distributor may
    have mended it without a new upstream version.
    """
    asked: list[Subject] = []
    gaps: list[Gap] = []
    for package in packages:
        if package.type in OS_TYPES:
            if release:
                asked += _os_subjects(package, release)
                if _MODULAR in package.version and not _module(package.purl):
                    gaps.append(_streamless(package))
        elif not package.owner and not (package.declared and package.role == "main"):  # no registry has sources one just wrote
            if package.type == "generic" and package.version and package.name.lower() in PROGRAMS:
                asked += _program_subjects(package)
                continue
            gap = _unaskable(package)
            if gap is not None:
                gaps.append(gap)
            else:
                asked.append(_language_subject(package))
    return asked, gaps


def unanswered(
    packages: Sequence[Package], release: str, hits: Mapping[str, Mapping[str, Sequence[Hit]]]
) -> tuple[list[Subject], list[Gap]]:
    """Say what to ask about packages whose owner the distributor's feed, given as `hits`, never speaks of.

    The feed names every package of the distributor's that ever had a vulnerability. An owner that it never names had none, or is
    of another vendor's making, for which the distributor does not answer: then what the owner brought is matched by itself.
    """
    owners = {package.purl: package for package in packages if package.type in OS_TYPES}
    answered: dict[str, bool] = {}
    free = []
    for package in packages:
        owner = owners.get(package.owner) if package.owner else None
        if owner is None:
            continue
        if owner.purl not in answered:
            answered[owner.purl] = is_answered(owner, release, hits)
        if not answered[owner.purl]:
            free.append(msgspec.structs.replace(package, owner=""))
    return subjects(free, "")


def is_answered(package: Package, release: str, hits: Mapping[str, Mapping[str, Sequence[Hit]]]) -> bool:
    """Return whether the distributor's feed speaks of a package of the system, whatever it says."""
    return any(subject.name in hits.get(subject.ecosystem, {}) for subject in _os_subjects(package, release))


def _os_subjects(package: Package, release: str) -> list[Subject]:
    places = channels(release, package.version)
    return [
        Subject(package, place, normalize(place, name), version) for place in places for name, version in _asked(package, place)
    ]


def _asked(package: Package, place: str) -> list[tuple[str, str]]:
    """Return the (name, version) under which advisories may speak of a package."""
    source, family = package.source, base(place)
    version = source.version if source is not None and source.version else package.version
    if family == "Red Hat":
        # Some records name what is installed, others only the source package, which is written as its file is called.
        module = _module(package.purl)
        return [
            (module + package.name, package.version),
            (f"{module}{source.name if source is not None else package.name}.src", version),
        ]
    if family in _BY_STREAM:
        return list(dict.fromkeys((name + package.name, package.version) for name in ("", _module(package.purl))))
    if source is None or (package.type == "rpm" and family not in _BY_SOURCE):  # other rpm advisories name binary packages
        return [(package.name, package.version)]
    if package.type == "rpm":
        return list(dict.fromkeys(((package.name, package.version), (source.name, version))))
    if source.name.startswith(_SIGNED):
        parts = source.name.removeprefix(_SIGNED).split("-")
        name = "-".join(["linux", *(part for part in parts if part and part not in _SIGNED_FOR)])
        return [(name, package.version)]
    return [(source.name, version)]


def channels(release: str, version: str) -> tuple[str, ...]:
    """Return the ecosystems that speak of a package of `release` in this version, the main one first.

    Ubuntu lists a package that has a build for subscribers under "Ubuntu:Pro:" alone, whoever has it installed. Builds whose
    version names a channel of their own (FIPS, Ksplice) are compared with that channel's versions only: others say nothing.
    SUSE's modules are channels, too.
    """
    family, _, rest = release.partition(":")
    if family == "Ubuntu" and rest.endswith(":LTS"):
        if "fips" in version.lower():
            return f"Ubuntu:Pro:FIPS-updates:{rest}", f"Ubuntu:Pro:FIPS:{rest}"
        return release, f"Ubuntu:Pro:{rest}"
    if family == "Oracle Linux":
        channel = next((word for word in ("ksplice", "fips") if word in version.lower()), "")
        return (f"{release}:{channel}",) if channel else (release,)
    if family == "SUSE" and " 15" in rest:
        number = rest[rest.index(" 15") + 1 :]
        return release, f"{release}-LTSS", *(f"SUSE:Linux Enterprise Module for {name} {number}" for name in _SUSE_MODULES)
    if release == "Amazon Linux:2":
        return release, f"{release}:extras"
    return (release,)


def _module(purl: str) -> str:
    """Return "nodejs:18/" for a package of a module: its streams number their versions apart. "" for all others."""
    _, found, rest = purl.partition("rpmmod=")
    if not found:
        return ""
    parts = unquote(rest.partition("&")[0]).split(":")
    return f"{parts[0]}:{parts[1]}/" if len(parts) > 1 else ""


def _language_subject(package: Package) -> Subject:
    ecosystem = canonical(package.ecosystem)
    return Subject(package, ecosystem, normalize(ecosystem, package.name), package.version)


def _program_subjects(package: Package) -> list[Subject]:
    program = PROGRAMS[package.name.lower()]
    places = [("Bitnami", program.bitnami)] if program.bitnami else []
    places += [(CPES, cpe) for cpe in program.cpes]
    return [Subject(package, place, name, package.version.removeprefix("v")) for place, name in places]


def unnamed(asked: Iterable[Subject]) -> list[Gap]:
    """Return a gap for each program that only CPEs name: for a database that has none."""
    places: dict[str, tuple[Package, set[str]]] = {}
    for subject in asked:
        places.setdefault(subject.package.purl, (subject.package, set()))[1].add(subject.ecosystem)
    return [gap for package, names in places.values() if names == {CPES} and (gap := _unaskable(package)) is not None]


def _streamless(package: Package) -> Gap:
    message = f"{package.name} {package.version}: of a module whose stream is not known, so that not all advisories can be found"
    path = package.locations[0].path if package.locations else ""
    return Gap(code="advisories.unmatchable", message=message, package=package.purl, path=path)


def _unaskable(package: Package) -> Gap | None:
    path = package.locations[0].path if package.locations else ""
    if not package.ecosystem:
        message = f"no advisory source speaks of {package.name} {package.version}"
        return Gap(code="advisories.no-source", message=message, package=package.purl, path=path)
    if package.type == "maven" and not package.namespace:
        message = f"{package.name} {package.version}: its Maven group is not known, so that no advisory can be found for it"
        return Gap(code="advisories.unmatchable", message=message, package=package.purl, path=path)
    if not package.version:
        message = f"{package.name}: built without a version, so that no advisory can be found for it"
        return Gap(code="advisories.unmatchable", message=message, package=package.purl, path=path)
    return None


def find(asked: Sequence[Subject], hits: Mapping[str, Mapping[str, Sequence[Hit]]]) -> Matches:
    """Match every subject. `hits` are by ecosystem and name. Raises BudgetExceededError for more matches than any image has."""
    matches = Matches([], set(), [])
    schemes: dict[str, VersionScheme | None] = {}
    for subject in asked:
        known = hits.get(subject.ecosystem, {}).get(subject.name)
        if known:
            if subject.ecosystem not in schemes:
                schemes[subject.ecosystem] = scheme_for(subject.ecosystem)
            _one(subject, known, schemes[subject.ecosystem], matches)
            if len(matches.found) + len(matches.denied) > MAX_MATCHES:
                raise BudgetExceededError(
                    f"more than {MAX_MATCHES:,} vulnerabilities of packages",
                    hint="an image with that many was made to exhaust whoever reads it",
                )
    return matches


def _one(subject: Subject, known: Sequence[Hit], scheme: VersionScheme | None, matches: Matches) -> None:
    key = version_key(subject.version, scheme)
    vague = key is None or _legacy(subject)
    has_builds = subject.package.type == "rpm"
    blamed: list[str] = []
    for hit in known:
        if hit.state == "not-affected":
            matches.denied.add((hit.id, subject.package.purl))
            continue
        if has_builds and not same_build(subject, hit):
            continue
        holds, within = _holds(hit, subject.version, key, scheme)
        if vague and holds is False and hit.ranges:  # the place of such a version in the order is a convention, not knowledge
            holds, within = None, hit.ranges[0]
        if holds is False:
            continue
        sure = holds is True and (not vague or within is None or _everything(within))
        if not sure:
            blamed.append(hit.id)
        status: FindingStatus = "affected" if sure and hit.state != "undetermined" else "under_investigation"
        matches.found.append(Match(subject, hit, within, status, _comparison(subject.version, within, holds=holds)))
    if blamed:
        matches.gaps.append(_unorderable(subject, blamed, vague=vague))


def same_build(subject: Subject, hit: Hit) -> bool:
    """Say whether a notice is about this kind of build: an RPM out of a module stream, or one of the distribution itself.

    Both go by one name, with versions that have nothing to do with each other: ruby 3.0.7-162.el9 has its own fixes, and is not
    mended by 3.1.4-143.module_el9.3. https://docs.fedoraproject.org/en-US/modularity/
    """
    if subject.package.type != "rpm":
        return True
    fixes = [item.upper for item in hit.ranges if item.upper]
    modular = _MODULE in subject.version
    return not fixes or any((_MODULE in fix) == modular for fix in fixes)


def _unorderable(subject: Subject, blamed: Iterable[str], *, vague: bool) -> Gap:
    package = subject.package
    names = sorted(set(blamed))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    why = "its version cannot be ordered" if vague else "a bound of the advisory cannot be ordered"
    return Gap(
        code="advisories.unorderable-version",
        message=f"{package.name} {package.version}: {why}; {', '.join(names[:_NAMED])}{more} may hold",
        package=package.purl,
        path=package.locations[0].path if package.locations else "",
    )


def _everything(within: HitRange) -> bool:
    """Say whether a range holds for every version there is, whatever its order."""
    return not within.introduced and within.bound == OPEN


def version_key(version: str, scheme: VersionScheme | None) -> bytes | None:
    """Return the key of a version; None where it has no place in an order."""
    if scheme is None:
        return None
    try:
        return scheme.key(version)
    except UnorderableVersionError:
        return None


def _legacy(subject: Subject) -> bool:
    if subject.ecosystem != "PyPI":
        return False
    from pratique.model.versions.pep440 import is_legacy  # noqa: PLC0415 - one scheme's own question

    return is_legacy(subject.version)


def _holds(hit: Hit, version: str, key: bytes | None, scheme: VersionScheme | None) -> tuple[bool | None, HitRange | None]:
    """Say whether an advisory holds: True, False, or None where it cannot be known; and the range that says so."""
    if hit.versions and (
        version in hit.versions or (key is not None and any(version_key(listed, scheme) == key for listed in hit.versions))
    ):
        return True, None
    unknown: HitRange | None = None
    for item in hit.ranges:
        if item.bound == OPEN and _everything(item):
            return True, item
        within = item.contains(key) if key is not None else None
        if within:
            return True, item
        if within is None and unknown is None:
            unknown = item
    return (None, unknown) if unknown is not None else (False, None)


def _comparison(version: str, within: HitRange | None, *, holds: bool | None) -> str:
    if within is None:
        return f"{version} is listed"
    if holds is None:
        return f"{version} cannot be compared"
    lower = f"{within.introduced} <= " if within.introduced else ""
    if not within.upper:
        return f"{lower}{version}" if lower else f"{version}, all versions"
    return f"{lower}{version} {'<=' if within.bound == LAST_AFFECTED else '<'} {within.upper}"


def range_text(hit: Hit, within: HitRange | None) -> str:
    """Write a range for people: ">= 1.0, < 1.2"; "listed" for an exact version."""
    if within is None:
        return "listed" if hit.versions else "all versions"
    parts = [f">= {within.introduced}"] if within.introduced else []
    if within.upper:
        parts.append(f"{'<=' if within.bound == LAST_AFFECTED else '<'} {within.upper}")
    return ", ".join(parts) or "all versions"
