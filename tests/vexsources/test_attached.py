"""Attestations of an image in its registry: referrers, cosign's tag, BuildKit's entries of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
import registrysim as sim
import vexing
from pratique.image.options import SourceOptions
from pratique.model.inventory import Inventory
from pratique.vexsources import collect
from pratique.vexsources.load import VexSources
from vexing import attestation, encode, envelope, openvex, package, statement, target

LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
INVENTORY = Inventory(distro=vexing.DEBIAN, release="Debian:12", packages=(LODASH,), gaps=())
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
OPENVEX = "https://openvex.dev/ns/v0.2.0"

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def acme() -> vexing.Signer:
    """The key that is trusted."""
    return vexing.signer()


@pytest.fixture
def registry() -> Any:
    """A registry with an image in it."""
    with sim.running() as running:
        running.image = ib.image([ib.layer({"a": b"a"})])  # type: ignore[attr-defined]
        running.add("acme/shop", running.image, "1.2")  # type: ignore[attr-defined]
        yield running


def hang(registry: sim.Registry, data: bytes, kind: str = DSSE, **notes: str) -> dict[str, Any]:
    """Push an attestation; return the descriptor of its manifest."""
    held = registry.repositories["acme/shop"]
    held[ib.digest(data)] = ("application/octet-stream", data)
    layer = {"mediaType": kind, "digest": ib.digest(data), "size": len(data), "annotations": notes}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": ib.digest(b"{}"), "size": 2}
    made = encode({"schemaVersion": 2, "mediaType": ib.OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": [layer]})
    held[ib.digest(made)] = (ib.OCI_MANIFEST, made)
    return {"mediaType": ib.OCI_MANIFEST, "digest": ib.digest(made), "size": len(made), "artifactType": kind}


def load(registry: sim.Registry, tmp_path: Path, *keys: str, **more: Any) -> collect.Loaded:
    """Load the attestations of the image."""
    host = registry.address.removeprefix("http://")
    options = SourceOptions(cache_dir=tmp_path / "cache", **more)
    digest = registry.image.digest  # type: ignore[attr-defined]
    about = target(f"{host}/acme/shop:1.2", digest=digest, digests=())
    return VexSources(["oci"], keys, (), options).load(about, INVENTORY)


def of(registry: sim.Registry) -> str:
    """The image's digest."""
    digest: str = registry.image.digest  # type: ignore[attr-defined]
    return digest


def signed(registry: sim.Registry, by: vexing.Signer | None, name: str = "x", digest: str = "") -> bytes:
    """An envelope with an attestation of the image."""
    inner = openvex(statement("pkg:npm/lodash"), **{"@id": name})
    return envelope(attestation(inner, digest or of(registry)), by)


def test_referrers(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """As registries list them now: an envelope, a bundle, a bare document; what is of another kind is not fetched."""
    bundle = encode({"mediaType": BUNDLE})[:-1] + b', "dsseEnvelope": ' + signed(registry, acme, "bundle") + b"}"
    bare = openvex(statement("pkg:npm/lodash"), **{"@id": "bare"})
    registry.referrers = {
        of(registry): [
            hang(registry, signed(registry, acme, "envelope")),
            hang(registry, bundle, BUNDLE),
            hang(registry, bare, "application/vnd.openvex.document+json"),
            hang(registry, b"an SBOM", "application/spdx+json"),
            hang(registry, envelope(attestation(b"{}", of(registry), kind="https://slsa.dev/provenance/v1"), acme)),
        ]
    }
    found = load(registry, tmp_path)
    assert sorted(document.id for document in found.documents) == ["bare", "bundle", "envelope"]
    assert found.gaps == []
    assert ib.digest(b"an SBOM") not in " ".join(registry.paths())
    key = acme.write(tmp_path)
    trusted = load(registry, tmp_path, key)
    assert sorted((document.id, document.signer) for document in trusted.documents) == [("bundle", key), ("envelope", key)]
    assert [gap.code for gap in trusted.gaps] == ["advisories.vex-untrusted"]


def test_the_tags_of_registries_without_referrers(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """The tag schema of the specification, and cosign's own tag; predicates that are none of ours are not fetched."""
    held, name = registry.repositories["acme/shop"], of(registry).replace(":", "-")
    listed = hang(registry, signed(registry, acme, "listed"))
    held[name] = (ib.OCI_INDEX, ib.index([listed]))
    wanted, other = signed(registry, acme, "cosign"), b"provenance"
    for data in (wanted, other):
        held[ib.digest(data)] = ("application/octet-stream", data)
    layers = [
        {"mediaType": DSSE, "digest": ib.digest(data), "size": len(data), "annotations": {"predicateType": kind}}
        for data, kind in ((other, "https://slsa.dev/provenance/v0.2"), (wanted, OPENVEX))
    ]
    made = encode({"schemaVersion": 2, "mediaType": ib.OCI_MANIFEST, "config": layers[0], "layers": layers})
    held[f"{name}.att"] = held[ib.digest(made)] = (ib.OCI_MANIFEST, made)
    found = load(registry, tmp_path)
    assert sorted(document.id for document in found.documents) == ["cosign", "listed"]
    assert found.gaps == []
    assert ib.digest(other) not in " ".join(registry.paths())


def test_entries_of_an_index(registry: sim.Registry, tmp_path: Path) -> None:
    """BuildKit puts statements, unsigned, beside the image into its index."""
    held = registry.repositories["acme/shop"]
    image = registry.image  # type: ignore[attr-defined]
    inner = attestation(openvex(statement("pkg:npm/lodash"), **{"@id": "buildkit"}), of(registry))
    entry = hang(registry, inner, "application/vnd.in-toto+json", **{"in-toto.io/predicate-type": OPENVEX})
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
    index = ib.index(
        [image.descriptor(), entry | {"annotations": notes, "platform": {"os": "unknown", "architecture": "unknown"}}]
    )
    held[ib.digest(index)] = (ib.OCI_INDEX, index)
    host = registry.address.removeprefix("http://")
    about = target(f"{host}/acme/shop:1.2", digest=image.digest, digests=(ib.digest(index),))
    found = VexSources(["oci"], (), (), SourceOptions(cache_dir=tmp_path / "cache")).load(about, INVENTORY)
    assert [document.id for document in found.documents] == ["buildkit"]
    assert found.gaps == []


def test_an_attestation_moved_to_another_image(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """Signed by the right key, and attached to an image that it is not about: it silences nothing."""
    registry.referrers = {of(registry): [hang(registry, signed(registry, acme, "moved", vexing.OTHER))]}
    found = load(registry, tmp_path, acme.write(tmp_path))
    assert len(found.documents) == 1
    applied = vexing.applied([LODASH], found.documents, of=target(digest=of(registry), digests=()))
    assert vexing.said(applied) == (["affected"], ["image-differs"])


def test_a_registry_that_lies(registry: sim.Registry, acme: vexing.Signer, tmp_path: Path) -> None:
    """Content of another digest, things that are listed and not there, and too much of it."""
    wanted = signed(registry, acme)
    descriptor = hang(registry, wanted)
    registry.repositories["acme/shop"][ib.digest(wanted)] = ("application/octet-stream", wanted.replace(b"payload", b"Payload"))
    missing = descriptor | {"digest": vexing.OTHER}
    broken = {"mediaType": ib.OCI_MANIFEST, "artifactType": DSSE, "size": 2, "digest": ib.digest(b"[]")}
    registry.repositories["acme/shop"][ib.digest(b"[]")] = (ib.OCI_MANIFEST, b"[]")
    registry.referrers = {of(registry): [descriptor, missing, broken]}
    found = load(registry, tmp_path)
    assert found.documents == []
    assert {gap.code for gap in found.gaps} == {"advisories.vex-unreachable"}
    assert len(found.gaps) == 3


def test_bounds_of_attestations(
    registry: sim.Registry, acme: vexing.Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number and bytes are bounded, and what is left out is told."""
    from pratique.image import referrers

    registry.referrers = {of(registry): [hang(registry, signed(registry, acme, str(number))) for number in range(4)]}
    monkeypatch.setattr(referrers, "MAX_ATTACHED", 2)
    found = load(registry, tmp_path)
    assert (len(found.documents), len(found.gaps)) == (2, 1)
    monkeypatch.setattr(referrers, "MAX_ATTACHED", 99)
    monkeypatch.setattr(referrers, "MAX_BYTES", 10)
    assert len(load(registry, tmp_path).gaps) == 4


def test_where_there_is_no_registry(registry: sim.Registry, tmp_path: Path) -> None:
    """An archive, --offline, an image without any attestation."""
    assert load(registry, tmp_path) == collect.Loaded([], [])
    offline = load(registry, tmp_path, offline=True)
    assert [gap.code for gap in offline.gaps] == ["advisories.vex-unreachable"]
    options = SourceOptions(cache_dir=tmp_path / "cache")
    about = target("shop.tar", scheme="docker-archive")
    found = VexSources(["oci"], (), (), options).load(about, INVENTORY)
    assert [gap.code for gap in found.gaps] == ["advisories.vex-unreachable"]
    assert "docker-archive:shop.tar" in found.gaps[0].message
