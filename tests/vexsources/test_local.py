"""Files and folders that --vex names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import vexing
from pratique.image.options import SourceOptions
from pratique.model.errors import ConfigurationError, UsageError
from pratique.model.inventory import Inventory
from pratique.vexsources import collect
from pratique.vexsources.load import VexSources
from vexing import encode, openvex, package, statement, target

LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
INVENTORY = Inventory(distro=vexing.DEBIAN, release="Debian:12", packages=(LODASH,), gaps=())
DOCUMENT = openvex(statement("pkg:npm/lodash"))


@pytest.fixture
def options(tmp_path: Path) -> SourceOptions:
    """Defaults, in a fresh cache."""
    return SourceOptions(cache_dir=tmp_path / "cache")


def load(options: SourceOptions, *names: object, keys: tuple[str, ...] = (), authors: tuple[str, ...] = ()) -> collect.Loaded:
    """Load what names say."""
    return VexSources([str(name) for name in names], keys, authors, options).load(target(), INVENTORY)


def write(path: Path, content: bytes = DOCUMENT) -> Path:
    """Write a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_and_a_folder(options: SourceOptions, tmp_path: Path) -> None:
    """All documents below a folder in the order of their names; what is there twice is read once."""
    folder = tmp_path / "vex"
    for name in ("b/2.json", "a/1.vex", "b/3.openvex.json"):
        write(folder / name, openvex(statement("pkg:npm/lodash"), **{"@id": name}))
    write(folder / "b/copy.json", (folder / "b/2.json").read_bytes())
    write(folder / "README.md", b"no document")
    write(folder / ".git/config.json", b"no document")
    found = load(options, folder, write(tmp_path / "one.json"))
    assert [document.id for document in found.documents] == [
        "a/1.vex",
        "b/2.json",
        "b/3.openvex.json",
        "https://example.org/vex-1",
    ]
    assert found.gaps == []


def test_what_is_no_document_is_a_gap(options: SourceOptions, tmp_path: Path) -> None:
    """With its name and what is wrong; the others are read."""
    folder = tmp_path / "vex"
    write(folder / "a.json", b"{}")
    write(folder / "b.json")
    write(folder / "c.json", b"\xff")
    found = load(options, folder)
    assert len(found.documents) == 1
    assert [(gap.code, gap.source) for gap in found.gaps] == [
        ("advisories.vex-unreadable", str(folder / "a.json")),
        ("advisories.vex-unreadable", str(folder / "c.json")),
    ]


def test_links_are_followed_to_files_only(options: SourceOptions, tmp_path: Path) -> None:
    """A folder that holds itself ends."""
    folder = tmp_path / "vex"
    write(folder / "a.json")
    (folder / "loop").symlink_to(folder)
    (folder / "b.json").symlink_to(write(tmp_path / "else.json", openvex(statement("pkg:npm/x"), **{"@id": "b"})))
    (folder / "dangling.json").symlink_to(tmp_path / "nowhere")
    assert len(load(options, folder).documents) == 2


def test_bounds(options: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, bytes and gaps are bounded, and what is left out is told."""
    folder = tmp_path / "vex"
    for number in range(6):
        write(folder / f"{number}.json", openvex(statement("pkg:npm/x"), **{"@id": f"{number}"}))
    monkeypatch.setattr(collect, "MAX_FILES", 3)
    found = load(options, folder)
    assert (len(found.documents), [gap.code for gap in found.gaps]) == (3, ["advisories.vex-truncated"])
    monkeypatch.setattr(collect, "MAX_FILES", 100)
    monkeypatch.setattr(collect, "MAX_BYTES", 700)
    found = load(options, folder)
    assert len(found.documents) == 2
    assert {gap.code for gap in found.gaps} == {"advisories.vex-truncated"}
    monkeypatch.setattr(collect, "MAX_GAPS", 1)
    assert "3 more problems" in load(options, folder).gaps[-1].message


def test_standard_input(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document from a pipe, read once for several targets."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DOCUMENT)))
    sources = VexSources(["-"], (), (), options)
    assert [len(sources.load(target(), INVENTORY).documents) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.json", "no such file or folder"),
        ("repo:nowhere", "no such file or folder"),
        ("http://example.org/vex.json", "plain HTTP"),
        ("repo:http://example.org", "plain HTTP"),
        ("https://me:secret@example.org/vex.json", "no login belongs in an address"),
    ],
)
def test_bad_names(options: SourceOptions, name: str, words: str) -> None:
    """Found out before anything is scanned; a login is not printed."""
    with pytest.raises(UsageError, match=words) as caught:
        load(options, name)
    assert "secret" not in str(caught.value)


def test_bad_keys(options: SourceOptions, tmp_path: Path) -> None:
    """As well."""
    document = write(tmp_path / "a.json")
    with pytest.raises(UsageError, match="No such file"):
        load(options, document, keys=("nowhere.pub",))
    with pytest.raises(ConfigurationError, match="no public key"):
        load(options, document, keys=(str(write(tmp_path / "k", b"x")),))


def test_signatures_beside_files(options: SourceOptions, tmp_path: Path) -> None:
    """NAME.sig and other usual names; without one, or by another key, nothing is used."""
    acme = vexing.signer()
    key = acme.write(tmp_path)
    folder = tmp_path / "vex"
    for name, suffix in (("a.json", ".sig"), ("b.json", ".sigstore.json"), ("c.json", ""), ("d.json", ".sig")):
        content = openvex(statement("pkg:npm/lodash"), **{"@id": name})
        write(folder / name, content)
        made = (vexing.signer() if name == "d.json" else acme).beside(content)
        if suffix == ".sigstore.json":
            made = encode({"messageSignature": {"signature": made.decode().strip()}})
        if suffix:
            write(folder / (name + suffix), made)
    found = load(options, folder, keys=(key,))
    assert [(document.id, document.signer) for document in found.documents] == [("a.json", key), ("b.json", key)]
    assert [gap.code for gap in found.gaps] == ["advisories.vex-untrusted"] * 2
    assert found.gaps[0].message.endswith("c.json: not signed, and a key is asked for; nothing of it is used")
    assert load(options, folder / "a.json", keys=(key,)).documents[0].signer == key


def test_authors_of_files(options: SourceOptions, tmp_path: Path) -> None:
    """Whom nobody allowed is told, and not believed."""
    found = load(options, write(tmp_path / "a.json"), authors=("vendor",))
    assert [bool(document.why_not) for document in found.documents] == [True]
    assert [gap.code for gap in found.gaps] == ["advisories.vex-untrusted"]


def test_an_sbom_and_what_is_said_of_it(options: SourceOptions, tmp_path: Path) -> None:
    """A BOM-Link to the BOM that is scanned leads there; a BOM's own word is about the target, whatever it calls that."""
    serial = "3e671687-395b-41f5-a30f-a58921a69b79"
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "root", "name": "shop"}},
        "components": [{"type": "library", "bom-ref": "l", "name": "lodash", "version": "4.17.20", "purl": LODASH.purl}],
    }
    spoken = {"id": "CVE-2024-0001", "analysis": {"state": "not_affected"}}
    scanned = write(tmp_path / "bom.json", encode(bom | {"vulnerabilities": [spoken | {"affects": [{"ref": "l"}]}]}))
    linked = {"bomFormat": "CycloneDX", "vulnerabilities": [spoken | {"affects": [{"ref": f"urn:cdx:{serial}/1#l"}]}]}
    apart = write(tmp_path / "vex.json", encode(linked))
    about = target(str(scanned), scheme="sbom", digest="", digests=())
    for name in (scanned, apart):
        documents, gaps = VexSources([str(name)], (), (), options).load(about, INVENTORY)
        assert gaps == []
        applied = vexing.applied([LODASH], documents, of=about)
        assert applied.findings[0].status == "not_affected"
        other = VexSources([str(name)], (), (), options).load(target(), INVENTORY).documents
        assert vexing.applied([LODASH], other, of=target()).findings[0].status == "affected"
