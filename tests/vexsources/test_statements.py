"""--attestations: what is attached to an image in its registry, and in files; what cannot be had is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
import registrysim as sim
import vexing
from pratique.attest.statements import PROVENANCE, SIGNATURE
from pratique.image.options import SourceOptions
from pratique.model.attestation import Attestation
from pratique.model.errors import ConfigurationError, UsageError
from pratique.model.inventory import Gap
from pratique.vexsources import statements
from pratique.vexsources.statements import AttestationSources
from vexing import attestation, encode, envelope

DSSE = "application/vnd.dsse.envelope.v1+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.fixture
def acme() -> vexing.Signer:
    """The key that is believed."""
    return vexing.signer()


@pytest.fixture
def registry() -> Any:
    """A registry with an image in it."""
    with sim.running() as running:
        running.image = ib.image([ib.layer({"a": b"a"})])  # type: ignore[attr-defined]
        running.add("acme/shop", running.image, "1.2")  # type: ignore[attr-defined]
        yield running


def of(registry: sim.Registry) -> str:
    """The image's digest."""
    digest: str = registry.image.digest  # type: ignore[attr-defined]
    return digest


def put(registry: sim.Registry, tag: str, *layers: tuple[str, bytes, dict[str, str]]) -> str:
    """Push a manifest with these layers under a tag; return its digest."""
    held = registry.repositories["acme/shop"]
    listed = []
    for kind, data, notes in layers:
        held[ib.digest(data)] = ("application/octet-stream", data)
        listed.append({"mediaType": kind, "digest": ib.digest(data), "size": len(data), "annotations": notes})
    made = encode({"schemaVersion": 2, "mediaType": ib.OCI_MANIFEST, "config": listed[0], "layers": listed})
    held[ib.digest(made)] = (ib.OCI_MANIFEST, made)
    if tag:
        held[f"{of(registry).replace(':', '-')}{tag}"] = (ib.OCI_MANIFEST, made)
    return ib.digest(made)


def load(
    registry: sim.Registry, tmp_path: Path, *keys: str, names: tuple[str, ...] = ("oci",), **more: Any
) -> tuple[tuple[Attestation, ...], list[Gap]]:
    """Load what is attested of the image."""
    host = registry.address.removeprefix("http://")
    options = SourceOptions(cache_dir=tmp_path / "cache", **more)
    about = vexing.target(f"{host}/acme/shop:1.2", digest=of(registry), digests=())
    return AttestationSources(names, keys, options).load(about)


@pytest.mark.loopback
def test_cosigns_tags(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """Its signature and its attestations, verified by the key and by nothing else."""
    payload = encode(
        {
            "critical": {
                "identity": {"docker-reference": "x"},
                "image": {"docker-manifest-digest": of(registry)},
                "type": "cosign container image signature",
            }
        }
    )
    signature = acme.beside(payload).decode().strip()
    put(registry, ".sig", (SIMPLE, payload, {"dev.cosignproject.cosign/signature": signature}))
    inner = envelope(attestation(encode({"builder": {"id": "b"}}), of(registry), kind=f"{PROVENANCE}v0.2"), acme)
    put(registry, ".att", (DSSE, inner, {"predicateType": f"{PROVENANCE}v0.2"}))
    found, gaps = load(registry, tmp_path, acme.write(tmp_path))
    assert [(one.predicate, one.verified) for one in found] == [(SIGNATURE, True), (f"{PROVENANCE}v0.2", True)]
    assert found[1].builder == "b"
    assert gaps == []
    found, _ = load(registry, tmp_path, vexing.signer().write(tmp_path, "other.pub"))
    assert [one.verified for one in found] == [False, False]


@pytest.mark.loopback
def test_entries_of_an_index_and_referrers(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """BuildKit's provenance is a statement that nobody signed; a bundle that refers to the image; one of another image."""
    held = registry.repositories["acme/shop"]
    inner = attestation(encode({"builder": {"id": ""}}), of(registry), kind=f"{PROVENANCE}v0.2")
    entry = put(registry, "", ("application/vnd.in-toto+json", inner, {"in-toto.io/predicate-type": f"{PROVENANCE}v0.2"}))
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of(registry)}
    descriptor = {"mediaType": ib.OCI_MANIFEST, "digest": entry, "size": len(held[entry][1]), "annotations": notes}
    index = ib.index([registry.image.descriptor(), descriptor])  # type: ignore[attr-defined]
    held[ib.digest(index)] = (ib.OCI_INDEX, index)
    moved = put(registry, "", (DSSE, envelope(attestation(b"{}", vexing.OTHER, kind=SIGNATURE), acme), {}))
    registry.referrers = {
        of(registry): [{"mediaType": ib.OCI_MANIFEST, "digest": moved, "size": len(held[moved][1]), "artifactType": DSSE}]
    }
    options = SourceOptions(cache_dir=tmp_path / "cache")
    host = registry.address.removeprefix("http://")
    about = vexing.target(f"{host}/acme/shop:1.2", digest=of(registry), digests=(ib.digest(index),))
    found, gaps = AttestationSources((), (), options).load(about)
    assert [(one.predicate, one.verified, one.builder) for one in found] == [(f"{PROVENANCE}v0.2", False, "")]
    assert [gap.code for gap in gaps] == ["advisories.attestations-unreadable"]
    assert "something else" in gaps[0].message


@pytest.mark.loopback
def test_what_cannot_be_had(registry: sim.Registry, tmp_path: Path) -> None:
    """No registry, none allowed, an image without any."""
    assert load(registry, tmp_path) == ((), [])
    assert [gap.code for gap in load(registry, tmp_path, offline=True)[1]] == ["advisories.attestations-unreachable"]
    about = vexing.target("shop.tar", scheme="docker-archive")
    _, gaps = AttestationSources((), (), SourceOptions(cache_dir=tmp_path)).load(about)
    assert [gap.code for gap in gaps] == ["advisories.attestations-unreachable"]
    assert "docker-archive:shop.tar" in gaps[0].message


@pytest.mark.loopback
def test_files_and_folders(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `cosign download attestation` keeps them; each once, sorted, bounded."""
    folder = tmp_path / "statements"
    folder.mkdir()
    for number in (2, 1):
        inner = attestation(encode({"builder": {"id": str(number)}}), of(registry), kind=f"{PROVENANCE}v0.2")
        (folder / f"{number}.json").write_bytes(envelope(inner, acme))
    (folder / "README.md").write_text("not read")
    names = (str(folder), str(folder / "1.json"))
    found, gaps = load(registry, tmp_path, acme.write(tmp_path), names=names)
    assert [one.builder for one in found] == ["1", "2"]
    assert gaps == []
    monkeypatch.setattr(statements, "MAX_FILES", 1)
    assert "the rest was not read" in load(registry, tmp_path, names=(str(folder),))[1][0].message


def test_very_many_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one image; the rest is not looked at, and that is told."""
    folder = tmp_path / "statements"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.json").write_bytes(attestation(b"{}", vexing.DIGEST, kind=f"https://example.org/{number}"))
    monkeypatch.setattr(statements, "MAX_STATEMENTS", 2)
    found, gaps = AttestationSources((str(folder),), (), SourceOptions(cache_dir=tmp_path)).load(vexing.target())
    assert len(found) == 3
    assert "more than 2 attestations" in gaps[0].message


def test_what_a_person_wrote_down_wrong(tmp_path: Path) -> None:
    """It is said before anything is scanned."""
    options = SourceOptions(cache_dir=tmp_path)
    with pytest.raises(UsageError, match="--attestations nowhere: there is no such file"):
        AttestationSources(("nowhere",), (), options)
    with pytest.raises(UsageError, match="--attestation-key nowhere"):
        AttestationSources((), ("nowhere",), options)
    (tmp_path / "key").write_text("no key")
    with pytest.raises(ConfigurationError, match="no public key"):
        AttestationSources((), (str(tmp_path / "key"),), options)
