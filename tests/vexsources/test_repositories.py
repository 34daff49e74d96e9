"""VEX repositories: a folder, and an archive behind an address that is kept in the cache."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import imagebuilder
import registrysim as sim
import vexing
from pratique.attest import hub
from pratique.image.options import SourceOptions
from pratique.model.errors import ParseError
from pratique.model.inventory import Inventory
from pratique.vexsources import collect, repository
from pratique.vexsources.load import VexSources
from vexing import encode, openvex, package, statement, target

LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
ACL = package("pkg:deb/debian/libacl1@2.3.1-3?arch=amd64&distro=debian-12&upstream=acl", source="acl@2.3.1-3")
INVENTORY = Inventory(distro=vexing.DEBIAN, release="Debian:12", packages=(ACL, LODASH), gaps=())
FILES = {
    "pkg/npm/lodash/vex.json": openvex(statement("pkg:npm/lodash"), **{"@id": "lodash"}),
    "pkg/deb/debian/acl/acl.vex.json": openvex(statement("pkg:deb/debian/acl?arch=source"), **{"@id": "acl"}),
    "pkg/oci/shop/vex.json": openvex(statement("pkg:oci/shop"), **{"@id": "shop"}),
    "pkg/oci/other/vex.json": openvex(statement("pkg:oci/other"), **{"@id": "other"}),
    "pkg/npm/left-pad/vex.json": b"nothing that anybody could read",
}
PURLS = {
    "pkg:npm/lodash": "pkg/npm/lodash/vex.json",
    "pkg:deb/debian/acl": "pkg/deb/debian/acl/acl.vex.json",
    "pkg:oci/shop?repository_url=ghcr.io%2Facme%2Fshop": "pkg/oci/shop/vex.json",
    "pkg:oci/other?repository_url=ghcr.io/acme/other": "pkg/oci/other/vex.json",
    "pkg:npm/left-pad": "pkg/npm/left-pad/vex.json",
}

pytestmark = pytest.mark.loopback


@pytest.fixture
def options(tmp_path: Path) -> SourceOptions:
    """Defaults, in a fresh cache."""
    return SourceOptions(cache_dir=tmp_path / "cache")


def index(purls: dict[str, str] | None = None) -> bytes:
    """The index of a repository."""
    packages = [{"id": purl, "location": path} for purl, path in (purls or PURLS).items()]
    return encode({"updated_at": "2026-01-01T00:00:00Z", "packages": packages})


def manifest(*addresses: str, interval: str = "24h", listed: bool = False) -> bytes:
    """The manifest of a repository; `listed` as Docker writes its versions."""
    version = {
        "spec_version": "0.1" if listed else "v0.1",
        "locations": [{"url": one} for one in addresses],
        "update_interval": interval,
    }
    return encode({"name": "x", "description": "x", "versions": [version] if listed else {"v0": version}, "latest_version": "v0"})


def archive(files: dict[str, bytes], top: str = "vexhub-main/") -> bytes:
    """An archive as GitHub serves it."""
    return gzip.compress(imagebuilder.layer({top + path: content for path, content in files.items()}))


def load(options: SourceOptions, name: str, keys: tuple[str, ...] = ()) -> collect.Loaded:
    """Load what concerns the target."""
    return VexSources([name], keys, (), options).load(target(), INVENTORY)


def ids(found: collect.Loaded) -> list[str]:
    """The documents' ids, sorted."""
    return sorted(document.id for document in found.documents)


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("prefix", ["repo:", ""])
def test_a_folder(options: SourceOptions, tmp_path: Path, prefix: str) -> None:
    """Only what concerns the target is read: its packages, what they are built from, and the image itself."""
    folder = lay(tmp_path / "hub", {"index.json": index(), **FILES})
    found = load(options, f"{prefix}{folder}")
    assert ids(found) == ["acl", "lodash", "shop"]
    assert found.gaps == []
    applied = vexing.applied([ACL, LODASH], found.documents, of=target())
    assert [one.status for one in applied.findings] == ["not_affected", "not_affected"]


@pytest.mark.parametrize("path", ["../secret.json", "/etc/passwd", "a/../../b", "", "x\\y"])
def test_paths_that_lead_out(options: SourceOptions, tmp_path: Path, path: str) -> None:
    """An index names files of its repository only; a link in it leads nowhere either."""
    lay(tmp_path, {"secret.json": openvex(statement("pkg:npm/lodash"))})
    folder = lay(tmp_path / "hub", {"index.json": index({"pkg:npm/lodash": path, "pkg:deb/debian/acl": "link.json"})})
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    found = load(options, f"repo:{folder}")
    assert found.documents == []
    assert [gap.code for gap in found.gaps] == ["advisories.vex-unreadable"]
    assert "leads out of its repository" in found.gaps[0].message


class Hub:
    """A web server with a repository on it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag = '"1"'
        self.asked: list[sim.Asked] = []
        self.address = ""

    def answer(self, request: sim.Asked) -> sim.Answer:
        """Answer as web servers do."""
        if request.path not in self.files:
            return sim.Answer(404)
        if request.headers.get("if-none-match") == self.etag:
            return sim.Answer(304, {"ETag": self.etag})
        return sim.Answer(200, {"ETag": self.etag}, self.files[request.path])


@pytest.fixture
def served() -> Any:
    """Serve a repository."""
    served = Hub()
    with sim.serve(served.answer, served.asked) as served.address:
        yield served


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("place", ["/vexhub/vex-repository.json", "/.well-known/vex-repository.json"])
def test_an_archive(options: SourceOptions, served: Hub, place: str, *, listed: bool) -> None:
    """Manifest, archive and a folder in it; it is asked again only when its interval is over."""
    served.files[place] = manifest(f"{served.address}/main.tar.gz//vexhub-main", listed=listed)
    served.files["/main.tar.gz"] = archive({"index.json": index(), **FILES})
    found = load(options, f"repo:{served.address}/vexhub")
    assert ids(found) == ["acl", "lodash", "shop"]
    assert found.gaps == []
    asked = len(served.asked)
    assert ids(load(options, f"repo:{served.address}/vexhub")) == ["acl", "lodash", "shop"]
    assert len(served.asked) == asked


def test_news_are_asked_for(options: SourceOptions, served: Hub) -> None:
    """When the interval is over, conditionally; what cannot be had again is used as it was, and told."""
    served.files["/vex-repository.json"] = manifest(f"{served.address}/a.tgz//vexhub-main")
    served.files["/a.tgz"] = archive({"index.json": index(), **FILES})
    name = f"repo:{served.address}"
    load(options, name)
    (kept,) = (options.cache_dir / "vex").glob("*.json")
    old = json.loads(kept.read_bytes()) | {"fetched": 86_400.0}
    kept.write_bytes(encode(old))
    assert ids(load(options, name)) == ["acl", "lodash", "shop"]
    assert served.asked[-1].headers["if-none-match"] == '"1"'
    assert json.loads(kept.read_bytes())["fetched"] > 86_400
    kept.write_bytes(encode(old))
    served.files.clear()
    found = load(options, name)
    assert ids(found) == ["acl", "lodash", "shop"]
    assert [gap.code for gap in found.gaps] == ["advisories.vex-unreachable"]
    assert "what was fetched on 1970-01-02T00:00:00Z is used" in found.gaps[0].message
    offline = SourceOptions(cache_dir=options.cache_dir, offline=True)
    assert load(offline, name).gaps == []
    kept.unlink()
    assert [gap.code for gap in load(offline, name).gaps] == ["advisories.vex-unreachable"]


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({}, "advisories.vex-unreachable", "there is no vex-repository.json"),
        ({"/vex-repository.json": b"{}"}, "advisories.vex-unreadable", "no version that is read"),
        ({"/vex-repository.json": manifest()}, "advisories.vex-unreadable", "names no location"),
        ({"/vex-repository.json": manifest("http://example.org/x.tgz")}, "advisories.vex-unreachable", "which is not https"),
        ({"/vex-repository.json": manifest("ADDRESS/gone.tgz")}, "advisories.vex-unreachable", "the answer is 404"),
        ({"/vex-repository.json": manifest("ADDRESS/a"), "/a": b"plain"}, "advisories.vex-unreadable", "none of tar.gz"),
        (
            {"/vex-repository.json": manifest("ADDRESS/a"), "/a": gzip.compress(b"x" * 600)},
            "advisories.vex-unreadable",
            "tar header",
        ),
        (
            {"/vex-repository.json": manifest("ADDRESS/a"), "/a": archive({"x": b""})},
            "advisories.vex-unreadable",
            "no index.json",
        ),
        ({"/vex-repository.json": manifest("ADDRESS/a"), "/a": archive(FILES)[:-40]}, "advisories.vex-unreadable", ""),
        (
            {"/vex-repository.json": manifest("ADDRESS/a//vexhub-main"), "/a": archive({"index.json": b"["})},
            "advisories.vex-unreadable",
            "no JSON",
        ),
        (
            {"/vex-repository.json": manifest("ADDRESS/a//vexhub-main"), "/a": archive({"index.json": index()})},
            "advisories.vex-unreadable",
            "its index names it, and it is not there",
        ),
    ],
)
def test_broken_repositories(options: SourceOptions, served: Hub, files: dict[str, bytes], code: str, words: str) -> None:
    """Each is a gap that says what is wrong, and never an error of the scan."""
    served.files = {name: content.replace(b"ADDRESS", served.address.encode()) for name, content in files.items()}
    found = load(options, f"repo:{served.address}")
    assert found.documents == []
    assert {gap.code for gap in found.gaps} == {code}
    assert words in found.gaps[0].message


def test_an_archive_that_grows(options: SourceOptions, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unpacked is bounded, in bytes and entries."""
    served.files = {
        "/vex-repository.json": manifest(f"{served.address}/a//vexhub-main"),
        "/a": archive({"zero": bytes(8 << 20), "index.json": index(), **FILES}),
    }
    monkeypatch.setattr(repository, "MAX_UNPACKED", 1 << 20)
    assert "holds more than" in load(options, f"repo:{served.address}").gaps[0].message
    monkeypatch.setattr(repository, "MAX_UNPACKED", 1 << 30)
    monkeypatch.setattr(repository, "MAX_ENTRIES", 2)
    assert "entries" in load(options, f"repo:{served.address}").gaps[0].message
    monkeypatch.setattr(repository, "MAX_ENTRIES", 100)
    monkeypatch.setattr(repository, "MAX_RELEVANT", 1)
    found = load(options, f"repo:{served.address}")
    assert (len(found.documents), [gap.code for gap in found.gaps]) == (1, ["advisories.vex-truncated"])


def test_an_archive_named_outright(options: SourceOptions, served: Hub) -> None:
    """Without a manifest."""
    served.files = {"/main.tar.gz": archive({"index.json": index(), **FILES})}
    assert ids(load(options, f"repo:{served.address}/main.tar.gz//vexhub-main")) == ["acl", "lodash", "shop"]


def test_signed_documents_of_a_repository(options: SourceOptions, served: Hub, tmp_path: Path) -> None:
    """As some vendors publish them: a bundle beside each document."""
    acme = vexing.signer()
    signed = FILES["pkg/npm/lodash/vex.json"]
    bundle = encode({"messageSignature": {"signature": acme.beside(signed).decode().strip()}})
    files = {"index.json": index(), **FILES, "pkg/npm/lodash/vex.json.sig": bundle}
    served.files = {"/a.tar.gz": archive(files)}
    key = acme.write(tmp_path)
    found = load(options, f"repo:{served.address}/a.tar.gz//vexhub-main", keys=(key,))
    assert [(document.id, document.signer) for document in found.documents] == [("lodash", key)]
    assert [gap.code for gap in found.gaps] == ["advisories.vex-untrusted"] * 2


def test_a_document_behind_an_address(options: SourceOptions, served: Hub, tmp_path: Path) -> None:
    """With its signature beside it, where keys ask for one."""
    acme = vexing.signer()
    document = FILES["pkg/npm/lodash/vex.json"]
    served.files = {"/vex.json": document}
    name = f"{served.address}/vex.json"
    assert ids(load(options, name)) == ["lodash"]
    key = acme.write(tmp_path)
    assert [gap.code for gap in load(options, name, keys=(key,)).gaps] == ["advisories.vex-untrusted"]
    served.files["/vex.json.sig"] = acme.beside(document)
    assert ids(load(options, name, keys=(key,))) == ["lodash"]
    offline = SourceOptions(cache_dir=options.cache_dir, offline=True)
    assert [gap.code for gap in load(offline, name).gaps] == ["advisories.vex-unreachable"]
    assert [gap.code for gap in load(options, f"{served.address}/nothing").gaps] == ["advisories.vex-unreachable"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("24h", 86_400), ("1h30m", 5_400), ("4h", 14_400), ("1s", 3_600), ("", 86_400), ("soon", 86_400), ("1h soon", 86_400)],
)
def test_intervals(written: str, seconds: float) -> None:
    """As Go writes durations, an hour at least."""
    assert hub.manifest(manifest("https://x/y", interval=written)).interval == seconds


def test_manifests() -> None:
    """The newest version that is read; locations with a folder behind a second //."""
    versions = {
        "v0": {"spec_version": "v0.1", "locations": [{"url": "https://x/0.tgz"}]},
        "v1": {"spec_version": "v1.0", "locations": [{"url": "https://x/1.tgz//sub/folder/"}, {"url": 7}, 8]},
        "v9": {"spec_version": "v9.0", "locations": [{"url": "https://x/9.tgz"}]},
    }
    read = hub.manifest(encode({"name": "n", "versions": versions}))
    assert read.locations == (hub.Location("https://x/1.tgz", "sub/folder"),)
    broken: list[object] = [{}, [], {"versions": 7}, {"versions": {"v0": 1}}, {"versions": [{"spec_version": "x"}]}]
    for wrong in broken:
        with pytest.raises(ParseError):
            hub.manifest(encode(wrong))
    assert hub.index(encode({"packages": [1, {}, {"id": "npm/x", "location": "a"}, {"id": "pkg:npm/x", "location": []}]})) == ()
