"""Attestations in an OCI layout, as BuildKit and `cosign save` write it: no registry is needed, and none is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
import vexing
from pratique.cli.main import run
from pratique.image import within
from pratique.image.options import SourceOptions
from pratique.model.errors import PratiqueError
from pratique.vexsources.statements import AttestationSources
from vexing import attestation, encode, envelope, openvex, statement

DSSE = "application/vnd.dsse.envelope.v1+json"
SLSA = "https://slsa.dev/provenance/v0.2"
ID = "CVE-2023-4911"
FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": "Package: glibc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class Attaching:
    """A layout with one image, and descriptors of what is attached to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = ib.image([ib.layer(FILES)])
        self.entries: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> dict[str, Any]:
        """Write a blob."""
        place = self.folder / "blobs" / "sha256"
        place.mkdir(parents=True, exist_ok=True)
        (place / ib.digest(data).partition(":")[2]).write_bytes(data)
        return {"digest": ib.digest(data), "size": len(data)}

    def hang(self, data: bytes, kind: str, notes: dict[str, str], **more: Any) -> None:
        """Attach something; `more` stands at its entry of the index."""
        layer = {"mediaType": kind, **self.blob(data), "annotations": notes}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", **self.blob(b"{}")}
        made = encode({"schemaVersion": 2, "mediaType": ib.OCI_MANIFEST, "config": config, "layers": [layer]})
        self.entries.append({"mediaType": ib.OCI_MANIFEST, **self.blob(made), **more})

    def buildkit(self, predicate: bytes, kind: str) -> None:
        """Attach an unsigned statement as BuildKit does."""
        notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": self.image.digest}
        unknown = {"os": "unknown", "architecture": "unknown"}
        inner = attestation(predicate, self.image.digest, kind=kind)
        self.hang(inner, "application/vnd.in-toto+json", {"in-toto.io/predicate-type": kind}, annotations=notes, platform=unknown)

    def write(self, *, nested: bool = False) -> str:
        """Write the layout; return its path."""
        if nested:
            ib.oci_layout_of(self.folder, [(self.image, "1")])
            inner = ib.index([self.image.descriptor(), *self.entries])
            top = ib.index([{"mediaType": ib.OCI_INDEX, **self.blob(inner)}])
            (self.folder / "index.json").write_bytes(top)
        else:
            ib.oci_layout_of(self.folder, [(self.image, "1")], extra=self.entries)
        return str(self.folder)


def scanned(capfd: pytest.CaptureFixture[str], target: str, *more: str) -> tuple[int, Any]:
    """Scan; return the exit code and the report."""
    capfd.readouterr()
    code = run(["scan", target, "--now", "2024-06-01", "--offline", "-q", "-f", "json", *more])
    return code, json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_as_buildkit_writes_it(here: Path, capfd: pytest.CaptureFixture[str], *, packed: bool) -> None:
    """Provenance and VEX beside the image, an index below index.json; unsigned, so L1 and no more."""
    made = Attaching(here / "layout")
    made.buildkit(encode({"builder": {"id": "https://ci.example"}}), SLSA)
    made.buildkit(openvex(statement("pkg:deb/debian/glibc", ID), timestamp="2024-05-01T00:00:00Z"), "https://openvex.dev/ns")
    path = f"oci-dir:{made.write(nested=True)}"
    if packed:
        (here / "image.tar").write_bytes(ib.oci_archive(made.folder))
        path = f"oci-archive:{here}/image.tar"
    code, report = scanned(capfd, path, "--policy", "slsa")
    assert (code, [reason["rule"] for reason in report["verdict"]["reasons"]]) == (1, ["slsa-provenance-unsigned"])
    assert [(one["predicate"], one["builder"]) for one in report["attestations"]] == [
        ("https://openvex.dev/ns", ""),
        (SLSA, "https://ci.example"),
    ]
    assert scanned(capfd, path, "--fail-on", "kev")[0] == 1
    code, report = scanned(capfd, path, "--fail-on", "kev", "--vex", "oci")
    assert (code, report["vex"]["documents"][0]["applied"]) == (0, 1)


def test_as_cosign_saves_it(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Signed attestations and a signature, found by the key that is named."""
    acme = vexing.signer()
    acme.write(here)
    made = Attaching(here / "layout")
    fact = {"builder": {"id": "b"}, "invocation": {"configSource": {"uri": "git+x", "digest": {"sha1": "1"}}}}
    inner = envelope(attestation(encode(fact), made.image.digest, kind=SLSA), acme)
    made.hang(inner, DSSE, {"predicateType": SLSA}, annotations={"kind": "dev.cosignproject.cosign/atts"})
    identity = {"identity": {"docker-reference": "x"}, "image": {"docker-manifest-digest": made.image.digest}}
    payload = encode({"critical": {**identity, "type": "cosign container image signature"}})
    notes = {"dev.cosignproject.cosign/signature": acme.beside(payload).decode().strip()}
    simple = "application/vnd.dev.cosign.simplesigning.v1+json"
    made.hang(payload, simple, notes, annotations={"kind": "dev.cosignproject.cosign/sigs"})
    code, report = scanned(capfd, f"oci-dir:{made.write()}:1", "--policy", "slsa", "--attestation-key", "acme.pub")
    assert (code, [one["verified"] for one in report["attestations"]]) == (0, [True, True])


def test_a_layout_that_lies(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content of another digest, what is missing or too large, links that lead out, too many entries: told, never more."""
    made = Attaching(here / "layout")
    made.buildkit(b"{}", SLSA)
    made.write()
    options = SourceOptions(cache_dir=here)
    about = vexing.target(str(made.folder), scheme="oci-dir", digest=made.image.digest, digests=())
    load = AttestationSources((), (), options).load
    assert len(load(about)[0]) == 1
    manifest = json.loads((made.folder / "blobs/sha256" / made.entries[0]["digest"].partition(":")[2]).read_bytes())
    blob = made.folder / "blobs/sha256" / manifest["layers"][0]["digest"].partition(":")[2]
    content = blob.read_bytes()

    def link() -> None:
        blob.unlink()
        blob.symlink_to("/etc/passwd")

    for spoil in (lambda: blob.write_bytes(content.replace(b"in-toto", b"IN-toto")), blob.unlink, link):
        spoil()
        found, gaps = load(about)
        assert (found, len(gaps)) == ((), 1)
        assert gaps[0].code.startswith("advisories.attestations-")
        blob.unlink(missing_ok=True)
        blob.write_bytes(content)
    monkeypatch.setattr(within, "MAX_ENTRIES", 1)
    assert "more entries than are looked at" in load(about)[1][0].message
    (made.folder / "index.json").write_text("[]")
    with pytest.raises(PratiqueError):
        within.attached_within("oci-dir", str(made.folder), options)
