"""A real docker-registry, an image with attestations hung on in every way that is in use, and the command that reads them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
import loopback
import vexing
from pratique.cli.main import run
from vexing import attestation, encode, envelope, openvex, statement

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]

ID = "CVE-2023-4911"
DSSE = "application/vnd.dsse.envelope.v1+json"
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": ib.digest(b"{}"), "size": 2}
FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": "Package: glibc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n",
}


class Pushing:
    """A registry on loopback, and what a client pushes into its one repository."""

    def __init__(self, host: str) -> None:
        self.host = host

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> str:
        """Ask; return where the answer leads to. What is no success fails the test."""
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=30)) as connection:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 300, (method, path, answer.status, said)
            return answer.headers["Location"] or ""

    def blob(self, data: bytes) -> str:
        """Push a blob."""
        at = self.ask("POST", "/v2/shop/blobs/uploads/")
        where = at.split(self.host, 1)[-1]
        self.ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={ib.digest(data)}", data)
        return ib.digest(data)

    def manifest(self, data: bytes, tag: str = "", kind: str = ib.OCI_MANIFEST) -> dict[str, Any]:
        """Push a manifest; return its descriptor."""
        self.ask("PUT", f"/v2/shop/manifests/{tag or ib.digest(data)}", data, kind)
        return {"mediaType": kind, "digest": ib.digest(data), "size": len(data)}

    def hang(self, tag: str, *layers: tuple[str, bytes, dict[str, str]], **more: Any) -> dict[str, Any]:
        """Push an artifact of such layers."""
        self.blob(b"{}")
        listed = []
        for kind, data, notes in layers:
            listed.append({"mediaType": kind, "digest": self.blob(data), "size": len(data), "annotations": notes})
        body = {"schemaVersion": 2, "mediaType": ib.OCI_MANIFEST, "config": EMPTY, "layers": listed, **more}
        return self.manifest(encode(body), tag)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    """A registry with an image that has an exploited vulnerability."""
    folder = tmp_path_factory.mktemp("registry")
    host = f"127.0.0.1:{loopback.free_port()}"
    said = (
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{host}'}}\n"
    )
    (folder / "config.yml").write_text(said)
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError):
                socket.create_connection(tuple(host.split(":")), timeout=1).close()  # type: ignore[arg-type]
                break
            time.sleep(0.05)
        yield Pushing(host)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def image(registry: Pushing) -> ib.Image:
    """Push an image of its own, so that tests do not see each other's attestations."""
    made = ib.image([ib.layer({**FILES, "etc/stamp": str(time.monotonic_ns())})])
    for digest, data in made.blobs.items():
        if digest != made.digest:
            registry.blob(data)
    registry.manifest(made.manifest, "1", made.media_type)
    return made


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> vexing.Signer:
    """The key that is believed, in an empty working directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made = vexing.signer()
    made.write(tmp_path)
    return made


def scanned(registry: Pushing, capfd: pytest.CaptureFixture[str], *more: str, reference: str = "shop:1") -> tuple[int, Any]:
    """Scan the image; return the exit code and the report."""
    capfd.readouterr()
    line = ["scan", f"registry:{registry.host}/{reference}", "--now", "2024-06-01", "--mirror", Path("none").absolute().as_uri()]
    code = run([*line, "-q", "-f", "json", *more])
    return code, json.loads(capfd.readouterr().out)


def vex(image: ib.Image, by: vexing.Signer | None, name: str, digest: str = "") -> bytes:
    """An envelope that says that the image is not affected."""
    document = openvex(statement("pkg:deb/debian/glibc", ID), **{"@id": name, "timestamp": "2024-05-01T00:00:00Z"})
    return envelope(attestation(document, digest or image.digest), by)


def status(report: Any) -> str:
    """The status of the one finding, and the document that settled it."""
    (found,) = [finding for finding in report["findings"] if finding["id"] == ID]
    return f"{found['status']} {(found['vex'] or {}).get('document', '')}".strip()


def test_each_way_of_attaching(
    registry: Pushing, image: ib.Image, acme: vexing.Signer, capfd: pytest.CaptureFixture[str]
) -> None:
    """cosign's tag, the specification's tag of referrers; each settles the finding, by the key."""
    gate = ("--fail-on", "kev", "--vex", "oci", "--vex-key", "acme.pub")
    assert scanned(registry, capfd, "--fail-on", "kev")[0] == 1
    code, report = scanned(registry, capfd, *gate)
    assert (code, status(report), report["vex"]["documents"]) == (1, "affected", [])
    tag = image.digest.replace(":", "-")
    registry.hang(f"{tag}.att", (DSSE, vex(image, acme, "by-tag"), {"predicateType": "https://openvex.dev/ns/v0.2.0"}))
    code, report = scanned(registry, capfd, *gate)
    assert (code, status(report)) == (0, "not_affected by-tag")
    registry.hang(f"{tag}.att", (DSSE, vex(image, vexing.signer(), "forged"), {}))
    code, report = scanned(registry, capfd, *gate)
    assert (code, status(report)) == (1, "affected")
    assert [gap["code"] for gap in report["problems"] if "vex" in gap["code"]] == ["advisories.vex-untrusted"]
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    one = registry.hang("", (DSSE, vex(image, acme, "referring"), {}), artifactType=DSSE, subject=subject)
    registry.manifest(ib.index([one | {"artifactType": DSSE}]), tag, ib.OCI_INDEX)
    code, report = scanned(registry, capfd, *gate)
    assert (code, status(report)) == (0, "not_affected referring")


def test_entries_of_buildkit(registry: Pushing, image: ib.Image, acme: vexing.Signer, capfd: pytest.CaptureFixture[str]) -> None:
    """An index with an attestation manifest beside the image: nobody signed it, and a key that is asked for refuses it."""
    document = openvex(statement("pkg:deb/debian/glibc", ID), **{"@id": "bk", "timestamp": "2024-05-01T00:00:00Z"})
    inner = attestation(document, image.digest)
    notes = {"in-toto.io/predicate-type": "https://openvex.dev/ns/v0.2.0"}
    entry = registry.hang("", ("application/vnd.in-toto+json", inner, notes))
    entry["annotations"] = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
    entry["platform"] = {"os": "unknown", "architecture": "unknown"}
    registry.manifest(ib.index([image.descriptor(), entry]), "index", ib.OCI_INDEX)
    code, report = scanned(registry, capfd, "--fail-on", "kev", "--vex", "oci", reference="shop:index")
    assert (code, status(report)) == (0, "not_affected bk")
    code, report = scanned(registry, capfd, "--fail-on", "kev", "--vex", "oci", "--vex-key", "acme.pub", reference="shop:index")
    assert (code, status(report)) == (1, "affected")


def test_moved_from_another_image(
    registry: Pushing, image: ib.Image, acme: vexing.Signer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Signed by the right key about another image, and hung on this one: it silences nothing, and the report says why."""
    tag = image.digest.replace(":", "-")
    registry.hang(f"{tag}.att", (DSSE, vex(image, acme, "moved", vexing.OTHER), {}))
    code, report = scanned(registry, capfd, "--fail-on", "kev", "--vex", "oci", "--vex-key", "acme.pub")
    assert (code, status(report)) == (1, "affected")
    assert [one["code"] for one in report["vex"]["unapplied"]] == ["image-differs"]


def test_provenance_and_signature(
    registry: Pushing, image: ib.Image, acme: vexing.Signer, capfd: pytest.CaptureFixture[str]
) -> None:
    """What `slsa` and `nist-800-190` ask for, as cosign attaches it."""
    tag = image.digest.replace(":", "-")
    line = ("--policy", "slsa", "--attestation-key", "acme.pub")
    code, report = scanned(registry, capfd, *line)
    assert (code, [reason["rule"] for reason in report["verdict"]["reasons"]]) == (1, ["slsa-provenance-missing"])
    fact = {"builder": {"id": "https://ci.example"}, "invocation": {"configSource": {"uri": "git+x", "digest": {"sha1": "1"}}}}
    inner = attestation(encode(fact), image.digest, kind="https://slsa.dev/provenance/v0.2")
    registry.hang(f"{tag}.att", (DSSE, envelope(inner, acme), {"predicateType": "https://slsa.dev/provenance/v0.2"}))
    identity = {"identity": {"docker-reference": "x"}, "image": {"docker-manifest-digest": image.digest}}
    payload = encode({"critical": {**identity, "type": "cosign container image signature"}, "optional": None})
    simple = "application/vnd.dev.cosign.simplesigning.v1+json"
    signature = acme.beside(payload).decode().strip()
    registry.hang(f"{tag}.sig", (simple, payload, {"dev.cosignproject.cosign/signature": signature}))
    code, report = scanned(registry, capfd, *line)
    assert (code, report["verdict"]["decision"]) == (0, "allow")
    assert [(one["predicate"], one["verified"]) for one in report["attestations"]] == [
        ("https://sigstore.dev/cosign/sign/v1", True),
        ("https://slsa.dev/provenance/v0.2", True),
    ]
    rules = {reason["rule"] for reason in scanned(registry, capfd, "--policy", "nist-800-190")[1]["verdict"]["reasons"]}
    assert "nist-4.1.5-unsigned" in rules
    more = ("--policy", "nist-800-190", "--attestation-key", "acme.pub")
    rules = {reason["rule"] for reason in scanned(registry, capfd, *more)[1]["verdict"]["reasons"]}
    assert "nist-4.1.5-unsigned" not in rules
