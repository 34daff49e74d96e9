"""Evidence in, packages out: owners, licences and locations."""

from __future__ import annotations

import itertools

from pratique.inventory.assemble import assemble
from pratique.inventory.squash import Seen, squash
from pratique.model.inventory import (
    Distro,
    Evidence,
    LicenseEvidence,
    OwnershipEvidence,
    Package,
    PackageEvidence,
    SourcePackage,
)
from pratique.model.layer import Inspected, LayerRecord, LayerTree, Located

DEBIAN = Distro(id="debian", version="12")


def seen(path: str, *evidence: Evidence, layer: int = 0) -> Seen:
    """What one inspector saw in a file."""
    return Seen(layer, "reader", Located(path, evidence))


def deb(name: str, version: str = "1", arch: str = "amd64", **other: object) -> PackageEvidence:
    """A Debian package."""
    return PackageEvidence(type="deb", name=name, version=version, arch=arch, **other)  # type: ignore[arg-type]


def pypi(name: str, version: str = "1") -> PackageEvidence:
    """A Python package."""
    return PackageEvidence(type="pypi", name=name, version=version)


def packages(*items: Seen) -> dict[str, Package]:
    """Assemble, by purl."""
    return {package.purl: package for package in assemble(items, ["sha256:0", "sha256:1"], DEBIAN, "Debian").packages}


def test_an_os_package() -> None:
    """Distribution, architecture and source qualify it; licences come from their own file."""
    found = packages(
        seen("var/lib/dpkg/status", deb("libx", "1.0-1", source=SourcePackage("x", "1.0")), layer=1),
        seen("usr/share/doc/libx/copyright", LicenseEvidence(type="deb", package="libx", licenses=("MIT",))),
        seen("usr/share/doc/other/copyright", LicenseEvidence(type="deb", package="other", licenses=("ISC",))),
    )
    [package] = found.values()
    assert package.purl == "pkg:deb/debian/libx@1.0-1?arch=amd64&distro=debian-12&upstream=x%401.0"
    assert package.ecosystem == "Debian"
    assert package.licenses == ("MIT",)
    assert [(place.path, place.layer) for place in package.locations] == [("var/lib/dpkg/status", "sha256:1")]


def test_owners() -> None:
    """A package is its owner's only if all its places are, on either side of a merged /usr; the order of evidence is nothing."""
    status = seen("var/lib/dpkg/status", deb("python3-x"), deb("python3-y"))
    lists = [
        seen("x.list", OwnershipEvidence(type="deb", package="python3-x", paths=("lib/x.dist-info/METADATA",))),
        seen("y.list", OwnershipEvidence(type="deb", package="python3-y", paths=("usr/lib/y.dist-info/METADATA",))),
    ]
    places = [seen("usr/lib/x.dist-info/METADATA", pypi("x")), seen("usr/lib/y.dist-info/METADATA", pypi("x"))]
    copy = seen("opt/x.dist-info/METADATA", pypi("x"))
    expected = "pkg:deb/debian/python3-x@1?arch=amd64&distro=debian-12"
    for order in itertools.permutations([status, *lists, *places]):
        assert packages(*order)["pkg:pypi/x@1"].owner == expected
    assert packages(status, *lists, *places, copy)["pkg:pypi/x@1"].owner == ""
    assert packages(*lists, *places)["pkg:pypi/x@1"].owner == ""


def test_a_file_that_a_later_layer_changed_is_not_its_packages() -> None:
    """Its package's advisories say nothing of it. A layer that writes it as it was, or updates the package, changes nothing."""

    listed = OwnershipEvidence(type="deb", package="node-x", paths=("usr/share/x/package.json",))

    def layer(*evidence: PackageEvidence) -> LayerRecord:
        files = {"usr/share/x/package.json": tuple(item for item in evidence if item.type == "pypi")}
        files["var/lib/dpkg/status"] = tuple(item for item in evidence if item.type == "deb")
        there = [Located(path, found) for path, found in files.items() if found]
        tree = LayerTree(files="\0".join(item.path for item in there).encode())
        return LayerRecord(diff_id="", tree=tree, inspected={"reader": Inspected(1, tuple(there), ())})

    def owner(*upper: PackageEvidence) -> str:
        layers = [layer(deb("node-x"), pypi("x", "1")), layer(*upper)]
        alive = [*squash(layers).alive, seen("x.list", listed)]
        found = assemble(alive, ["sha256:0", "sha256:1"], DEBIAN, "Debian").packages
        return next(package.owner for package in found if package.type == "pypi")

    ours = "pkg:deb/debian/node-x@1?arch=amd64&distro=debian-12"
    assert owner() == ours
    assert owner(pypi("x", "1")) == ours
    assert owner(deb("node-x", "1"), pypi("x", "1")) == ours
    assert owner(pypi("x", "0.9")) == ""
    assert owner(pypi("x", "0.9"), deb("node-x", "1")) == ""
    assert owner(pypi("x", "2"), deb("node-x", "2")) == ours.replace("@1", "@2")


def test_one_package_with_all_its_places() -> None:
    """One entry a purl; a place inside an archive is told."""
    inner = PackageEvidence(type="maven", namespace="g", name="a", version="1", inner="WEB-INF/lib/a.jar")
    outer = PackageEvidence(type="maven", namespace="g", name="a", version="1")
    [package] = packages(seen("z.war", inner), seen("a.jar", outer, layer=1)).values()
    assert [place.path for place in package.locations] == ["a.jar", "z.war!/WEB-INF/lib/a.jar"]
    assert [place.layer for place in package.locations] == ["sha256:1", "sha256:0"]


def test_a_package_without_a_version_is_a_gap() -> None:
    """It cannot be matched, and must not be silent."""
    assembled = assemble([seen("x", pypi("x", ""))], ["sha256:0"], None, "")
    assert assembled.packages == []
    assert [(gap.code, gap.path) for gap in assembled.gaps] == [("inventory.no-version", "x")]


def test_without_a_distribution() -> None:
    """OS packages of an unknown distribution are listed without an ecosystem."""
    [package] = assemble([seen("s", deb("x"))], [""], None, "").packages
    assert (package.purl, package.ecosystem) == ("pkg:deb/x@1?arch=amd64", "")


def test_an_epoch_of_rpm_is_a_qualifier() -> None:
    """As the purl specification has it."""
    evidence = PackageEvidence(type="rpm", name="x", version="2:1-3", arch="x86_64")
    [package] = assemble([seen("s", evidence)], [""], Distro(id="rhel", version="9.2"), "Red Hat").packages
    assert package.purl == "pkg:rpm/redhat/x@1-3?arch=x86_64&distro=rhel-9.2&epoch=2"
