"""Whose key vouches for a document: nothing is read of one that has to be signed, and is not."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

import vexing
from pratique.attest.envelope import Envelope, attestation_of, detached, envelope_of
from pratique.attest.keys import load, signer, verifies
from pratique.attest.vexfile import UNREADABLE, UNTRUSTED, Trust, author_rank, read
from pratique.model.errors import ConfigurationError, ParseError
from vexing import DIGEST, attestation, encode, envelope, openvex, pae, statement

DOCUMENT = openvex(statement("pkg:npm/lodash"))


@pytest.fixture(scope="module")
def acme() -> vexing.Signer:
    """The key that is trusted."""
    return vexing.signer()


@pytest.fixture(scope="module")
def mallory() -> vexing.Signer:
    """Another key."""
    return vexing.signer()


def trust(by: vexing.Signer, *authors: str) -> Trust:
    """Trust one key."""
    return Trust(load("acme.pub", by.pem), authors)


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa"])
def test_kinds_of_keys(kind: str) -> None:
    """A signature by the key verifies; of other bytes, or by another key, it does not."""
    own, other = vexing.signer(kind), vexing.signer(kind)
    (key,) = load("k", own.pem)
    made = own.sign(b"data")
    assert verifies(key, made, b"data")
    assert not verifies(key, made, b"Data")
    assert not verifies(key, other.sign(b"data"), b"data")
    assert not verifies(key, b"", b"data")
    assert signer([*load("other", other.pem), key], [b"x", made], b"data") == "k"


def test_the_hash_of_the_curve() -> None:
    """P-384 with SHA-384, as others sign."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    own = vexing.signer("p384")
    assert verifies(load("k", own.pem)[0], own.private.sign(b"data", ec.ECDSA(hashes.SHA384())), b"data")


def test_rsa_pss() -> None:
    """RSA with the padding that is better."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    own = vexing.signer("rsa")
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
    assert verifies(load("k", own.pem)[0], own.private.sign(b"data", pss, hashes.SHA256()), b"data")


def test_several_keys_in_a_file() -> None:
    """A new key beside the old one, with words between."""
    one, two = vexing.signer(), vexing.signer("ed25519")
    keys = load("keys.pem", b"# old\n" + one.pem + b"# new\n" + two.pem)
    assert len(keys) == 2
    assert signer(keys, [two.sign(b"x")], b"x") == "keys.pem"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no public key in it"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key that can be read"),
        (b"-----BEGIN PUBLIC KEY-----\n", "no public key in it"),
        (b"-----BEGIN PUBLIC KEY-----\n" * 5000, "larger than"),
        (vexing.signer("rsa1024").pem, "1024 bits"),
        (vexing.signer("k1").pem, "a kind that is not supported"),
    ],
)
def test_keys_that_are_none(content: bytes, words: str) -> None:
    """Each is an error of the configuration, found before anything is scanned."""
    with pytest.raises(ConfigurationError, match=words):
        load("k", content)


def test_a_private_key_is_refused() -> None:
    """Nobody should pass theirs around."""
    private = vexing.signer().private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigurationError, match="a private key"):
        load("k", private)


def test_without_keys_unsigned_documents_are_used() -> None:
    """And a signature that nobody asked for is not looked at."""
    found = read(DOCUMENT, "a", Trust(), b"nonsense")
    assert (len(found.documents), found.documents[0].signer, found.failures) == (1, "", ())


def test_a_signature_beside_a_document(acme: vexing.Signer, mallory: vexing.Signer) -> None:
    """As `cosign sign-blob` writes it: base64, bare, or in a bundle."""
    good = trust(acme)
    bundle = encode(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "messageSignature": {"messageDigest": {}, "signature": base64.b64encode(acme.sign(DOCUMENT)).decode()},
        }
    )
    old = encode({"base64Signature": base64.b64encode(acme.sign(DOCUMENT)).decode(), "cert": ""})
    for signature in (acme.beside(DOCUMENT), acme.sign(DOCUMENT), bundle, old):
        found = read(DOCUMENT, "a", good, signature)
        assert [one.signer for one in found.documents] == ["acme.pub"]
    for wrong in (None, b"", b"{", mallory.beside(DOCUMENT), acme.beside(DOCUMENT + b" "), b"{}"):
        found = read(DOCUMENT, "a", good, wrong)
        assert found.documents == ()
        assert [code for code, _ in found.failures] == [UNTRUSTED]


def test_nothing_is_read_before_the_signature(acme: vexing.Signer) -> None:
    """What is not signed is untrusted, whatever it is: nobody gets to know whether it could be read."""
    for content in (b"", b"garbage", b"[" * 100_000, DOCUMENT[:-5]):
        assert [code for code, _ in read(content, "a", trust(acme)).failures] == [UNTRUSTED]
        assert [code for code, _ in read(content, "a", Trust()).failures] == [UNREADABLE]


def test_envelopes(acme: vexing.Signer, mallory: vexing.Signer) -> None:
    """DSSE with an in-toto statement, in a Sigstore bundle, and one a line as cosign prints them."""
    good, inner = trust(acme), attestation(DOCUMENT, DIGEST)
    signed = envelope(inner, acme)
    bundle = encode({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"})[:-1] + b', "dsseEnvelope": ' + signed + b"}"
    for content in (signed, bundle):
        found = read(content, "a", good)
        assert [(one.signer, one.subjects) for one in found.documents] == [("acme.pub", (DIGEST,))]
    lines = signed + b"\n" + envelope(inner, mallory) + b"\n" + envelope(b'{"_type": "x"}', acme) + b"\n"
    found = read(lines, "a", good)
    assert len(found.documents) == 0  # a line that cannot be read spoils the file
    found = read(signed + b"\n" + envelope(inner, mallory) + b"\n", "a", good)
    assert ([one.signer for one in found.documents], [code for code, _ in found.failures]) == (["acme.pub"], [UNTRUSTED])
    for content in (envelope(inner, mallory), envelope(inner, None)):
        assert [code for code, _ in read(content, "a", good).failures] == [UNTRUSTED]
        assert [one.signer for one in read(content, "a", Trust()).documents] == [""]


def test_what_an_envelope_signs(acme: vexing.Signer) -> None:
    """Payload and type: a payload under another type, or another payload, is not what was signed."""
    inner = attestation(DOCUMENT, DIGEST)
    signed = Envelope(inner, "application/vnd.in-toto+json", ())
    assert signed.signed == pae("application/vnd.in-toto+json", inner)
    made = base64.b64encode(acme.sign(inner)).decode()  # of the payload alone
    naked = encode(
        {
            "payloadType": "application/vnd.in-toto+json",
            "payload": base64.b64encode(inner).decode(),
            "signatures": [{"sig": made}],
        }
    )
    assert read(naked, "a", trust(acme)).documents == ()
    moved = envelope(inner, acme).replace(b"vnd.in-toto+json", b"vnd.openvex+json")
    assert read(moved, "a", trust(acme)).documents == ()


def test_an_unsigned_document_that_mentions_an_envelope(acme: vexing.Signer) -> None:
    """Words of an envelope in a document are no envelope."""
    sly = openvex(statement("pkg:npm/lodash"), tooling='"payloadType" "payload"', payloadType=1)
    sly = sly.replace(b"}", b', "payload": ""}', 1)
    found = read(sly, "a", trust(acme))
    assert found.documents == ()
    assert [code for code, _ in found.failures] == [UNTRUSTED]


def test_attestations_of_other_things(acme: vexing.Signer) -> None:
    """Provenance and SBOMs are attached to images as well: none of ours, and no problem."""
    other = envelope(attestation(b"{}", DIGEST, kind="https://slsa.dev/provenance/v1"), acme)
    found = read(other, "a", trust(acme))
    assert (found.documents, found.failures, found.others) == ((), (), 1)
    sbom = envelope(attestation(b'{"bomFormat": "CycloneDX"}', DIGEST, kind="https://cyclonedx.org/bom"), acme)
    assert read(sbom, "a", trust(acme)).others == 1


def test_an_attestation_without_a_subject(acme: vexing.Signer) -> None:
    """It could be held to be about anything."""
    found = read(envelope(attestation(DOCUMENT), acme), "a", trust(acme))
    assert [code for code, _ in found.failures] == [UNREADABLE]


def test_authors(acme: vexing.Signer) -> None:
    """Only those that are allowed, with a pattern, in any letter case; the first that fits ranks."""
    allowed = Trust((), ("someone else", "acme *@acme.example>"))
    found = read(DOCUMENT, "a", allowed)
    assert (found.documents[0].why_not, found.documents[0].rank) == ("", 1)
    refused = read(DOCUMENT, "a", Trust((), ("evil",)))
    assert "is none of those allowed" in refused.documents[0].why_not
    assert [code for code, _ in refused.failures] == [UNTRUSTED]
    assert read(openvex(statement("pkg:npm/x"), author=""), "a", Trust((), ("*",))).documents[0].why_not
    signed = read(DOCUMENT, "a", trust(acme, "evil"), acme.beside(DOCUMENT))
    assert signed.documents[0].why_not
    assert [author_rank("a", patterns) for patterns in ((), ("b", "A"), ("b",))] == [0, 1, -1]


def test_base64_of_both_alphabets() -> None:
    """With padding or without."""
    raw = bytes(range(250, 256))
    for text in (base64.b64encode(raw), base64.urlsafe_b64encode(raw), base64.urlsafe_b64encode(raw).rstrip(b"=")):
        found = envelope_of({"payload": text.decode(), "payloadType": "x", "signatures": [{"sig": text.decode()}]})
        assert found is not None
        assert (found.payload, found.signatures) == (raw, (raw,))


@pytest.mark.parametrize(
    "document",
    [
        {"payload": 1, "payloadType": "x"},
        {"payload": "%%%", "payloadType": "x"},
        {"payload": "", "payloadType": "x", "signatures": [{"sig": 1}]},
        {"payload": "", "payloadType": "x", "signatures": [{"sig": ""}] * 100},
    ],
)
def test_broken_envelopes(document: dict[str, object]) -> None:
    """An error of ours."""
    with pytest.raises(ParseError):
        envelope_of(document)


def test_statements_about_too_much() -> None:
    """Subjects are bounded; digests of any algorithm are kept, and only texts."""
    with pytest.raises(ParseError):
        attestation_of(encode({"_type": "https://in-toto.io/Statement/v1", "subject": [{}] * 10_001}))
    odd = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"digest": {"sha256": "AA", "sha512": 1}}, 7, {"digest": []}],
    }
    found = attestation_of(encode(odd))
    assert found is not None
    assert found.subjects == ("sha256:aa",)
    assert attestation_of(b"{}") is None


def test_what_was_signed_as_something_else(acme: vexing.Signer) -> None:
    """The type of the payload is part of what is signed: a log entry that reads like a document is none."""
    for kind, used in (("application/vex+json", True), ("application/json", True), ("application/x-log", False), ("", False)):
        found = read(envelope(DOCUMENT, acme, kind), "a", trust(acme))
        assert bool(found.documents) is used, kind
    inner = attestation(DOCUMENT, DIGEST)
    assert not read(envelope(inner, acme, "application/x-log"), "a", trust(acme)).documents


@given(st.binary(max_size=300) | st.builds(lambda text: b"{" + text + b"}", st.binary(max_size=200)))
def test_any_bytes(data: bytes) -> None:
    """Any file ends in documents or in what is wrong with it, with keys and without."""
    for given_trust in (Trust(), Trust(_KEYS, ())):
        found = read(data, "a", given_trust, data)
        assert found.documents or found.failures or found.boms or found.others
    detached(data)


_KEYS = load("k", vexing.signer("ed25519").pem)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["@context", "statements", "products", "vulnerability", "name", "status", "document", "product_tree", "branches",
             "vulnerabilities", "cve", "product_status", "fixed", "bomFormat", "analysis", "state", "affects", "ref", "@id",
             "subcomponents", "_type", "subject", "predicateType", "predicate", "relationships", "versions", "components"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(_JSON, st.sampled_from(["https://openvex.dev/ns", "CycloneDX", "csaf", ""]))
def test_any_json(value: object, kind: str) -> None:
    """Any JSON in the place of a document, whatever stands where."""
    document: dict[str, object] = {"statements": value, "vulnerabilities": value, "product_tree": value}
    document = dict(value) if isinstance(value, dict) else document
    marks: dict[str, object] = {"@context": kind} if "openvex" in kind else {"bomFormat": kind} if kind == "CycloneDX" else {}
    if kind == "csaf":
        marks = {"document": {}}
    document = {**document, **marks}
    read(encode(document), "a", Trust())


def test_a_document_that_is_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is not read."""
    monkeypatch.setattr("pratique.attest.vexfile.MAX_DOCUMENT", 100)
    assert [code for code, _ in read(DOCUMENT, "a", Trust()).failures] == [UNREADABLE]
