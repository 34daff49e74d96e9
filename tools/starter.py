"""A mirror of the public feeds in, the starter set out: `python tools/starter.py MIRROR` writes advisory/starter/facts.json.

Takes the facts (ids, packages, ranges, vectors, dates) of what `starter.toml` wants, and no text. Records under share-alike
licences are left out. Lists on standard output what the mirror does not confirm; see --help for --check.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pratique.advisory.feeds import sources
from pratique.advisory.keys import Keys
from pratique.advisory.starter import Fact, Facts, Known, Origin
from pratique.model.advisory import Advisory, Affected, Exploited
from pratique.model.ecosystems import base
from pratique.model.hits import covers

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "pratique" / "advisory" / "starter" / "facts.json"

# Ubuntu's notices are share-alike; Debian's are in the tracker; fuzzing reports and commits name no versions of packages.
LEFT_OUT = {"osv/Ubuntu", "osv/Debian", "osv/OSS-Fuzz", "osv/GIT"}
# Publisher, as the mirror's records name it -> licence. None: not free enough to be shipped.
PUBLISHERS: dict[str, str | None] = {
    "victims/victims-cve-db": None,
    "SAP/project-kb": "Apache-2.0",
    "apache/logging-site": "Apache-2.0",
    "nodejs/security-wg": "MIT",
    "RetireJS/retire.js": "Apache-2.0",
    "rubysec/ruby-advisory-db": "public domain",
    "FriendsOfPHP/security-advisories": "Unlicense",
    "mirego/elixir-security-advisories": "CC-BY-4.0",
}
RELEASES = re.compile(r"Debian:1[123]|Alpine:(v3\.(19|2\d)|edge)|(AlmaLinux|Rocky Linux):\d+|[^:]*")
# One vulnerability of a language's library touches hundreds of Wolfi's packages, a kernel notice has dozens: a few serve.
MOST_PACKAGES = {"Wolfi": 3, "AlmaLinux": 4, "Rocky Linux": 4, "Bitnami": 3, "Alpine": 6, "Debian": 6}
MOST_PACKAGES_ELSEWHERE = 12
MOST_CWES = 3
# Of several records on one package, those written for the ecosystem are more exact than those put together from elsewhere.
PREFERRED = ("GHSA-", "PYSEC-", "GO-", "RUSTSEC-", "HSEC-", "DRUPAL-")
PHRASES = {
    "CWE-20": "input is not checked enough", "CWE-22": "path traversal", "CWE-59": "links are followed", "CWE-74": "injection",
    "CWE-77": "command injection", "CWE-78": "command injection", "CWE-79": "cross-site scripting", "CWE-89": "SQL injection",
    "CWE-93": "line breaks can be injected", "CWE-94": "code injection", "CWE-113": "headers can be injected",
    "CWE-116": "output is not escaped", "CWE-119": "memory corruption", "CWE-120": "buffer overflow", "CWE-122": "heap overflow",
    "CWE-125": "reads out of bounds", "CWE-178": "letter case is mishandled", "CWE-184": "an incomplete list of what is refused",
    "CWE-190": "integer overflow", "CWE-200": "information is disclosed", "CWE-203": "timing tells secrets",
    "CWE-208": "timing tells secrets", "CWE-212": "secrets are not removed", "CWE-284": "access is not controlled",
    "CWE-287": "authentication can be passed by", "CWE-295": "certificates are not checked", "CWE-327": "weak cryptography",
    "CWE-345": "authenticity is not checked", "CWE-347": "signatures are not checked", "CWE-352": "cross-site request forgery",
    "CWE-362": "race condition",
    "CWE-400": "resources can be exhausted", "CWE-401": "memory leak", "CWE-405": "work is amplified",
    "CWE-407": "an expensive algorithm", "CWE-409": "compressed data exhausts memory", "CWE-416": "use after free",
    "CWE-434": "uploads are not restricted", "CWE-436": "interpreted in two ways", "CWE-444": "request smuggling",
    "CWE-476": "null pointer", "CWE-502": "unsafe deserialisation", "CWE-601": "open redirect", "CWE-611": "external entities",
    "CWE-617": "an assertion can be reached", "CWE-670": "always-incorrect control flow", "CWE-693": "a protection fails",
    "CWE-732": "permissions are too wide", "CWE-754": "an unusual condition is not checked", "CWE-770": "no bound on resources",
    "CWE-787": "writes out of bounds", "CWE-835": "endless loop", "CWE-863": "authorisation is not right",
    "CWE-915": "attributes can be set from outside", "CWE-918": "requests to other hosts", "CWE-1321": "prototype pollution",
    "CWE-1333": "a regular expression takes too long",
}  # fmt: skip


Placed = tuple[str, str, Fact]  # ecosystem, package, fact


class Wanted(msgspec.Struct, frozen=True, rename="kebab"):
    """starter.toml."""

    wanted: dict[str, str]
    packages: dict[str, list[str]]
    packages_since: dict[str, int]


class Take(msgspec.Struct, frozen=True):
    """One record about one wanted vulnerability."""

    feed: str
    publisher: str
    licence: str
    advisory: Advisory
    notice: bool


def publishers(path: Path) -> dict[str, str]:
    """Record id -> the publisher it names, of an OSV archive; nothing for other feeds."""
    found: dict[str, str] = {}
    if path.suffix != ".zip":
        return found
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            record: dict[str, Any] = json.loads(archive.read(info))
            source = (record.get("database_specific") or {}).get("source")
            if isinstance(source, str) and not source.startswith("http"):
                found[record["id"]] = source.partition(":")[0]
    return found


def records(mirror: Path) -> Iterator[tuple[str, str, str, Advisory | Exploited]]:
    """Yield (feed, publisher, licence, record) of everything in the mirror that may be shipped."""
    for name, source in sources().items():
        path = mirror / source.feed.path
        if name in LEFT_OUT or source.provider.name == "epss" or not path.exists():
            continue
        named = publishers(path)
        with path.open("rb") as body:
            for record in source.provider.parse(source.feed, body):
                if isinstance(record, Exploited):
                    yield name, name, source.feed.licence, record
                elif isinstance(record, Advisory):
                    publisher = named.get(record.id, "")
                    licence = PUBLISHERS[publisher] if publisher else source.feed.licence
                    if licence is not None:
                        yield name, publisher or name, licence, record


def names(advisory: Advisory) -> list[str]:
    """The CVEs that a record is about; if it has none, its GHSA or own id."""
    own = [advisory.id, *advisory.aliases]
    cves = [name for name in (*own, *covers(advisory)) if name.startswith("CVE-")]
    return cves or [name for name in own if name.startswith("GHSA-")][:1] or [advisory.id]


def year(name: str) -> int:
    """The year in an identifier; 0 where there is none."""
    found = re.search(r"-(20\d\d|19\d\d)-", name)
    return int(found[1]) if found else 0


def gather(mirror: Path, wanted: Wanted) -> tuple[dict[str, list[Take]], dict[str, str], str]:
    """Return vulnerability -> records, CVE -> date in KEV, and the newest date of all records."""
    packages = {(ecosystem, name) for ecosystem, listed in wanted.packages.items() for name in listed}
    everything: dict[str, list[Take]] = {}
    chosen = set(wanted.wanted)
    exploited: dict[str, str] = {}
    newest = ""
    for feed, publisher, licence, record in records(mirror):
        if isinstance(record, Exploited):
            exploited[record.cve] = record.added
            continue
        newest = max(newest, record.modified)
        take = Take(feed, publisher, licence, record, bool(covers(record)))
        for name in names(record):
            everything.setdefault(name, []).append(take)
            for affected in record.affected:
                key = (affected.ecosystem, affected.name)
                if key in packages and affected.ranges and year(name) >= wanted.packages_since.get(affected.ecosystem, 0):
                    chosen.add(name)
    return {name: everything[name] for name in sorted(chosen) if name in everything}, exploited, newest


class Set:
    """Puts facts together; each origin is written once."""

    def __init__(self, wanted: Wanted, exploited: dict[str, str]) -> None:
        self.origins: list[Origin] = []
        self.facts: dict[str, dict[str, list[Fact]]] = {}
        self._wanted = wanted
        self._exploited = exploited
        self._keys: dict[str, Keys] = {}

    def known(self, name: str, takes: list[Take]) -> Known | None:
        facts = self._chosen(name, takes)
        if not facts:
            return None
        for ecosystem, package, fact in facts:
            self.facts.setdefault(ecosystem, {}).setdefault(package, []).append(fact)
        own = [take.advisory for take in takes if not take.notice]
        aliases = {alias for a in own for alias in (a.id, *a.aliases) if alias.startswith((*PREFERRED, "CVE-"))} - {name}
        cwes = list(dict.fromkeys(cwe for a in own for cwe in a.cwes))[:MOST_CWES]
        return Known(
            id=name,
            title=self._wanted.wanted.get(name) or title(facts[0], cwes),
            aliases=tuple(sorted(aliases)) if len(aliases) <= 4 else (),
            cvss=vectors(own),
            severity=next((a.severity for a in own if a.severity and a.id.startswith("GHSA-")), "").lower(),
            cwes=tuple(cwes),
            published=min((a.published for a in own if a.published), default="")[:10],
            kev=self._exploited.get(name, ""),
            kind="malware" if any(a.kind == "malware" for a in own) else "vulnerability",
        )

    def _chosen(self, name: str, takes: list[Take]) -> list[Placed]:
        best: dict[tuple[str, str], tuple[tuple[bool, bool, bytes], Fact]] = {}
        for take in takes:
            for affected in take.advisory.affected:
                usable = (affected.ranges or affected.versions) and RELEASES.fullmatch(affected.ecosystem)
                if not usable or (name.startswith("CVE-") and affected.name in {"linux", "kernel"} and take.notice):
                    continue
                rank = (not take.advisory.id.startswith(PREFERRED), not affected.ranges, self._first_fix(affected))
                key = (affected.ecosystem, affected.name)
                fact = Fact(name, self._origin(take), affected.ranges, self._versions(affected))
                if key not in best or rank < best[key][0]:
                    best[key] = (rank, fact)
        return limited([(*key, best[key][1]) for key in sorted(best)])

    def _first_fix(self, affected: Affected) -> bytes:
        keys = self._keys.setdefault(affected.ecosystem, Keys(affected.ecosystem))
        return min((keys(r.fixed) or b"" for r in affected.ranges if r.fixed), default=b"\xff")

    def _versions(self, affected: Affected) -> tuple[str, ...]:
        keys = self._keys.setdefault(affected.ecosystem, Keys(affected.ecosystem))
        ranges = [keys.range(interval) for interval in affected.ranges]
        return tuple(v for v in affected.versions if (key := keys(v)) is None or not any(r.contains(key) for r in ranges))

    def _origin(self, take: Take) -> int:
        origin = Origin(take.publisher, take.advisory.source, take.licence)
        if origin not in self.origins:
            self.origins.append(origin)
        return self.origins.index(origin)


def limited(facts: list[Placed]) -> list[Placed]:
    """Keep the shortest names of each ecosystem: `openssl`, `openssl-libs` before `openssl-perl`."""
    groups: dict[str, list[Placed]] = {}
    for fact in facts:
        groups.setdefault(fact[0], []).append(fact)
    kept: list[Placed] = []
    for ecosystem, group in sorted(groups.items()):
        most = MOST_PACKAGES.get(base(ecosystem), MOST_PACKAGES_ELSEWHERE)
        kept += sorted(group, key=lambda fact: (len(fact[1]), fact[1]))[:most]
    return kept


def title(placed: Placed, cwes: list[str]) -> str:
    """A title out of facts alone: package and weakness, or the fix."""
    _, package, fact = placed
    phrase = next((PHRASES[cwe] for cwe in cwes if cwe in PHRASES), "")
    fixed = next((r.fixed for r in fact.ranges if r.fixed), "")
    return f"{package}: {phrase or (f'vulnerable before {fixed}' if fixed else 'vulnerable, no fix')}"


def vectors(advisories: list[Advisory]) -> tuple[str, ...]:
    """One vector of version 4 and one of the newest older version, from whoever comes first."""
    listed = [vector for advisory in advisories for vector in advisory.cvss]
    new = [vector for vector in listed if vector.startswith("CVSS:4")][:1]
    old = sorted((vector for vector in listed if not vector.startswith("CVSS:4")), key=lambda v: v[:8], reverse=True)[:1]
    return tuple(new + old)


def main() -> int:
    """Write or check the set; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mirror", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="compare with what is shipped instead of writing; exit 1 if it differs"
    )
    parser.add_argument("--summaries", action="store_true", help="print our titles beside the mirror's, for whoever reviews them")
    options = parser.parse_args()
    wanted = msgspec.toml.decode((HERE / "starter.toml").read_bytes(), type=Wanted)
    takes, exploited, newest = gather(options.mirror, wanted)
    facts = Set(wanted, exploited)
    known = [one for name in sorted(takes) if (one := facts.known(name, takes[name])) is not None]
    if options.summaries:
        for one in known:
            if one.id in wanted.wanted:
                theirs = next((t.advisory.summary for t in takes[one.id] if t.advisory.summary and not t.notice), "")
                print(f"{one.id}\n   {one.title}\n   {theirs}")
    placed = {
        ecosystem: msgspec.Raw(msgspec.json.encode(dict(sorted(packages.items()))))
        for ecosystem, packages in sorted(facts.facts.items())
    }
    content = msgspec.json.encode(Facts(newest, tuple(facts.origins), tuple(known), placed))
    for mark in (b'{"id":', b'"facts":', *(f'"{ecosystem}":{{'.encode() for ecosystem in placed)):
        content = content.replace(b"," + mark, b",\n" + mark)  # lines, so that a change can be reviewed
    content += b"\n"
    missing = sorted(set(wanted.wanted) - {one.id for one in known})
    count = sum(len(of) for listed in facts.facts.values() for of in listed.values())
    print(f"{len(known)} vulnerabilities, {count} facts, {len(content)} bytes")
    print(f"not confirmed by the mirror ({len(missing)}): {' '.join(missing)}")
    if options.check:
        return 0 if TARGET.read_bytes() == content else 1
    TARGET.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
