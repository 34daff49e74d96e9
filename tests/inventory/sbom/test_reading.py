"""SBOMs in: our own come back as they went out, those of others give what the image gives, nothing unreadable is silent."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

import hostilereport
import reporting
from pratique.inventory.sbom import bill as bills
from pratique.inventory.sbom.read import read_bill, read_sbom
from pratique.inventory.sbom.settle import settle
from pratique.model.errors import ParseError, TargetError
from pratique.model.inventory import Checksum, Inventory, Location, Package, PackageDetails, SourcePackage
from pratique.model.purl import parse
from pratique.model.report import Report
from pratique.report import cyclonedx, spdx

DOCUMENTS = Path(__file__).parent / "documents"
OURS: dict[str, Any] = {
    "cyclonedx": cyclonedx.REPORTER,
    "cyclonedx@1.7": cyclonedx.REPORTER.at("1.7"),
    "spdx": spdx.REPORTER,
    "spdx@3.0": spdx.REPORTER.at("3.0"),
}
FOREIGN = sorted(path.name for path in DOCUMENTS.glob("*.*") if path.suffix != ".md")


def read(document: Any) -> Inventory:
    """Read a document given as bytes or as JSON."""
    return settle(read_bill(document if isinstance(document, bytes) else json.dumps(document).encode()))


def written(name: str, report: Report) -> bytes:
    """Write a report as one of our own SBOMs."""
    out = io.BytesIO()
    OURS[name].write(report, out)
    return out.getvalue()


def debian(name: str, version: str, source: str = "", **more: Any) -> Package:
    """Make a package as an image of Debian 12 gives it."""
    upstream = f"&upstream={source}" if source else ""
    quoted = version.replace("+", "%2B")
    return Package(
        name=name,
        version=version,
        purl=f"pkg:deb/debian/{name}@{quoted}?arch=amd64&distro=debian-12{upstream}",
        type="deb",
        ecosystem="Debian",
        arch="amd64",
        source=SourcePackage(source, version) if source else None,
        locations=(Location("var/lib/dpkg/status", reporting.LAYERS[0].diff_id),),
        **more,
    )


def whole() -> Report:
    """Make a report whose packages have every member."""
    owner = debian("python3-requests", "2.28.1+dfsg-1", "requests", licenses=("Apache-2.0",))
    packages = (
        debian("vim-tiny", "2:9.0.1378-2", "vim"),
        owner,
        msgspec.structs.replace(reporting.pypi("requests", "2.28.1"), owner=owner.purl),
        msgspec.structs.replace(reporting.pypi("shop"), role="main", declared=True, licenses=("MIT OR ISC",)),
        Package(
            name="@babel/traverse",
            version="7.22.0",
            purl="pkg:npm/%40babel/traverse@7.22.0",
            type="npm",
            ecosystem="npm",
            namespace="@babel",
            locations=(Location("a b/package.json", "sha256:2222222222222222"), Location("z!/inner", "")),
        ),
        Package(name="g/m/v2", version="", purl="pkg:golang/g/m/v2", type="golang", ecosystem="Go", namespace="g/m", role="main"),
    )
    ordered = tuple(sorted(packages, key=lambda package: package.purl))
    problems = hostilereport.rich().problems
    return reporting.report(packages=ordered, problems=problems, complete=False)


@pytest.mark.parametrize("name", OURS)
def test_our_own_come_back(name: str) -> None:
    """Every package with its owner, role and places, the distribution, and what was not examined."""
    report = whole()
    inventory = read(written(name, report))
    assert inventory.packages == report.packages
    assert inventory.release == "Debian:12"
    assert [gap.code for gap in inventory.gaps] == ["inventory.unreadable"]  # what was known then is asked anew


@pytest.mark.parametrize("name", OURS)
def test_needs_and_digests_come_back(name: str) -> None:
    """One SBOM can be made of another: what depends on what, how much of it is known, and digests."""
    owner, requests, *others = (package for package in sorted(whole().packages, key=lambda one: "requests" not in one.name))
    digests = (Checksum("h1", "x" * 43 + "="), Checksum("sha256", "2" * 64))
    known = (
        PackageDetails(relations="complete"),
        PackageDetails(relations="incomplete", depends=(others[0].purl,)),
        PackageDetails(relations="complete", depends=(owner.purl,), hashes=digests),
        *(PackageDetails() for _ in others[1:]),
    )
    packages = [msgspec.structs.replace(one, details=about) for one, about in zip((owner, requests, *others), known, strict=True)]
    ordered = tuple(sorted(packages, key=lambda package: package.purl))
    inventory = settle(read_bill(written(name, msgspec.structs.replace(whole(), packages=ordered))), details=True)
    assert {one.purl: one.details for one in inventory.packages} == {one.purl: one.details for one in ordered}
    assert not any(isinstance(one.details, PackageDetails) for one in read(written(name, whole())).packages)


@pytest.mark.parametrize("name", OURS)
def test_our_own_say_what_they_describe(name: str, tmp_path: Path) -> None:
    """Layers and platform of the image are kept."""
    path = tmp_path / "x.json"
    path.write_bytes(written(name, whole()))
    _, target = read_sbom(path)
    assert (target.scheme, target.reference, target.platform) == ("sbom", str(path), "linux/amd64")
    assert [layer.diff_id for layer in target.layers] == [layer.diff_id for layer in reporting.LAYERS]
    assert [layer.created_by for layer in target.layers] == [layer.created_by for layer in reporting.LAYERS]
    assert target.distro is not None
    assert target.distro.eol


@pytest.mark.parametrize("name", OURS)
def test_our_own_with_hostile_text(name: str) -> None:
    """What was written of a hostile image can be read again."""
    inventory = read(written(name, hostilereport.hostile()))
    assert len(inventory.packages) == 1


@pytest.mark.parametrize("name", FOREIGN)
def test_packages_of_other_tools(name: str) -> None:
    """Names, versions and purls are those that the image itself gives."""
    inventory = read((DOCUMENTS / name).read_bytes())
    assert inventory.release == "Debian:12"
    assert [gap.code for gap in inventory.gaps] == (["inventory.brought-unlisted"] if name.startswith("trivy") else [])
    purls = {package.purl for package in inventory.packages if not package.purl.startswith("pkg:pypi/requests")}
    assert purls == {
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc",
        "pkg:deb/debian/libpam0g@1.5.2-6%2Bb1?arch=amd64&distro=debian-12&upstream=pam%401.5.2-6",
        "pkg:deb/debian/libssl3@3.0.8-1?arch=amd64&distro=debian-12&upstream=openssl",
        "pkg:deb/debian/python3-requests@2.28.1%2Bdfsg-1?arch=amd64&distro=debian-12&upstream=requests",
        "pkg:deb/debian/vim-tiny@2:9.0.1378-2?arch=amd64&distro=debian-12&upstream=vim",
        "pkg:npm/%40babel/traverse@7.22.0",
        "pkg:npm/lodash@4.17.20",
        "pkg:pypi/idna@3.6",
        "pkg:pypi/pyyaml@5.3",
        "pkg:pypi/urllib3@1.25",
    }
    sources = {package.name: package.source for package in inventory.packages}
    assert sources["libpam0g"] == SourcePackage("pam", "1.5.2-6")
    assert all(package.source is not None for package in inventory.packages if package.type == "deb")


@pytest.mark.parametrize("name", [name for name in FOREIGN if name.startswith("syft")])
def test_ownership_as_syft_says_it(name: str) -> None:
    """A package that one of the system installed is its owner's business. (Syft's CycloneDX leaves it to place and name.)"""
    packages = {package.name: package for package in read((DOCUMENTS / name).read_bytes()).packages}
    assert packages["requests"].owner == packages["python3-requests"].purl
    assert packages["urllib3"].owner == ""


def test_places_and_layers_of_other_tools() -> None:
    """The file that proves a package is kept, with its layer where the document has it."""
    for name in ("syft.cdx.json", "syft.syft.json", "trivy.cdx.json"):
        packages = {package.name: package for package in read((DOCUMENTS / name).read_bytes()).packages}
        place = packages["urllib3"].locations[0]
        assert place.path == "usr/local/lib/python3.12/site-packages/urllib3-1.25.dist-info/METADATA"
        assert place.layer.startswith("sha256:")
    assert packages["idna"].licenses


def component(purl: str, **more: Any) -> dict[str, Any]:
    """Make a CycloneDX component."""
    return {"type": "library", "name": "x", "version": "1", "purl": purl, **more}


def cdx(*components: Any, **more: Any) -> dict[str, Any]:
    """Make a CycloneDX document."""
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": list(components), **more}


def test_components_as_cdxgen_writes_them() -> None:
    """Paths in SrcFile or in occurrences, components inside of components, the system by its packages' purls alone."""
    inner = component("pkg:maven/org.a/b@1.0?type=jar", properties=[{"name": "SrcFile", "value": "/app/b.jar"}])
    outer = component("pkg:npm/%40a/b@1", components=[inner], evidence={"occurrences": [{"location": "/app/p.json"}]})
    system = component("pkg:deb/ubuntu/bash@5.1-6ubuntu1?arch=amd64&distro=ubuntu-22.04&distro_name=jammy")
    inventory = read(cdx(outer, system, {"type": "file", "name": "readme"}))
    assert [package.name for package in inventory.packages] == ["bash", "org.a:b", "@a/b"]
    assert inventory.packages[1].locations == (Location("app/b.jar"),)
    assert inventory.release == "Ubuntu:22.04:LTS"


@pytest.mark.parametrize(
    ("purl", "version", "expected"),
    [
        (
            "pkg:rpm/redhat/bash@5.1.8-6.el9?arch=x86_64&epoch=0&upstream=bash-5.1.8-6.el9.src.rpm&distro=rhel-9.3",
            "",
            "0:5.1.8-6.el9",
        ),
        ("pkg:rpm/redhat/bash@5.1.8-6.el9?arch=x86_64&distro=redhat-9.3", "1:5.1.8-6.el9", "1:5.1.8-6.el9"),
        ("pkg:deb/debian/vim@9.0-2?epoch=2&distro=debian-12.5", "2:9.0-2", "2:9.0-2"),
        ("pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=3.18.4", "1.2.4-r2", "1.2.4-r2"),
        ("pkg:golang/stdlib@v1.22.1", "", "1.22.1"),
        ("pkg:golang/github.com/a/b@1.2.3", "", "v1.2.3"),
        ("pkg:hex/phoenix@1.7.1", "", "1.7.1"),
    ],
)
def test_versions(purl: str, version: str, expected: str) -> None:
    """Epochs stand in three places, and Go's v is there or not."""
    (package,) = read(cdx(component(purl, version=version))).packages
    assert package.version == expected


@pytest.mark.parametrize(
    ("purl", "release"),
    [
        ("pkg:rpm/redhat/a@1-1?distro=redhat-9.3", "Red Hat:enterprise_linux:9::baseos"),
        ("pkg:rpm/rocky/a@1-1?distro=rocky-9.3", "Rocky Linux:9"),
        ("pkg:rpm/alma/a@1-1?distro=alma-9.3", "AlmaLinux:9"),
        ("pkg:apk/alpine/a@1?distro=3.18.4", "Alpine:v3.18"),
        ("pkg:apk/wolfi/a@1?distro=wolfi-20230201", "Wolfi"),
        ("pkg:deb/debian/a@1?distro=debian-12.5", "Debian:12"),
        ("pkg:deb/debian/a@1", ""),
    ],
)
def test_distribution_from_purls(purl: str, release: str) -> None:
    """Vendors' names are those of os-release in the end."""
    found = read(cdx(component(purl, version=""))).release
    assert found == release or (release.startswith("Red Hat") and found.startswith("Red Hat"))


def test_a_release_without_a_number() -> None:
    """Debian testing has only a code name, which stands in the purls."""
    system = {"type": "operating-system", "name": "debian"}
    inventory = read(cdx(system, component("pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-forky/sid")))
    assert inventory.distro is not None
    assert inventory.distro.codename == "forky/sid"
    assert inventory.packages[0].purl.endswith("distro=debian-forky/sid") or inventory.distro.version


def test_go_modules_of_syft() -> None:
    """Syft puts the end of a module's path into the subpath."""
    (package,) = read(
        cdx(component("pkg:golang/github.com/go-git/go-git@v5.12.0#v5", name="github.com/go-git/go-git/v5"))
    ).packages
    assert (package.name, package.namespace) == ("github.com/go-git/go-git/v5", "github.com/go-git/go-git")


def test_other_ecosystems_are_kept() -> None:
    """A package of a type that has no cataloger is matched all the same, or listed."""
    inventory = read(
        cdx(component("pkg:pub/http@1.0.0"), component("pkg:weird/x@1"), {"type": "library", "name": "bare", "version": "3"})
    )
    assert {package.purl: package.ecosystem for package in inventory.packages} == {
        "pkg:pub/http@1.0.0": "Pub",
        "pkg:weird/x@1": "",
        "pkg:generic/bare@3": "",
    }


def test_broken_entries_are_gaps() -> None:
    """One bad component costs itself alone, and is named."""
    bad = [{"type": 5}, component("no purl at all"), component("pkg:npm/nameless@"), {"type": "library"}]
    inventory = read(cdx(component("pkg:npm/a@1"), *bad, metadata="nothing"))
    assert [package.name for package in inventory.packages] == ["a", "nameless"]
    assert [gap.code for gap in inventory.gaps] == ["inventory.invalid"] * 4
    nothing = read(cdx({"type": "library", "name": "x", "purl": "pkg:npm/x"}))
    assert [gap.code for gap in nothing.gaps] == ["inventory.no-version"]
    assert nothing.gaps[0].package == "pkg:npm/x"


def test_more_entries_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is said."""
    monkeypatch.setattr("pratique.inventory.sbom.cyclonedx.MAX_COMPONENTS", 3)
    inventory = read(cdx(*(component(f"pkg:npm/a{number}@1") for number in range(5))))
    assert (len(inventory.packages), [gap.code for gap in inventory.gaps]) == (3, ["inventory.truncated"])
    many = read(cdx(*({"type": 5} for _ in range(bills.MAX_GAPS + 5))))
    assert [gap.code for gap in many.gaps][-1] == "inventory.truncated" or len(many.gaps) <= bills.MAX_GAPS + 1


def test_wrapped() -> None:
    """As the predicate of a statement, in an envelope, and as GitHub answers."""
    plain = json.loads((DOCUMENTS / "syft.spdx.json").read_bytes())
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document", "predicate": plain}
    envelope = {"payloadType": "x", "payload": base64.b64encode(json.dumps(statement).encode()).decode(), "signatures": []}
    expected = read(plain).packages
    for wrapped in (statement, envelope, {"sbom": plain}):
        assert read(wrapped).packages == expected
    assert read(b"\xef\xbb\xbf\n" + json.dumps(plain).encode()).packages == expected


def test_a_statement_names_its_image(tmp_path: Path) -> None:
    """BuildKit's scanner looks at a folder: the image is what the statement around its document is about, if it is one."""
    document = {"spdxVersion": "SPDX-2.3", "name": "sbom", "packages": []}
    digests = ["1" * 64, "2" * 64]
    for subjects, expected in (([digests[0]] * 2, f"sha256:{digests[0]}"), (digests, ""), (["x"], ""), ([], "")):
        about = [{"name": "pkg:docker/app@1", "digest": {"sha256": value}} for value in subjects]
        path = tmp_path / "statement.json"
        path.write_text(json.dumps({"_type": "x", "predicateType": "y", "subject": about, "predicate": document}))
        assert read_sbom(path)[1].digest == expected


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"{}", b"<bom/>", b"hello", b"\xff\xfe{", b'{"bomFormat": "CycloneDX", "components": 5}',
        b'{"spdxVersion": 3}', b'{"artifacts": {}}', b'{"@graph": 1}', b'{"payload": "%%"}', b'{"payload": "AAAA"}',
        b'{"predicate":' * 5 + b"1" + b"}" * 5, b'{"a":' * 100_000, b"SPDXVersion:", b'{"bomFormat":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_no_sbom(data: bytes, tmp_path: Path) -> None:
    """One line says what is wrong."""
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(TargetError):
        read_sbom(path)
    with pytest.raises(TargetError):
        read_sbom(tmp_path)
    with pytest.raises(TargetError, match="no such file"):
        read_sbom(tmp_path / "none")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
_KEYS = (
    "components",
    "metadata",
    "packages",
    "relationships",
    "artifacts",
    "artifactRelationships",
    "source",
    "distro",
    "@graph",
)


@settings(max_examples=150)
@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(_KEYS), _JSON | st.lists(_JSON, max_size=3)))
def test_any_document(data: bytes, document: dict[str, Any]) -> None:
    """Anything is read or refused; nothing else is raised."""
    starts: tuple[dict[str, Any], ...] = (
        {"bomFormat": "CycloneDX"},
        {"spdxVersion": "SPDX-2.3"},
        {"artifacts": []},
        {"@graph": []},
        {},
    )
    for given_ in (data, b"SPDXVersion: SPDX-2.3\n" + data, *(json.dumps({**start, **document}).encode() for start in starts)):
        with contextlib.suppress(ParseError):
            read(given_)


@settings(max_examples=200)
@given(
    st.sampled_from(["npm", "deb", "golang", "maven"]),
    st.lists(st.text(min_size=1, max_size=6).filter(lambda text: text.strip("./") == text and text.strip()), max_size=3),
    st.text(min_size=1, max_size=10),
    st.text(max_size=10),
)
def test_purls_as_the_public_library_reads_them(kind: str, namespace: list[str], name: str, version: str) -> None:
    """Our parser and the public one agree on whatever the public one writes."""
    try:
        text = PackageURL(kind, "/".join(namespace), name, version or None, {"arch": "x"}).to_string()
        theirs = PackageURL.from_string(text)
    except (ValueError, TypeError):  # a name of slashes alone
        return
    if not theirs.name or version.strip("/") != version:  # slashes that end a purl do not belong to it
        return
    ours = parse(text)
    assert (ours.type, ours.namespace, ours.name, ours.version) == (
        theirs.type, theirs.namespace or "", theirs.name, theirs.version or "",
    )  # fmt: skip
    assert ours.qualifiers == {"arch": "x"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pkg:npm/@scope/name@1", ("@scope", "name", "1")),
        ("pkg:npm/@scope/name", ("@scope", "name", "")),
        ("pkg:npm/alias@npm:name@1", ("", "alias", "npm:name@1")),
        ("pkg:generic/a/name@release/1.0", ("a", "name", "release/1.0")),
        ("pkg:generic/name@1/@2", ("", "name", "1/@2")),
    ],
)
def test_where_a_version_begins(text: str, parts: tuple[str, str, str]) -> None:
    """Behind an @ that begins no scope, and it may hold slashes."""
    read_ = parse(text)
    assert (read_.namespace, read_.name, read_.version) == parts


@pytest.mark.parametrize("text", ["", "npm/x", "pkg:", "pkg:npm", "pkg:npm/", "pkg:npm/@1", "pkg:" + "x/" * 5000])
def test_no_purl(text: str) -> None:
    """A type and a name are needed."""
    if text == "pkg:npm/@1":
        assert parse(text).name == "@1"
        return
    with pytest.raises(ParseError):
        parse(text)
