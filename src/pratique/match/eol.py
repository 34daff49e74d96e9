"""Packages and life cycles in, a finding for each language runtime or server past the end of its support out. Pure.

What a distribution packages is its distributor's to mend, whatever upstream does; asked about is what came from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pratique.match.find import OS_TYPES
from pratique.match.merge import fingerprint
from pratique.model.ecosystems import LIFE_CYCLES
from pratique.model.finding import Because, Finding, FindingLocation, FindingPackage, Severity
from pratique.model.hits import Hit
from pratique.model.inventory import Package

# (purl type, name in lower case) -> product of endoflife.date and what people call it
_PRODUCTS = {
    ("generic", "python"): ("python", "Python"),
    ("generic", "node"): ("nodejs", "Node.js"),
    ("generic", "nodejs"): ("nodejs", "Node.js"),
    ("generic", "php"): ("php", "PHP"),
    ("generic", "php-cli"): ("php", "PHP"),
    ("generic", "php-fpm"): ("php", "PHP"),
    ("generic", "ruby"): ("ruby", "Ruby"),
    ("generic", "perl"): ("perl", "Perl"),
    ("generic", "go"): ("go", "Go"),
    ("generic", "dotnet"): ("dotnet", ".NET"),
    ("generic", "nginx"): ("nginx", "nginx"),
    ("generic", "httpd"): ("apache-http-server", "Apache HTTP Server"),
    ("generic", "postgresql"): ("postgresql", "PostgreSQL"),
    ("generic", "mysql"): ("mysql", "MySQL"),
    ("generic", "mariadb"): ("mariadb", "MariaDB"),
    ("generic", "redis"): ("redis", "Redis"),
    ("generic", "valkey"): ("valkey", "Valkey"),
    ("generic", "haproxy"): ("haproxy", "HAProxy"),
    ("generic", "memcached"): ("memcached", "Memcached"),
    ("generic", "traefik"): ("traefik", "Traefik"),
    ("generic", "openssl"): ("openssl", "OpenSSL"),
    ("generic", "erlang"): ("erlang", "Erlang"),
    ("golang", "stdlib"): ("go", "Go"),
    ("golang", "toolchain"): ("go", "Go"),
}
# Both the framework's own package and the runtime packs inside self-contained programs: Microsoft.NETCore.App.Runtime.linux-x64.
_DOTNET = "microsoft.netcore.app"
# Interpreters that say their version nowhere but in the folder of what is installed for them; where the distribution has a
# package of that version, the folder is its own.
_FOLDERS = {
    "pypi": ("python", "Python", re.compile(r"(?:^|/)lib(?:64)?/python(\d{1,2}\.\d{1,3})/site-packages/")),
    "gem": ("ruby", "Ruby", re.compile(r"(?:^|/)lib/ruby/gems/(\d{1,2}\.\d{1,3})\.\d{1,3}/specifications/")),
}
_ENDED = "ended"


class Seen(NamedTuple):
    """A runtime that is there: product, what people call it, version, the package that shows it, and the path of that."""

    product: str
    label: str
    version: str
    package: Package
    path: str


def runtimes(packages: Sequence[Package]) -> list[Seen]:
    """Return the runtimes and servers that no OS package installed, sorted."""
    own = [package for package in packages if package.type in OS_TYPES]
    found = [
        seen
        for package in packages
        if not (package.owner or package.declared or package.type in OS_TYPES)
        for seen in _seen(package)
    ]
    return sorted(
        (seen for seen in found if not _packaged(seen, own)),
        key=lambda seen: (seen.product, seen.version, seen.path, seen.package.purl),
    )


def _seen(package: Package) -> Iterator[Seen]:
    path = package.locations[0].path if package.locations else ""
    name = package.name.lower()
    known = _PRODUCTS.get((package.type, name))
    if package.type == "nuget" and name.startswith(_DOTNET):
        known = ("dotnet", ".NET")
    if known is not None:
        if package.version:
            yield Seen(*known, package.version, package, path)
        return
    if package.type in _FOLDERS:
        product, label, folder = _FOLDERS[package.type]
        for place in package.locations:
            if match := folder.search(place.path):
                yield Seen(product, label, match[1], package, place.path)


def _packaged(seen: Seen, own: Iterable[Package]) -> bool:
    """Say whether the distribution has a package of an interpreter whose folder was seen: python3.11, ruby 3.1.2."""
    if seen.package.type not in _FOLDERS:
        return False
    short = seen.version.replace(".", "")
    for package in own:
        if package.name.startswith(seen.product):
            version = package.version.rpartition(":")[2]
            if version.startswith(f"{seen.version}.") or package.name.startswith(
                (seen.product + seen.version, seen.product + short)
            ):
                return True
    return False


def eol_findings(
    seen: Sequence[Seen], table: Mapping[str, Sequence[Hit]], now: str, instructions: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return a finding for each (product, release) whose support had ended before `now` (RFC 3339), sorted by id.

    `table` is what the database says of ecosystem `LIFE_CYCLES` by product; `instructions` as for `merge`.
    """
    ended: dict[str, tuple[Hit, str, list[Seen]]] = {}
    for one in seen:
        hit, release = _release(one.version, table.get(one.product, ()))
        if hit is not None and (hit.note == _ENDED or hit.note < now[:10]):
            ended.setdefault(hit.id, (hit, release, []))[2].append(one)
    return [_finding(hit, release, group, now, instructions or {}) for _, (hit, release, group) in sorted(ended.items())]


def _release(version: str, hits: Sequence[Hit]) -> tuple[Hit | None, str]:
    """Return the release that a version belongs to: of "3.8" and "3", 3.8.12 is of the first."""
    by_name = {release: hit for hit in hits for release in hit.versions}
    parts = re.split(r"[.+_-]", version.removeprefix("v"))
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in by_name:
            return by_name[name], name
    return None, ""


def _finding(hit: Hit, release: str, group: Sequence[Seen], now: str, instructions: Mapping[str, str]) -> Finding:
    first, package = group[0], group[0].package
    name = f"{first.label} {release}"
    when = "has ended" if hit.note == _ENDED else f"ended on {hit.note}"
    more = f"; it is in {len(group)} places" if len(group) > 1 else ""
    layer = next((place.layer for place in package.locations if place.path == first.path), "")
    location = FindingLocation(path=first.path, layer=layer, instruction=instructions.get(layer, "")) if first.path else None
    return Finding(
        kind="eol",
        id=hit.id,
        title=f"{name} is past the end of its support",
        message=f"security support of {name} {when}; new vulnerabilities are not mended{more}",
        severity=Severity.HIGH,
        fingerprint=fingerprint("eol", f"{first.product}-{release}"),
        references=(f"https://endoflife.date/{first.product}",),
        package=FindingPackage(purl=package.purl, name=package.name, version=package.version, ecosystem=package.ecosystem),
        location=location,
        because=Because(
            source=hit.feed or hit.source,
            advisory=hit.id,
            ecosystem=LIFE_CYCLES,
            package=first.product,
            range=release,
            comparison=f"{first.version} is of {release}, which {when}" + ("" if hit.note == _ENDED else f", before {now[:10]}"),
            state="end-of-life",
        ),
    )
