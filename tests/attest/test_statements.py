"""Attestations as policies see them: what was signed, by whom, about which image, and what provenance says."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vexing
from pratique.attest.keys import Key, load
from pratique.attest.statements import PROVENANCE, SIGNATURE, read, read_signature
from pratique.model.attestation import Attestation
from vexing import DIGEST, INDEX, OTHER, attestation, encode, envelope

ACME, MALLORY = vexing.signer(), vexing.signer("ed25519")
ABOUT = frozenset((DIGEST, INDEX))
V1 = {
    "buildDefinition": {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {"workflow": {"ref": "refs/heads/main", "repository": "https://github.com/acme/shop"}},
        "resolvedDependencies": [
            {"uri": "pkg:docker/golang@1.22"},
            {"uri": "git+https://github.com/acme/shop@refs/heads/main", "digest": {"gitCommit": "c0ffee"}},
        ],
    },
    "runDetails": {
        "builder": {"id": "https://github.com/actions/runner/github-hosted"},
        "metadata": {"finishedOn": "2026-01-02T03:04:05.678+01:00"},
    },
}
# As BuildKit writes it: https://docs.docker.com/build/metadata/attestations/slsa-definitions/
BUILDKIT = {
    "builder": {"id": "https://ci.example/run/1"},
    "buildType": "https://mobyproject.org/buildkit@v1",
    "materials": [{"uri": "pkg:docker/docker/dockerfile@1", "digest": {"sha256": "1"}}],
    "invocation": {"configSource": {"entryPoint": "Dockerfile"}},
    "metadata": {
        "buildFinishedOn": "2026-01-02T03:04:05Z",
        "https://mobyproject.org/buildkit@v1#metadata": {"vcs": {"revision": "abc", "source": "git@github.com:acme/shop.git"}},
    },
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, ...]:
    """The key that is believed."""
    path = ACME.write(tmp_path_factory.mktemp("keys"))
    return load("acme.pub", Path(path).read_bytes())


def provenance(document: dict[str, Any], kind: str = "v1", digest: str = DIGEST) -> bytes:
    """A statement about the image."""
    return attestation(encode(document), digest, kind=PROVENANCE + kind)


def test_provenance_of_either_version(keys: tuple[Key, ...]) -> None:
    """Builder, type, source, revision and the end of the build."""
    found = read(envelope(provenance(V1), ACME), "a", keys, ABOUT).attestations
    assert found == (
        Attestation(
            predicate="https://slsa.dev/provenance/v1",
            signer="acme.pub",
            verified=True,
            signed_at="2026-01-02T02:04:05Z",
            builder="https://github.com/actions/runner/github-hosted",
            build_type="https://actions.github.io/buildtypes/workflow/v1",
            source="https://github.com/acme/shop",
            revision="c0ffee",
            origin="a",
        ),
    )
    (old,) = read(provenance(BUILDKIT, "v0.2"), "b", keys, ABOUT).attestations
    assert (old.builder, old.source, old.revision) == ("https://ci.example/run/1", "git@github.com:acme/shop.git", "abc")
    assert (old.signer, old.verified, old.signed_at) == ("", False, "2026-01-02T03:04:05Z")


def test_whose_word_it_is(keys: tuple[Key, ...]) -> None:
    """Another's signature, none, no key that is believed: said, and not verified."""
    for data, about in ((envelope(provenance(V1), MALLORY), keys), (envelope(provenance(V1), None), keys)):
        (found,) = read(data, "a", about, ABOUT).attestations
        assert (found.verified, found.signer) == (False, "")
    (found,) = read(envelope(provenance(V1), ACME), "a", (), ABOUT).attestations
    assert not found.verified
    both = msgspec.json.decode(envelope(provenance(V1), MALLORY))
    both["signatures"] += msgspec.json.decode(envelope(provenance(V1), ACME))["signatures"]
    assert read(encode(both), "a", keys, ABOUT).attestations[0].verified


def test_changed_after_signing(keys: tuple[Key, ...]) -> None:
    """Another payload under the signature, and the same payload under another type."""
    signed = msgspec.json.decode(envelope(provenance(V1), ACME))
    other = provenance({**V1, "runDetails": {"builder": {"id": "https://mallory.example"}}})
    (found,) = read(encode({**signed, "payload": base64.b64encode(other).decode()}), "a", keys, ABOUT).attestations
    assert not found.verified
    stated = read(envelope(provenance(V1), ACME, "application/x-other"), "a", keys, ABOUT)
    assert stated.attestations == ()
    assert "not an in-toto statement" in stated.failures[0]


def test_about_another_image(keys: tuple[Key, ...]) -> None:
    """Signed by the right key and moved here: not used, and told. One of several subjects is enough."""
    for digests in ((OTHER,), ()):
        stated = read(envelope(attestation(b"{}", *digests, kind=SIGNATURE), ACME), "a", keys, ABOUT)
        assert stated.attestations == ()
        assert "no digest of this image is its subject" in stated.failures[0]
    (found,) = read(envelope(attestation(b"{}", OTHER, INDEX, kind=SIGNATURE), ACME), "a", keys, ABOUT).attestations
    assert (found.predicate, found.verified) == (SIGNATURE, True)
    assert read(provenance(V1), "a", keys, frozenset()).attestations == ()


def test_several_in_one_file(keys: tuple[Key, ...]) -> None:
    """As cosign downloads them, one a line; one that is broken leaves the others."""
    lines = [envelope(provenance(V1), ACME), b"{broken", envelope(provenance(BUILDKIT, "v0.2"), ACME)]
    stated = read(b"\n".join(lines) + b"\n", "a", keys, ABOUT)
    assert [one.predicate for one in stated.attestations] == [f"{PROVENANCE}v1", f"{PROVENANCE}v0.2"]
    assert len(stated.failures) == 1


def test_many_lines_are_bounded(keys: tuple[Key, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of very many is not read to its end, and that is told."""
    from pratique.attest import statements

    monkeypatch.setattr(statements, "MAX_LINES", 2)
    lines = b"\n".join(attestation(b"{}", DIGEST, kind=f"https://example.org/{number}") for number in range(5))
    stated = read(lines, "a", keys, ABOUT)
    assert (len(stated.attestations), stated.failures) == (2, ("a: more than 2 lines; the rest was not read",))


def payload(digest: str = DIGEST, kind: str = "cosign container image signature") -> bytes:
    """What cosign signs."""
    identity = {"docker-reference": "ghcr.io/acme/shop"}
    return encode(
        {"critical": {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": kind}, "optional": None}
    )


def test_signatures_of_cosign(keys: tuple[Key, ...]) -> None:
    """By the key, by another, of another image, of another kind, and no base64."""
    good = payload()
    (found,) = read_signature(good, ACME.beside(good).decode().strip(), "a", (keys, ABOUT)).attestations
    assert (found.predicate, found.signer, found.verified) == (SIGNATURE, "acme.pub", True)
    (found,) = read_signature(good, MALLORY.beside(good).decode().strip(), "a", (keys, ABOUT)).attestations
    assert not found.verified
    for bad in (payload(OTHER), payload(kind="atomic container signature"), b"{}", b"[]", b"\xff"):
        stated = read_signature(bad, ACME.beside(bad).decode().strip(), "a", (keys, ABOUT))
        assert (stated.attestations, len(stated.failures)) == ((), 1)
    assert "another image" in read_signature(payload(OTHER), "", "a", (keys, ABOUT)).failures[0]
    assert read_signature(good, "~~~", "a", (keys, ABOUT)).failures


_JSON = st.recursive(st.none() | st.integers() | st.text(max_size=9) | st.booleans(), lambda inner: st.lists(inner, max_size=3))


@given(st.binary(max_size=200) | st.dictionaries(st.text(max_size=9), _JSON, max_size=4).map(encode))
def test_any_bytes_end_in_words(data: bytes) -> None:
    """Nothing raises."""
    stated = read(data, "a", (), ABOUT)
    assert stated.attestations == ()
    assert stated.failures
    assert read_signature(data, "x", "a", ((), ABOUT)).failures


@given(
    st.dictionaries(
        st.sampled_from(["buildDefinition", "runDetails", "builder", "buildType", "invocation", "metadata", "materials"]),
        _JSON | st.dictionaries(st.sampled_from(["builder", "id", "metadata", "externalParameters", "configSource"]), _JSON),
    )
)
def test_any_predicate_is_read(predicate: dict[str, Any]) -> None:
    """Provenance of whatever form is an attestation that says less."""
    assert len(read(provenance(predicate), "a", (), ABOUT).attestations) == 1
