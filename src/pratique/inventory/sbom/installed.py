"""Packages of a document that does not say who installed what in, the package of the system that each came with out.

Syft's CycloneDX lists the Python, Ruby, Java and Node packages that a distribution's own packages brought, as if somebody had
installed them with pip, gem or npm; its other formats say who did. Place and name tell nearly as much: each distribution has
folders of its own, and names what it packages by a rule.

- Debian's own folders are written by dpkg alone (Debian Python Policy 3.1; gem and npm of Debian install to /var/lib/gems and
  /usr/local). What lies in one came with the package that its name or version points to, or the first words of its name; else it
  counts to the interpreter's own package (not to the one that only names the default: no advisory ever speaks of that).
- Elsewhere pip and gem write into the same folders as the distribution: there name and version must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pratique.model.inventory import Package

OS_TYPES = ("deb", "apk", "rpm")


class _Place(NamedTuple):
    """Where packages of a kind lie that come with packages of the system of some type, and how those are named.

    `own` folders are nobody else's; the first of `interpreters` that is installed then stands for a package that cannot be told.
    `whole` folders are the interpreter's alone: no name counts there.
    """

    kind: str
    system: str
    folder: re.Pattern[str]
    names: tuple[str, ...]
    own: bool = False
    interpreters: tuple[str, ...] = ()
    whole: bool = False


_TRIPLET = r"(?:[a-z0-9_]+-linux-[a-z]+/)?"
_PLACES = (
    _Place("pypi", "deb", re.compile(r"usr/lib/python3(?:\.\d+)?/"), ("python3-{}", "python-{}", "{}"), own=True,
           interpreters=(r"libpython3\.\d+-stdlib", r"libpython3\.\d+-minimal", "python3")),
    _Place("npm", "deb", re.compile(rf"usr/(?:share/|lib/{_TRIPLET})nodejs/(?P<top>@[^/]+/[^/]+|[^/]+)"), ("node-{}", "{}"),
           own=True, interpreters=("nodejs",)),
    _Place("gem", "deb", re.compile(r"usr/lib/ruby/gems/(?P<release>\d+\.\d+)\."), ("ruby-{}",), own=True, whole=True,
           interpreters=("libruby{}", r"libruby\d+\.\d+\w*", "ruby")),
    _Place("gem", "deb", re.compile(rf"usr/(?:share/rubygems-integration|lib/{_TRIPLET}rubygems-integration|lib/ruby)/"),
           ("ruby-{}", "{}"), own=True, interpreters=(r"libruby\d+\.\d+\w*", "ruby", "ruby-rubygems")),
    _Place("maven", "deb", re.compile(r"usr/share/(?:java|maven-repo)/"), ("lib{}-java", "{}"), own=True),
    _Place("pypi", "rpm", re.compile(r"usr/lib(?:64)?/python3\.\d+/site-packages/"), ("python3-{}", "python3.{}", "{}")),
    _Place("gem", "rpm", re.compile(r"usr/(?:share/gems|lib64/gems|lib(?:64)?/ruby/gems)/"), ("rubygem-{}", "{}")),
    _Place("npm", "rpm", re.compile(r"usr/lib/node_modules(?:_\d+)?/(?P<top>@[^/]+/[^/]+|[^/]+)"), ("{}", "nodejs-{}")),
    _Place("maven", "rpm", re.compile(r"usr/share/java/"), ("{}", "java-{}")),
    _Place("pypi", "apk", re.compile(r"usr/lib/python3\.\d+/site-packages/"), ("py3-{}", "{}")),
    _Place("gem", "apk", re.compile(r"usr/lib/ruby/gems/"), ("ruby-{}", "{}")),
    _Place("npm", "apk", re.compile(r"usr/lib/node_modules/(?P<top>@[^/]+/[^/]+|[^/]+)"), ("{}", "nodejs-{}")),
)  # fmt: skip
# A program has the name of its package, or of the one that it was built from.
_PROGRAM = re.compile(r"usr/s?bin/(?P<name>[^/]+)$")
MAX_SAME = 200  # packages of one version that are looked at for each of a language; Debian builds some forty of one source
_PROGRAMS = frozenset(("golang", "cargo"))
_ENDS = re.compile(r"(?:[+~](?:dfsg|ds|repack|really|git|debian|deb).*|-[^-]*)$")


class Installed:
    """Knows the packages of the system that a document lists."""

    def __init__(self, packages: Iterable[Package]) -> None:
        self._names: dict[tuple[str, str], Package] = {}
        self._versions: dict[tuple[str, str, str], list[Package]] = {}
        self._tops: dict[str, str] = {}
        self._matching: dict[tuple[str, str], str] = {}
        for package in packages:
            if package.type in OS_TYPES:
                name = package.name.lower()
                self._names.setdefault((package.type, name), package)
                key = (package.type, _stem(name), _upstream(package))
                same = self._versions.setdefault(key, [])
                if len(same) < MAX_SAME:
                    same.append(package)
            elif package.type == "npm":
                ends = f"/{package.name}/package.json"
                if any(place.path.endswith(ends) for place in package.locations):
                    self._tops.setdefault(package.name, package.version)

    def owner(self, package: Package) -> str:
        """Return the purl of the package of the system that brought one, "" where a person or an application did.

        One that lies in several places must have come with the system in each.
        """
        found = ""
        for location in package.locations:
            owner = self._at(package, location.path)
            if not owner:
                return ""
            found = found or owner
        return found

    def _at(self, package: Package, path: str) -> str:
        if package.type in _PROGRAMS:
            program = _PROGRAM.match(path)
            there = self._named(program["name"].lower()) if program is not None else None
            return there.purl if there is not None else ""
        for place in _PLACES:
            where = place.folder.match(path) if place.kind == package.type else None
            if where is not None and (owner := self._placed(place, package, where.groupdict())):
                return owner
        return ""

    def _named(self, name: str) -> Package | None:
        return next((self._names[kind, name] for kind in OS_TYPES if (kind, name) in self._names), None)

    def _placed(self, place: _Place, package: Package, where: Mapping[str, str]) -> str:
        found = "" if place.whole else self._by_name(place, package, where.get("top", ""))
        return found or (self._interpreter(place, where.get("release", "")) if place.own else "")

    def _by_name(self, place: _Place, package: Package, top: str) -> str:
        name, version = _plain(top or package.name), package.version
        if top and top != package.name:  # what is bundled by another counts to that one
            version = self._tops.get(top, "")
        for pattern in place.names:
            for spelled in _spellings(name):
                owner = self._names.get((place.system, pattern.format(spelled)))
                if owner is not None and (place.own or _upstream(owner) == version):
                    return owner.purl
        if not place.own:
            return ""
        stem = place.names[0].partition("{")[0]
        same = self._versions.get((place.system, stem, version), [])
        if same:  # of several built from one source, the one whose name has most of the words
            words = set(name.split("-"))
            return max(same, key=lambda one: (len(words.intersection(one.name.lower().split("-"))), one.purl)).purl
        for shorter in _beginnings(top or package.name):
            owner = self._names.get((place.system, place.names[0].format(shorter)))
            if owner is not None:
                return owner.purl
        return ""

    def _interpreter(self, place: _Place, release: str) -> str:
        for pattern in place.interpreters:
            name = pattern.format(release) if "{}" in pattern else self._newest(place.system, pattern)
            if (place.system, name) in self._names:
                return self._names[place.system, name].purl
        return ""

    def _newest(self, system: str, pattern: str) -> str:
        """Return the last of the names of packages that a pattern matches; looked for once."""
        if (system, pattern) not in self._matching:
            names = (name for kind, name in self._names if kind == system and re.fullmatch(pattern, name))
            self._matching[system, pattern] = max(names, default="")
        return self._matching[system, pattern]


def _plain(name: str) -> str:
    """Return a name as distributions spell it: lower case, no scope, no group, hyphens."""
    return re.sub(r"[_.:/]+", "-", name.lower().rpartition(":")[2].lstrip("@"))


def _spellings(name: str) -> Iterator[str]:
    yield name
    for shorter in (name.removeprefix("python-"), name.removesuffix("-python"), name.removeprefix("py"), name.replace("-", "")):
        if shorter != name and len(shorter) > 1:
            yield shorter


def _beginnings(name: str) -> Iterator[str]:
    """Yield the first words of a name, most first: Debian ships plugins and types with what they are for.

    `acorn-jsx` comes with node-acorn, `@types/brace-expansion` with node-brace-expansion.
    """
    words = _plain(name.rpartition("/")[2]).split("-")
    for count in range(len(words), 0, -1):
        yield "-".join(words[:count])


def _stem(name: str) -> str:
    """Return what a distribution puts before the names of packages of one language."""
    return next((stem for stem in ("python3-", "node-", "ruby-", "lib") if name.startswith(stem)), "")


def _upstream(package: Package) -> str:
    """Return the version without the distribution's own part."""
    version = package.version.partition(":")[2] or package.version
    if package.type == "deb":
        head = version.rpartition("-")[0] or version
        return _ENDS.sub("", head) if re.search(r"[+~]", head) else head
    return version.rpartition("-")[0] or version


def infer(packages: Iterable[Package]) -> Mapping[str, str]:
    """Return owner by purl for packages that have none and, by place and name, came with one of the system."""
    listed = list(packages)
    known = Installed(listed)
    found = {}
    for package in listed:
        if package.type not in OS_TYPES and not package.owner and (owner := known.owner(package)):
            found[package.purl] = owner
    return found
