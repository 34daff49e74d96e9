"""VEX documents, keys and signatures made by hand, for the tests of what others say."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pratique.attest.vexfile import Trust, read
from pratique.match.vex import About, Applied, apply
from pratique.model.finding import Finding, FindingPackage, Severity
from pratique.model.inventory import Distro, Location, Package, SourcePackage
from pratique.model.purl import parse
from pratique.model.report import Target
from pratique.model.vex import Document

NOW = "2026-06-01T00:00:00Z"
ANY = Trust()
DIGEST = "sha256:" + "a" * 64
INDEX = "sha256:" + "b" * 64
CONFIG = "sha256:" + "c" * 64
OTHER = "sha256:" + "d" * 64
_ECOSYSTEMS = {
    "deb": "Debian",
    "apk": "Alpine",
    "rpm": "Red Hat",
    "pypi": "PyPI",
    "golang": "Go",
    "cargo": "crates.io",
    "maven": "Maven",
}
DEBIAN = Distro(id="debian", version="12", codename="bookworm")


def target(reference: str = "ghcr.io/acme/shop:1.2", scheme: str = "registry", **more: Any) -> Target:
    """An image of a registry, known by three digests."""
    fields: dict[str, Any] = {
        "digest": DIGEST,
        "platform": "linux/amd64",
        "distro": None,
        "layers": (),
        "digests": (INDEX, CONFIG),
        **more,
    }
    return Target(reference=reference, scheme=scheme, **fields)


def package(purl: str, path: str = "var/lib/dpkg/status", source: str = "", **more: Any) -> Package:
    """A package by its purl; `source` is NAME or NAME@VERSION."""
    made = parse(purl)
    epoch = made.qualifiers.get("epoch", "")
    version = f"{epoch}:{made.version}" if epoch else made.version
    name, at, number = source.partition("@")
    return Package(
        name=f"{made.namespace}/{made.name}" if made.namespace and made.type in ("golang", "npm") else made.name,
        version=version,
        purl=purl,
        type=made.type,  # type: ignore[arg-type]
        ecosystem=_ECOSYSTEMS.get(made.type, made.type),
        namespace=made.namespace,
        arch=made.qualifiers.get("arch", ""),
        source=SourcePackage(name, number if at else version) if source else None,
        locations=(Location(path, "sha256:1"),),
        **more,
    )


def finding(of: Package, name: str = "CVE-2024-0001", **more: Any) -> Finding:
    """A vulnerability of a package."""
    about = FindingPackage(
        purl=of.purl, name=of.name, version=of.version, ecosystem=of.ecosystem, source=of.source.name if of.source else ""
    )
    fields: dict[str, Any] = {"kind": "vulnerability", "title": name, "severity": Severity.HIGH, **more}
    return Finding(id=name, fingerprint=f"{name} {of.purl}", package=about, **fields)


def statement(product: Any, name: str = "CVE-2024-0001", status: str = "not_affected", **more: Any) -> dict[str, Any]:
    """One OpenVEX statement; a product may be its @id alone."""
    products = [{"@id": one} if isinstance(one, str) else one for one in (product if isinstance(product, list) else [product])]
    made: dict[str, Any] = {"vulnerability": {"name": name}, "products": products, "status": status, **more}
    if status == "not_affected" and "impact_statement" not in more:
        made.setdefault("justification", "vulnerable_code_not_present")
    return made


def parts(product: str, *purls: str) -> dict[str, Any]:
    """A product with subcomponents."""
    return {"@id": product, "subcomponents": [{"@id": purl} for purl in purls]}


def openvex(*statements: dict[str, Any], **more: Any) -> bytes:
    """An OpenVEX document."""
    return encode(
        {
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": "https://example.org/vex-1",
            "author": "Acme <vex@acme.example>",
            "timestamp": "2026-01-01T00:00:00Z",
            "version": 1,
            "statements": list(statements),
            **more,
        }
    )


def encode(document: Any) -> bytes:
    """JSON as anybody writes it."""
    return json.dumps(document).encode()


def documents(*contents: bytes, trust: Trust = ANY) -> list[Document]:
    """Read documents, all of which can be."""
    found: list[Document] = []
    for number, content in enumerate(contents):
        one = read(content, f"file-{number}.json", trust)
        assert not one.failures, one.failures
        found += one.documents
    return found


def judged(
    packages: list[Package],
    contents: list[bytes] | bytes,
    findings: list[Finding] | None = None,
    *,
    of: Target | None = None,
    distro: Distro | None = DEBIAN,
    now: str = NOW,
    trust: Trust = ANY,
) -> Applied:
    """Let documents speak about packages, each of which has CVE-2024-0001 unless findings are given."""
    contents = [contents] if isinstance(contents, bytes) else contents
    findings = findings if findings is not None else [finding(one) for one in packages]
    about = About(of or target(), packages, distro)
    return apply(findings, about, packages, documents(*contents, trust=trust), now)


def applied(packages: list[Package], documents: list[Document], *, of: Target) -> Applied:
    """Let documents that were read speak about packages, each of which has CVE-2024-0001."""
    return apply([finding(one) for one in packages], About(of, packages, DEBIAN), packages, documents, NOW)


def said(applied: Applied) -> tuple[list[str], list[str]]:
    """Return the status of each finding, and the code of each unapplied statement."""
    return [one.status for one in applied.findings], [one.code for one in applied.report.unapplied]


# -- signatures -----------------------------------------------------------------------------------------------------------------


class Signer(NamedTuple):
    """A private key and the PEM of its public half."""

    private: Any
    pem: bytes

    def sign(self, data: bytes) -> bytes:
        """Sign as cosign does."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        made: bytes = self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        return made

    def beside(self, data: bytes) -> bytes:
        """Return what `cosign sign-blob` writes into a file."""
        return base64.b64encode(self.sign(data)) + b"\n"

    def write(self, folder: Path, name: str = "acme.pub") -> str:
        """Write the public key; return its path."""
        path = folder / name
        path.write_bytes(self.pem)
        return str(path)


def signer(kind: str = "p256") -> Signer:
    """Make a key."""
    makers: dict[str, Any] = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
        "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    }
    private = makers[kind]()
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Signer(private, pem)


def pae(kind: str, payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE, written down a second time."""
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload])


def envelope(payload: bytes, by: Signer | None, kind: str = "application/vnd.in-toto+json") -> bytes:
    """A DSSE envelope; without a signer it has no signature."""
    signatures = [{"keyid": "", "sig": base64.b64encode(by.sign(pae(kind, payload))).decode()}] if by else []
    return encode({"payloadType": kind, "payload": base64.b64encode(payload).decode(), "signatures": signatures})


def attestation(predicate: bytes, *digests: str, kind: str = "https://openvex.dev/ns/v0.2.0") -> bytes:
    """An in-toto statement."""
    subject = [{"name": "ghcr.io/acme/shop", "digest": {"sha256": digest.removeprefix("sha256:")}} for digest in digests]
    return encode(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": kind,
            "predicate": msgspec.json.decode(predicate),
        }
    )
