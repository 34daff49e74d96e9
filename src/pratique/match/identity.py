"""A component as a document names it and what was scanned in; whether they are the same, else what differs, out. Pure.

Purls are compared as VEX needs it: what the document leaves out (version, qualifiers) means any, what it says must hold.
Spellings that mean the same are the same: registries' names for Docker Hub, architectures, releases of distributions, escapes,
letter case where the type of the purl ignores it (https://github.com/package-url/purl-spec, types).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

from pratique.match.vers import Differs, in_ranges, key_of
from pratique.model.errors import ParseError
from pratique.model.inventory import Distro, Package
from pratique.model.purl import Purl, parse
from pratique.model.report import Target
from pratique.model.vex import Component

OS_TYPES = frozenset(("deb", "apk", "rpm"))
IMAGE_TYPES = frozenset(("oci", "docker"))
_NAMED = frozenset(("registry", "docker", "podman", "containerd"))  # schemes whose reference is the name of an image
HUB = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"))
_CASELESS = frozenset(("deb", "apk", "golang", "composer", "nuget", "hex", "github", "bitbucket", "oci", "docker", "huggingface"))
_REMEMBERED = 16_384  # purls of documents, which name the same ones over and over
_PEP_503 = re.compile(r"[-_.]+")
_VENDORS = {
    "rhel": "redhat", "amzn": "amazon", "amazonlinux": "amazon", "ol": "oracle", "oraclelinux": "oracle", "sles": "suse",
    "opensuse-leap": "opensuse", "rockylinux": "rocky", "rocky-linux": "rocky", "alma": "almalinux",
}  # fmt: skip
_ARCHITECTURES = {
    "x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
    "x86": "386", "armv7": "arm", "armv7l": "arm", "armhf": "arm", "armv6": "arm", "armel": "arm", "powerpc64le": "ppc64le",
    "ppc64el": "ppc64le", "noarch": "all", "any": "all",
}  # fmt: skip
_SOURCES = frozenset(("source", "src"))
# Where a package is to be had, not which one it is; "package-id" is Syft's own number of an entry.
_MEANS_NOTHING = frozenset(("package-id",))


class About:
    """What was scanned: names and digests of the image, its packages by name, its distribution."""

    def __init__(self, target: Target, packages: Sequence[Package], distro: Distro | None) -> None:
        self.target = target
        self.distro = distro
        self.digests = frozenset(digest for digest in (target.digest, *target.digests) if digest)
        named = target.scheme in _NAMED
        self.repository = repository(target.reference) if named else ""
        self.tag = tag_of(target.reference) if named else ""
        self.own = (
            f"urn:pratique:target:{quote(target.scheme, safe='-')}:{target.digest or quote(target.reference, safe='/-._~')}"
        )
        self._parsed: dict[str, Purl] = {}
        self._named: dict[tuple[str, str], list[Package]] = {}
        self._sources: dict[tuple[str, str], list[Package]] = {}
        for package in packages:
            purl = self.purl(package)
            self._named.setdefault((purl.type, name_of(purl)), []).append(package)
            source = package.source.name if package.source is not None else package.name
            self._sources.setdefault((purl.type, source.lower()), []).append(package)

    def purl(self, package: Package) -> Purl:
        """Return a package's purl, taken apart once."""
        found = self._parsed.get(package.purl)
        if found is None:
            found = self._parsed[package.purl] = _parsed(package.purl) or Purl("", "", package.name, package.version, {})
        return found

    def called(self, claim: Purl) -> list[Package]:
        """Return the packages that have a purl's name, or are built from the source that it names."""
        if is_source(claim):
            return self._sources.get((claim.type, claim.name.lower()), [])
        return self._named.get((claim.type, name_of(claim)), [])

    def concerns(self, claim: Purl) -> bool:
        """Say whether there is a package that has a purl's name, or is built from a source of that name."""
        return bool(self.called(claim) or (claim.type in OS_TYPES and self._sources.get((claim.type, claim.name.lower()))))


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> Purl | None:
    try:
        return parse(text)
    except ParseError:
        return None


def claims(component: Component) -> list[Purl]:
    """Return a component's purls as far as they are any."""
    return [purl for purl in map(_parsed, component.purls) if purl is not None]


def name_of(purl: Purl) -> str:
    """Return a purl's name in the one spelling of its type, with its namespace where that is part of the name."""
    if purl.type in OS_TYPES:
        return purl.name if purl.type == "rpm" else purl.name.lower()
    whole = f"{purl.namespace}/{purl.name}" if purl.namespace else purl.name
    if purl.type == "pypi":
        return _PEP_503.sub("-", whole).lower()
    return whole.lower() if purl.type in _CASELESS else whole


def is_source(purl: Purl) -> bool:
    """Say whether a purl of a distribution means a source and all that is built from it."""
    return purl.type in OS_TYPES and purl.qualifiers.get("arch", "") in _SOURCES


def repository(reference: str) -> str:
    """Return the repository of an image name, as registries know it: "nginx:1" -> "docker.io/library/nginx"."""
    name = reference.partition("@")[0].partition("://")[2] if "://" in reference else reference.partition("@")[0]
    head, slash, last = name.strip("/").rpartition("/")
    name = head + slash + last.partition(":")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first.lower() in HUB:
        rest = rest if "/" in rest or not rest else f"library/{rest}"
        return f"docker.io/{rest.lower()}" if rest else ""
    return f"{first.lower()}/{rest.lower()}"


def tag_of(reference: str) -> str:
    """Return the tag of an image name; "latest" where it names neither tag nor digest."""
    name, at, _ = reference.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or ("" if at else "latest")


def package_differs(component: Component, package: Package, about: About) -> Differs | None:
    """Compare a component with a package; None where it is the same."""
    found = [_compared(claim, component.ranges, package, about) for claim in claims(component) if claim.type not in IMAGE_TYPES]
    if None in found:
        return None
    return max((one for one in found if one is not None), default=Differs(0, "not-comparable", incomparable(component)))


def incomparable(component: Component) -> str:
    """Say why nothing can be compared with a component."""
    wrong = next((purl for purl in component.purls if _parsed(purl) is None), "")
    if wrong:
        return f"{wrong} is no package URL"
    if component.cpes:
        return f"{component.label} is named by a CPE only, which no package or image can be compared with"
    return f"{component.label} is named in no way that can be compared (a purl or a digest)"


def _compared(claim: Purl, ranges: Sequence[str], package: Package, about: About) -> Differs | None:
    purl = about.purl(package)
    source = is_source(claim)
    if claim.type != purl.type or not _same_name(claim, purl, package, source=source):
        return Differs(1, "package-not-found", f"it is about {_text(claim)}, not {package.name}")
    version = package.source.version or package.version if source and package.source is not None else package.version
    if claim.version and not _same_version(claim, version, package):
        return Differs(4, "version-differs", f"it is about version {_stated(claim)}; {package.name} is {version}")
    for key, value in claim.qualifiers.items():
        differs = _qualifier(key, value, claim, package, about)
        if differs:
            return Differs(5, "qualifier-differs", f"it is about {_text(claim)} with {differs}")
    if claim.subpath:
        return Differs(5, "qualifier-differs", f"it is about {claim.subpath} in {_text(claim)} only")
    return in_ranges(ranges, version, package)


def _text(claim: Purl) -> str:
    return f"pkg:{claim.type}/{claim.namespace + '/' if claim.namespace else ''}{claim.name}"


def _stated(claim: Purl) -> str:
    epoch = claim.qualifiers.get("epoch", "")
    return f"{epoch}:{claim.version}" if epoch else claim.version


def _same_name(claim: Purl, purl: Purl, package: Package, *, source: bool) -> bool:
    if claim.type not in OS_TYPES:
        return name_of(claim) == name_of(purl)
    if claim.namespace and _vendor(claim.namespace) != _vendor(purl.namespace):
        return False
    if source:
        own = package.source.name if package.source is not None else package.name
        return claim.name.lower() == own.lower()
    return name_of(claim) == name_of(purl)


def _vendor(namespace: str) -> str:
    lowered = namespace.lower()
    return _VENDORS.get(lowered, lowered)


def _same_version(claim: Purl, version: str, package: Package) -> bool:
    wanted = claim.version
    if claim.type == "rpm":
        epoch, colon, rest = version.partition(":")
        own_epoch, version = (epoch, rest) if colon else ("0", version)
        stated, colon, rest = wanted.partition(":")
        stated, wanted = (stated, rest) if colon else (claim.qualifiers.get("epoch", ""), wanted)
        if stated and stated != own_epoch:
            return False
    if claim.type == "golang":
        wanted, version = wanted.removeprefix("v"), version.removeprefix("v")
    return wanted == version or key_of(wanted, package) == key_of(version, package) != b""


def _qualifier(key: str, value: str, claim: Purl, package: Package, about: About) -> str:
    """Return what differs, "" where a qualifier holds."""
    own = about.purl(package).qualifiers
    if key in _MEANS_NOTHING or own.get(key, "").lower() == value.lower():
        return ""
    if key == "arch":
        have = package.arch or own.get("arch", "") or about.target.platform.partition("/")[2].partition("/")[0]
        if value in _SOURCES and claim.type in OS_TYPES:
            return ""
        return "" if architecture(value) == architecture(have) else f"arch={value}; {package.name} has {have or 'none'}"
    if key == "epoch":
        epoch = package.version.partition(":")[0] if ":" in package.version else "0"
        return "" if epoch == value else f"epoch={value}; {package.name} has {epoch}"
    if key in ("distro", "os_name", "os_version", "os_distro") and claim.type in OS_TYPES:
        return _release(key, value, claim, about)
    if key == "upstream":
        source = package.source.name if package.source is not None else package.name
        return "" if value.partition("@")[0] == source else f"upstream={value}; {package.name} is built from {source}"
    if key == "type" and value == "jar" and claim.type == "maven":
        return ""
    return f"{key}={value}; {package.name} has {own.get(key) or 'none'}"


def architecture(name: str) -> str:
    """Return the one spelling of an architecture (Go's)."""
    lowered = name.lower()
    return _ARCHITECTURES.get(lowered, lowered)


def _release(key: str, value: str, claim: Purl, about: About) -> str:
    """Compare what says the distribution: `distro` (debian-12, bookworm), or Docker's os_name, os_version and os_distro."""
    distro = about.distro
    if distro is None:
        return f"{key}={value}; the distribution of this target is not known"
    lowered = value.lower()
    shown = f"{key}={value}; this is {distro.id} {distro.version or distro.codename}".rstrip()
    if key == "os_name":
        return "" if _vendor(lowered) == _vendor(distro.id) else shown
    if key == "os_version":
        return "" if _same_release(lowered, distro.version) else shown
    codename = distro.codename.lower()
    if key == "os_distro":
        # the codename says no more than the version, and not every image has it
        return "" if lowered == codename or (not codename and claim.qualifiers.get("os_version")) else shown
    if lowered in (codename, distro.id):
        return ""
    head, dash, release = lowered.rpartition("-")
    same = bool(dash) and _vendor(head) == _vendor(distro.id)
    return "" if same and (_same_release(release, distro.version) or release == codename) else shown


def _same_release(one: str, other: str) -> bool:
    """Say whether releases are the same as far as both say: 12 and 12.6, but not 8.4 and 8.6."""
    if not one or not other:
        return False
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
