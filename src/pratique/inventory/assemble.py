"""Surviving evidence in, packages out: purls, owners, one entry a purl with all its locations."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

from pratique.inventory.purl import purl
from pratique.inventory.squash import Seen, identity
from pratique.model.inventory import (
    Distro,
    Gap,
    LicenseEvidence,
    Location,
    OwnershipEvidence,
    Package,
    PackageEvidence,
)

OS_TYPES = frozenset(("deb", "apk", "rpm"))
ECOSYSTEMS = {
    "pypi": "PyPI",
    "npm": "npm",
    "maven": "Maven",
    "golang": "Go",
    "cargo": "crates.io",
    "gem": "RubyGems",
    "composer": "Packagist",
    "nuget": "NuGet",
}

# Namespaces that the purl specification's own type definitions use where a distribution's id differs from its vendor's name.
_NAMESPACES = {"rhel": "redhat", "amzn": "amazon", "ol": "oracle", "sles": "suse", "opensuse-leap": "opensuse"}


# How distributions that advisories speak of package what they ship, by their OSV ecosystem; all others: rpm.
_FORMATS = {
    **dict.fromkeys(("Debian", "Ubuntu", "Echo"), "deb"),
    **dict.fromkeys(("Alpine", "Alpaquita", "MinimOS", "Wolfi", "Chainguard"), "apk"),
}

# Where distributions install: none puts programs under /opt, /srv, /home, /var or /usr/local (FHS 3.0, chapters 3 and 4; Debian
# Policy 9.1; Fedora's guidelines), but for Red Hat's software collections. Packages that do are of other making: no advisory of
# the distribution speaks of what they bring along, and a list that names an application's own files silences nothing.
_SYSTEM = ("usr/", "lib/", "lib32/", "lib64/", "libx32/", "bin/", "sbin/", "opt/rh/")
_LOCAL = "usr/local/"


class Assembled(NamedTuple):
    """Packages sorted by purl, what could not be settled, the paths that OS packages installed, and how evidence is named."""

    packages: list[Package]
    gaps: list[Gap]
    owned: Container[str]
    purl_of: Callable[[PackageEvidence], str]


def assemble(
    seen: Sequence[Seen],
    diff_ids: Sequence[str],
    distro: Distro | None,
    ecosystem: str,
    linked: Callable[[str], str] = lambda _: "",
) -> Assembled:
    """Turn evidence into packages.

    `diff_ids` name the layers that `Seen.layer` counts; `distro` and its OSV `ecosystem` (without release, "" where it has none)
    qualify OS packages. `linked` returns where a symbolic link of the image leads, "" where a path is none.
    """
    builder = _Builder(diff_ids, distro, ecosystem, linked)
    for item in seen:
        for evidence in item.located.evidence:
            if isinstance(evidence, PackageEvidence):
                builder.add(evidence, item)
            elif isinstance(evidence, OwnershipEvidence):
                builder.own(evidence)
            elif isinstance(evidence, LicenseEvidence):
                builder.license(evidence)
    packages = builder.packages()
    return Assembled(packages, builder.gaps + _strangers(packages, distro, ecosystem), builder, builder.purl_of)


class _Draft:
    __slots__ = ("declared", "evidence", "licenses", "locations", "paths", "roles")

    def __init__(self, evidence: PackageEvidence) -> None:
        self.evidence = evidence
        self.licenses = evidence.licenses
        self.declared = evidence.declared
        self.roles: set[str] = set()
        self.locations: set[Location] = set()
        self.paths: dict[str, int] = {}  # and the layer that changed what the file had said before; -1 where none did


class _Builder:
    def __init__(
        self, diff_ids: Sequence[str], distro: Distro | None, ecosystem: str, linked: Callable[[str], str] = lambda _: ""
    ) -> None:
        self._linked = linked
        self._diff_ids = diff_ids
        self._distro = distro
        self._ecosystem = ecosystem
        self._drafts: dict[str, _Draft] = {}
        self._owned: dict[str, tuple[str, str]] = {}
        self._licenses: dict[tuple[str, str], tuple[str, ...]] = {}
        self._os_purls: dict[tuple[str, str], str] = {}
        self._came: dict[str, int] = {}
        self.gaps: list[Gap] = []

    def add(self, evidence: PackageEvidence, item: Seen) -> None:
        """Enter one piece of evidence under its purl."""
        path = item.located.path
        nameless_version = evidence.type == "golang" and evidence.role == "main"  # built from sources: listed all the same
        if not evidence.name or not (evidence.version or nameless_version):
            what = evidence.name or "a package"
            self.gaps.append(Gap(code="inventory.no-version", message=f"{what} has no version; it cannot be matched", path=path))
            return
        key = self.purl_of(evidence)
        draft = self._drafts.get(key)
        if draft is None:
            draft = self._drafts[key] = _Draft(evidence)
        draft.licenses = draft.licenses or evidence.licenses
        draft.declared = draft.declared and evidence.declared
        draft.roles.add(evidence.role)
        inner = f"{path}!/{evidence.inner}" if evidence.inner else path
        first = item.origins.get(identity(evidence), item.layer)
        draft.locations.add(Location(inner, self._diff_ids[first] if self._diff_ids else ""))
        changed = first if item.origins and first == item.layer else -1
        draft.paths[path] = max(draft.paths.get(path, -1), changed)
        self._came.setdefault(key, first)

    def own(self, evidence: OwnershipEvidence) -> None:
        """Enter the files of an OS package."""
        owner = (evidence.package, evidence.arch)
        for path in evidence.paths:
            self._owned[path] = owner

    def license(self, evidence: LicenseEvidence) -> None:
        """Enter the licences of an OS package."""
        self._licenses.setdefault((evidence.type, evidence.package), evidence.licenses)

    def __contains__(self, path: object) -> bool:
        """Say whether an OS package installed the file at `path`."""
        return isinstance(path, str) and self._installer(path) is not None

    def packages(self) -> list[Package]:
        """Return what was entered, sorted by purl."""
        return [self._package(key, draft) for key, draft in sorted(self._drafts.items())]

    def purl_of(self, evidence: PackageEvidence) -> str:
        """Return the purl of the package that a piece of evidence is of."""
        if evidence.type not in OS_TYPES:
            return purl(evidence.type, evidence.namespace, evidence.name, evidence.version, evidence.qualifiers)
        version, qualifiers = evidence.version, dict(evidence.qualifiers)
        namespace = evidence.namespace
        if self._distro is not None:
            namespace = namespace or _NAMESPACES.get(self._distro.id, self._distro.id)
            release = self._distro.version or self._distro.codename
            qualifiers.setdefault("distro", f"{self._distro.id}-{release}" if release else self._distro.id)
        if evidence.type == "rpm":
            epoch, colon, rest = version.partition(":")
            if colon:
                version, qualifiers["epoch"] = rest, epoch
        if evidence.source is not None:
            source = evidence.source
            same = source.version in ("", evidence.version)
            qualifiers.setdefault("upstream", source.name if same else f"{source.name}@{source.version}")
        qualifiers.setdefault("arch", evidence.arch)
        key = purl(evidence.type, namespace, evidence.name, version, qualifiers.items())
        self._os_purls.setdefault((evidence.name, evidence.arch), key)
        self._os_purls.setdefault((evidence.name, ""), key)
        return key

    def _package(self, key: str, draft: _Draft) -> Package:
        evidence = draft.evidence
        is_os = evidence.type in OS_TYPES
        return Package(
            name=_full_name(evidence),
            version=evidence.version,
            purl=key,
            type=evidence.type,
            ecosystem=self._ecosystem if is_os else ECOSYSTEMS.get(evidence.type, ""),
            namespace=evidence.namespace,
            arch=evidence.arch,
            source=evidence.source,
            licenses=draft.licenses or (self._stated(evidence) if is_os else ()),
            locations=tuple(sorted(draft.locations)),
            owner="" if is_os else self._owner(draft.paths),
            role=_role(draft.roles),
            declared=draft.declared,
        )

    def _stated(self, evidence: PackageEvidence) -> tuple[str, ...]:
        """Return the licences that a file of its own states; packages of one source share their documents by a link."""
        found = self._licenses.get((evidence.type, evidence.name))
        if found is None and self._licenses:
            other = self._linked(f"usr/share/doc/{evidence.name}").rstrip("/").rpartition("/")[2]
            found = self._licenses.get((evidence.type, other))
        return found or ()

    def _owner(self, paths: Mapping[str, int]) -> str:
        """Return the purl of the OS package that installed all of `paths`, else "": what others made must be matched.

        A file that says something else since a later layer than its package's own is not the package's any more.
        """
        owner = ""
        for path, changed in sorted(paths.items()):
            found = self._installer(path)
            if found is None:
                return ""
            installer = self._os_purls.get(found) or self._os_purls.get((found[0], ""), "")
            if changed > self._came.get(installer, changed):
                return ""
            owner = owner or installer
        return owner

    def _installer(self, path: str) -> tuple[str, str] | None:
        """Return the OS package that says to have installed the file at `path`, if it lies where distributions install."""
        if not path.startswith(_SYSTEM) or path.startswith(_LOCAL):
            return None
        return self._owned.get(path) or self._owned.get(_other_name(path))


def _strangers(packages: Sequence[Package], distro: Distro | None, ecosystem: str) -> list[Gap]:
    """Packages of a kind that the distribution does not use: its advisories, the only ones that are asked, mean others."""
    own = _FORMATS.get(ecosystem, "rpm")
    if not ecosystem or distro is None:
        return []
    gaps = []
    for kind in sorted(OS_TYPES - {own}):
        strange = [package for package in packages if package.type == kind]
        if strange:
            name = f"{distro.id} {distro.version}".strip()
            message = f"{len(strange)} {kind} packages in what calls itself {name}: no advisory source speaks of them there"
            path = strange[0].locations[0].path
            gaps.append(Gap(code="advisories.unsupported-distribution", message=message, path=path, source=name))
    return gaps


def _role(roles: set[str]) -> str:
    """Return one role of several: what ships outranks what only developers need, and what is known outranks a guess."""
    return next(role for role in ("main", "", "dev", *sorted(roles)) if role in roles)


def _full_name(evidence: PackageEvidence) -> str:
    """Return the name as its ecosystem writes it: @scope/name, group:artifact, a whole module path."""
    separator = ":" if evidence.type == "maven" else "/"
    return f"{evidence.namespace}{separator}{evidence.name}" if evidence.namespace else evidence.name


def _other_name(path: str) -> str:
    """Return the path on the other side of a merged /usr: packages list /lib/x for what lies at /usr/lib/x, and the reverse."""
    return path[4:] if path.startswith("usr/") else f"usr/{path}"
