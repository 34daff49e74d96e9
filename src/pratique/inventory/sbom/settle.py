"""A Bill in, an Inventory out: the names, versions and purls that reading the image itself would have given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from pratique.inventory.assemble import ECOSYSTEMS, OS_TYPES, assemble
from pratique.inventory.distro import advisory_ecosystem, settle_distro
from pratique.inventory.sbom.bill import MAX_LOCATIONS, MAX_NAME, Bill, Component
from pratique.inventory.sbom.installed import infer
from pratique.inventory.squash import Seen
from pratique.model.ecosystems import base
from pratique.model.errors import ParseError
from pratique.model.inventory import (
    Distro,
    DistroEvidence,
    Gap,
    Inventory,
    Location,
    Package,
    PackageEvidence,
    SourcePackage,
)
from pratique.model.layer import Located
from pratique.model.purl import Purl, parse

# What is described and not installed: images, operating systems and files are no packages.
_SUBJECTS = frozenset(("oci", "docker", "file"))
# Ecosystems that the package types of the model do not name, by purl type; names are those of OSV.
_OTHER_ECOSYSTEMS = {
    "hex": "Hex", "pub": "Pub", "cran": "CRAN", "hackage": "Hackage", "swift": "SwiftURL", "bitnami": "Bitnami",
    "githubactions": "GitHub Actions", "conan": "ConanCenter", "opam": "opam",
}  # fmt: skip
_TYPES = {"alpine": "apk", "go": "golang"}
# Trivy and others name distributions after their vendors; os-release has other names.
_DISTROS = {
    "redhat": "rhel", "amazon": "amzn", "amazonlinux": "amzn", "oracle": "ol", "oraclelinux": "ol", "alma": "almalinux",
    "suse linux enterprise server": "sles", "suse": "sles", "sle": "sles", "opensuse.leap": "opensuse-leap",
    "opensuse": "opensuse-leap", "opensuse.tumbleweed": "opensuse-tumbleweed", "cbl-mariner": "mariner",
    "red hat enterprise linux": "rhel", "rockylinux": "rocky",
}  # fmt: skip
_DATABASES = re.compile(
    r"(?:^|/)(?:var/lib/dpkg/status(?:\.d/[^/]+)?|(?:usr/)?lib/apk/db/installed|(?:var/lib|usr/lib/sysimage)/rpm/[^/]+"
    r"|var/lib/rpmmanifest/[^/]+)$"
)
_REBUILT = re.compile(r"\+b\d+$")  # Debian built the same source once more: no source package has such a version
_PRIMARY = {"pypi": re.compile(r"/(?:METADATA|PKG-INFO)$|\.egg-info$")}


def settle(bill: Bill, *, details: bool = False) -> Inventory:
    """Turn a bill into an inventory. Entries that cannot be used are gaps. `details` keeps needs and digests, too."""
    parsed = [(component, _parsed(component, bill.gaps)) for component in bill.components]
    used = [(component, purl) for component, purl in parsed if purl is not None and purl.type not in _SUBJECTS]
    stated = _distro(bill.distro, [purl for _, purl in used])
    distro = settle_distro([stated]) if stated is not None else None
    release = (advisory_ecosystem(distro) or "") if distro is not None else ""
    seen: list[Seen] = []
    others: list[tuple[Component, Purl]] = []
    serial: list[Component] = []
    for component, purl in used:
        evidence = _evidence(component, purl, distro)
        if evidence is None:
            others.append((component, purl))
        else:
            seen.append(Seen(0, "sbom", Located(str(len(serial)), (evidence,))))
            serial.append(component)
    assembled = assemble(seen, (), distro, base(release) if release else "")
    gaps = bill.gaps + [_renamed(gap, serial) for gap in assembled.gaps]
    packages, refs = _completed(assembled.packages, serial)
    packages += [package for package in _foreign(others, refs) if package is not None]
    owned = _owned(packages, refs)
    if bill.silent and any(package.type in OS_TYPES for package in owned):
        gaps.append(_unlisted(bill))
    if not bill.owners:
        inferred = infer(owned)
        owned = [msgspec.structs.replace(one, owner=inferred.get(one.purl, one.owner)) for one in owned]
    if details:
        from pratique.inventory.sbom.needs import detailed  # noqa: PLC0415 - only where one SBOM is made of another

        owned = detailed(owned, bill, refs)
    return Inventory(distro=distro, release=release, packages=tuple(owned), gaps=tuple(dict.fromkeys(gaps)))


def _unlisted(bill: Bill) -> Gap:
    """Tell that a document leaves something out; `pratique.match.brought` says of whom, where it makes a difference."""
    what = f"{bill.format} of {bill.silent}, which leaves out packages of languages that packages of the system installed"
    return Gap(code="inventory.brought-unlisted", message=what)


def _parsed(component: Component, gaps: list[Gap]) -> Purl | None:
    """Read a component's purl; one without a purl is listed by its name, so that it is seen to be there."""
    if max(len(component.purl), len(component.name), len(component.version)) > MAX_NAME:
        shown = (component.name or component.purl)[:100]
        gaps.append(Gap(code="inventory.invalid", message=f"{shown}: a name of more than {MAX_NAME} characters"))
        return None
    if not component.purl:
        if not component.name:
            gaps.append(Gap(code="inventory.invalid", message="a component has neither name nor package URL"))
            return None
        return Purl("generic", "", component.name, component.version, {})
    try:
        return parse(component.purl)
    except ParseError as error:
        path = component.locations[0].path if component.locations else ""
        gaps.append(Gap(code="inventory.invalid", message=f"{component.name[:100]}: {error}", path=path))
        return None


def _distro(stated: DistroEvidence | None, purls: Iterable[Purl]) -> DistroEvidence | None:
    """Return the distribution that the document states, its release from the packages if need be; else the one they name."""
    spoken = _spoken(purls)
    if stated is None or not stated.id:
        return spoken
    found = _canonical(stated)
    if not found.version and not found.codename and spoken is not None and spoken.id == found.id:
        return msgspec.structs.replace(found, version=spoken.version, codename=spoken.codename)
    return found


def _spoken(purls: Iterable[Purl]) -> DistroEvidence | None:
    """Return the distribution that most packages of the system name."""
    named = Counter(
        (purl.namespace, purl.qualifiers["distro"]) for purl in purls if purl.type in OS_TYPES and "distro" in purl.qualifiers
    )
    if not named:
        return None
    (namespace, text), _ = max(named.items(), key=lambda item: (item[1], item[0]))
    head, dash, tail = text.rpartition("-")
    if text[:1].isdigit():
        return _canonical(DistroEvidence(id=namespace, version=text))
    if dash and tail[:1].isdigit():
        return _canonical(DistroEvidence(id=head, version=tail))
    return _canonical(DistroEvidence(id=head or text, codename=tail if dash else ""))


def _canonical(evidence: DistroEvidence) -> DistroEvidence:
    """Name a distribution as its os-release does: `debian 12.5` is VERSION_ID 12, `redhat` is rhel."""
    identity = _DISTROS.get(evidence.id.lower(), evidence.id.lower())
    version = evidence.version.partition(" ")[0]
    if identity in ("debian", "amzn"):
        version = version.partition(".")[0] if version[:1].isdigit() else version
    if identity == "debian" and version and not version[0].isdigit():  # "trixie/sid" is a code name
        return msgspec.structs.replace(evidence, id=identity, version="", codename=evidence.codename or version)
    return msgspec.structs.replace(evidence, id=identity, version=version)


def _evidence(component: Component, purl: Purl, distro: Distro | None) -> PackageEvidence | None:
    """Return evidence as a cataloger would have given it; None for a type that the model does not know."""
    kind = _TYPES.get(purl.type, purl.type)
    if kind in OS_TYPES:
        version = _os_version(component, purl)
        return PackageEvidence(
            type=kind,  # type: ignore[arg-type]  # one of OS_TYPES
            name=purl.name,
            version=version,
            namespace="" if distro is not None else purl.namespace,
            arch=purl.qualifiers.get("arch", ""),
            source=_source(component, purl, version),
            licenses=component.licenses,
            qualifiers=_system_qualifiers(component, purl),
            role=component.role,
        )
    if kind not in ECOSYSTEMS:
        return None
    version = purl.version or component.version
    if kind == "golang" and version == "(devel)":  # built from sources: it has none
        version = ""
    namespace, name = (purl.namespace, purl.name) if kind != "golang" else _module(component, purl)
    if name == "stdlib" and not namespace:
        version = version.removeprefix("v")  # Trivy writes the compiler's version as a module's
    elif kind == "golang" and version[:1].isdigit() and name != "toolchain":
        version = f"v{version}"  # and a main module's without its v
    return PackageEvidence(
        type=kind,  # type: ignore[arg-type]  # one of ECOSYSTEMS
        namespace=namespace,
        name=name,
        version=version,
        licenses=component.licenses,
        qualifiers=_kept(
            purl, ("type",) if kind == "maven" and purl.qualifiers.get("type") == "jar" else ()
        ),  # jar is the default
        role=component.role or _role(kind, version, component),
        declared=component.declared,
    )


# Manifests of what was installed; any other package.json is an application's own (as in `pratique.inventory.catalogers.node`).
_INSTALLED_NODE = re.compile(r"(?:^|/)node_modules/|^usr/(?:share|lib|lib/[^/]+)/nodejs/|(?:^|/)(?:site|dist)-packages/")


def _role(kind: str, version: str, component: Component) -> str:
    """Say what an application is itself, where a document only has places."""
    if kind == "golang":
        return "main" if not version else ""
    places = [place.path for place in component.locations]
    own = kind == "npm" and places and all(path.endswith("package.json") and not _INSTALLED_NODE.search(path) for path in places)
    return "main" if own else ""


def _module(component: Component, purl: Purl) -> tuple[str, str]:
    """Return a Go module's path, split at its last slash. Syft puts what follows the repository into the subpath."""
    path = f"{purl.namespace}/{purl.name}" if purl.namespace else purl.name
    if purl.subpath and component.name == f"{path}/{purl.subpath}":
        path = component.name
    head, _, last = path.rpartition("/")
    return head, last


def _kept(purl: Purl, but: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in purl.qualifiers.items() if key not in but and key.isascii())


def _system_qualifiers(component: Component, purl: Purl) -> tuple[tuple[str, str], ...]:
    """The module of an rpm stands in its purl, in a property, or in the metadata of Syft's own format."""
    kept = _kept(purl, ("distro", "distro_name", "arch", "epoch", "upstream", "modularitylabel"))
    module = component.module or purl.qualifiers.get("modularitylabel", "")
    known = "rpmmod" in purl.qualifiers or not module or purl.type != "rpm"
    return kept if known else tuple(sorted((*kept, ("rpmmod", module))))


def _os_version(component: Component, purl: Purl) -> str:
    """Return the version with its epoch, wherever the document has that."""
    version = purl.version or component.version
    epoch = purl.qualifiers.get("epoch", "")
    if ":" in version:
        return version
    if epoch.isdecimal():
        return f"{epoch}:{version}"
    stated, colon, rest = component.version.partition(":")
    return component.version if colon and rest == version and stated.isdecimal() else version


def _source(component: Component, purl: Purl, version: str) -> SourcePackage | None:
    """Return the source package; None where it has the package's own name and version, as catalogers say it."""
    source = component.source
    if source is None:
        upstream = purl.qualifiers.get("upstream", "")
        name, at, stated = upstream.rpartition("@")
        source = SourcePackage(name, stated) if at else SourcePackage(upstream)
        if upstream.endswith(".src.rpm") and upstream.count("-") >= 2:
            name, release, build = upstream.removesuffix(".src.rpm").rsplit("-", 2)
            epoch, colon, _ = version.partition(":")
            source = SourcePackage(name, f"{epoch}:{release}-{build}" if colon else f"{release}-{build}")
    if not source.name and purl.type == "deb" and _REBUILT.search(version):
        return SourcePackage(purl.name, _REBUILT.sub("", version))
    if not source.name or (source.name == purl.name and source.version in ("", version)):
        return None
    return source if source.version else SourcePackage(source.name, _REBUILT.sub("", version) if purl.type == "deb" else version)


def _renamed(gap: Gap, serial: Sequence[Component]) -> Gap:
    """Put the path of a component in the place of its number."""
    component = serial[int(gap.path)] if gap.path.isdecimal() else None
    if component is None:
        return gap
    path = component.locations[0].path if component.locations else ""
    return msgspec.structs.replace(gap, path=path, package=component.purl)


def _completed(assembled: Sequence[Package], serial: Sequence[Component]) -> tuple[list[Package], dict[str, str]]:
    """Give packages the locations of their components; return them, and the purl of each component by reference."""
    packages = []
    refs: dict[str, str] = {}
    for package in assembled:
        components = [serial[int(location.path)] for location in package.locations]
        refs.update({component.ref: package.purl for component in components if component.ref})
        places = {location for component in components for location in _primary(package.type, component.locations)}
        owners = sorted({component.owner for component in components})
        owner = owners[0]  # "" where one has none: a second copy of other making must be matched
        packages.append(msgspec.structs.replace(package, locations=tuple(sorted(places)[:MAX_LOCATIONS]), owner=owner))
    return packages, refs


def _primary(kind: str, locations: Sequence[Location]) -> Sequence[Location]:
    """Leave out files that only support the evidence, where a document lists them all."""
    pattern = _DATABASES if kind in OS_TYPES else _PRIMARY.get(kind)
    found = [place for place in locations if pattern.search(place.path)] if pattern is not None else []
    return found or locations


def _owned(packages: Iterable[Package], refs: dict[str, str]) -> list[Package]:
    """Put purls in the place of references to owners, and sort."""
    types = {package.purl: package.type for package in packages}
    found = []
    for package in packages:
        owner = refs.get(package.owner, "")
        if package.type in OS_TYPES or types.get(owner) not in OS_TYPES:
            owner = ""
        found.append(msgspec.structs.replace(package, owner=owner) if owner != package.owner else package)
    return sorted(found, key=lambda package: package.purl)


def _foreign(others: Iterable[tuple[Component, Purl]], refs: dict[str, str]) -> Iterable[Package]:
    """Return packages of types that the model does not name, under the purl that the document has."""
    found: dict[str, Package] = {}
    for component, purl in others:
        key = component.purl or f"pkg:generic/{purl.name}" + (f"@{purl.version}" if purl.version else "")
        refs.setdefault(component.ref, key)
        separator = "/" if purl.namespace else ""
        found[key] = Package(
            name=f"{purl.namespace}{separator}{purl.name}",
            version=purl.version or component.version,
            purl=key,
            type="generic",
            ecosystem=_OTHER_ECOSYSTEMS.get(purl.type, ""),
            namespace=purl.namespace,
            licenses=component.licenses,
            locations=tuple(sorted(set(component.locations))[:MAX_LOCATIONS]),
            owner=component.owner,
            role=component.role,
            declared=component.declared,
        )
    return found.values()
