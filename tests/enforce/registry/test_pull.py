"""Pulls through the gate, before a real registry: by verdict, whichever way an image is asked for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import imagebuilder
from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec, load_admission
from pratique.enforce.registry import gate as module
from pratique.enforce.registry.access import AccessSpec, Readers
from registrygate import NAME, Gated, digest, gated, package

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
BAD, GOOD = package(), package("99.0", "harmless")
ADMISSION = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))
ACCESS = AccessSpec(
    readers=(
        Readers(repositories=("team/*", "open/*"), groups=("devs",)),
        Readers(repositories=("open/*",), anonymous=True),
        Readers(repositories=("secret/*",), ids=("unix:alice",)),
    ),
    catalog=("unix:bob",),
)
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("gate"), admission=ADMISSION, access=ACCESS) as found:
        for repository in ("team/app", "open/app", "secret/app"):
            found.grant(f"push:{repository}")
            token = found.token("alice", f"repository:{repository}:pull,push")
            assert found.push(repository, GOOD, "good", token).status == 201
            assert found.push(repository, BAD, "bad", token).status == 201
            both = imagebuilder.index([GOOD.descriptor(), BAD.descriptor()])
            found.ask("PUT", f"/v2/{repository}/manifests/both", token, both, Content_Type=INDEX)
        yield found


def _token(gate: Gated, who: str = "bob", repository: str = "team/app") -> str:
    return gate.token(who, f"repository:{repository}:pull")


def _layer(image: imagebuilder.Image) -> str:
    return str(json.loads(image.manifest)["layers"][0]["digest"])


def test_an_image_that_may_is_given_out_as_it_is(gate: Gated) -> None:
    """The manifest by tag and by digest, then its blobs."""
    token = _token(gate)
    for name in ("good", GOOD.digest):
        reply = gate.ask("GET", f"/v2/team/app/manifests/{name}", token)
        assert (reply.status, reply.body) == (200, GOOD.manifest)
        assert reply.headers["docker-content-digest"] == GOOD.digest
        assert gate.ask("HEAD", f"/v2/team/app/manifests/{name}", token).status == 200
    blob = gate.ask("GET", f"/v2/team/app/blobs/{_layer(GOOD)}", token)
    assert (blob.status, digest(blob.body)) == (200, _layer(GOOD))


def test_a_denied_image_is_had_in_no_way(gate: Gated) -> None:
    """By tag, by digest, as a child of an index, by its layers and its configuration: refused, with the reason, on record."""
    token = _token(gate)
    for name in ("bad", BAD.digest):
        reply = gate.ask("GET", f"/v2/team/app/manifests/{name}", token)
        assert (reply.status, reply.code) == (403, "DENIED")
        assert "known to be exploited" in reply.why
    assert gate.ask("HEAD", "/v2/team/app/manifests/bad", token).status == 403
    assert gate.ask("GET", f"/v2/team/app/manifests/{BAD.digest}", token, Range="bytes=0-50").status == 403
    assert gate.ask("GET", "/v2/team/app/manifests/both", token).status == 200  # an index runs nowhere
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(BAD)}", token).status == 403
    config = str(json.loads(BAD.manifest)["config"]["digest"])
    assert gate.ask("GET", f"/v2/team/app/blobs/{config}", token).status == 403
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(BAD)}", token, Range="bytes=0-10").status == 403
    denied = [line for line in gate.ledger("decision") if line.point == "registry" and line.decision == "deny"]
    assert any(BAD.digest in line.reason for line in denied)


def test_a_grant_lets_one_image_go_to_one_person(gate: Gated) -> None:
    """The refusal has the command; with the grant its holder alone gets the image, on record, and no use is taken."""
    refused = gate.ask("GET", "/v2/team/app/manifests/bad", _token(gate, "alice"))
    assert f"pratique grant request --privilege run.image:{NAME}/team/app@{BAD.digest}" in refused.why
    grant = gate.grant(f"run.image:{NAME}/team/app@{BAD.digest}", "alice", uses=1)
    for path in (f"manifests/{BAD.digest}", "manifests/bad", f"blobs/{_layer(BAD)}"):
        assert gate.ask("GET", f"/v2/team/app/{path}", _token(gate, "alice")).status == 200
        assert gate.ask("GET", f"/v2/team/app/{path}", _token(gate, "bob")).status == 403
    said = [line for line in gate.ledger("decision") if line.grant == grant.id]
    assert {line.decision for line in said} == {"allow_with_grant"}
    assert gate.ledger("use")[-1].grant != grant.id
    gate.revoke(grant)
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(BAD)}", _token(gate, "alice")).status == 403


def test_a_layer_of_both_is_had_for_the_sake_of_the_one_that_may(gate: Gated, tmp_path: Path) -> None:
    """A layer is refused only where every image that needs it is."""
    layer = imagebuilder.layer({"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "srv/own": "something of its own"})
    harmless = imagebuilder.layer({"var/lib/dpkg/status": _status("harmless", "1.0")})
    exploited = imagebuilder.layer({"var/lib/dpkg/status": _status("glibc", "2.36-9")})
    good, bad = imagebuilder.image([layer, harmless]), imagebuilder.image([layer, exploited])
    token = gate.token("alice", "repository:team/app:pull,push")
    gate.push("team/app", bad, "with-bad", token)
    gate.ask("GET", "/v2/team/app/manifests/with-bad", token)
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(bad)}", token).status == 403
    gate.push("team/app", good, "with-good", gate.token("alice", "repository:team/app:pull,push"))
    assert gate.ask("GET", "/v2/team/app/manifests/with-good", token).status == 200
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(bad)}", token).status == 200


def test_a_crowd_pulls_one_stranger(gate: Gated) -> None:
    """Forty clients that ask at once for an image that nobody has scanned share one scan, and each gets it whole."""
    image = package("7", "crowded")
    token = gate.token("alice", "repository:team/app:pull,push")
    assert gate.push("team/app", image, "crowd", token).status == 201

    def pull(_: int) -> tuple[int, int]:
        manifest = gate.ask("GET", "/v2/team/app/manifests/crowd", token)
        return manifest.status, gate.ask("GET", f"/v2/team/app/blobs/{_layer(image)}", token).status

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(pull, range(40))) == {(200, 200)}
    assert [line.detail["digest"] for line in gate.ledger("verdict")].count(image.digest) == 1


def test_a_blob_that_no_manifest_needs_is_not_there(gate: Gated) -> None:
    """What was uploaded and never named by a manifest is not given out."""
    token = gate.token("alice", "repository:team/app:pull,push")
    blob = b"a parcel left at the door"
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    assert gate.ask("PUT", f"{at}&digest={digest(blob)}", token, blob).status == 201
    assert gate.ask("GET", f"/v2/team/app/blobs/{digest(blob)}", token).code == "BLOB_UNKNOWN"


def test_a_tag_that_moves_gives_out_what_was_judged(gate: Gated) -> None:
    """Each answer holds the very bytes that were judged: a moved tag is judged anew."""
    token = gate.token("alice", "repository:team/app:pull,push")
    for image, status in ((GOOD, 200), (BAD, 403), (GOOD, 200)):
        gate.ask("PUT", "/v2/team/app/manifests/moving", token, image.manifest, Content_Type=image.media_type)
        assert gate.ask("GET", "/v2/team/app/manifests/moving", token).status == status
        token = gate.token("alice", "repository:team/app:pull,push")


def test_what_runs_nowhere_needs_no_verdict(gate: Gated) -> None:
    """A signature or an SBOM is an artifact; a manifest that calls itself one and has an image's layers is an image."""
    token = gate.token("alice", "repository:team/app:pull,push")
    blob = b"{}"
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    gate.ask("PUT", f"{at}&digest={digest(blob)}", token, blob)
    entry = {"mediaType": "application/vnd.example.thing", "digest": digest(blob), "size": 2}
    for layer, status in (("application/vnd.example.thing", 200), ("application/vnd.oci.image.layer.v1.tar", 403)):
        body = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": entry,
            "layers": [{**entry, "mediaType": layer}],
        }  # fmt: skip
        kind = "application/vnd.oci.image.manifest.v1+json"
        put = gate.ask("PUT", "/v2/team/app/manifests/thing", token, json.dumps(body).encode(), Content_Type=kind)
        assert put.status == 201
        assert gate.ask("GET", "/v2/team/app/manifests/thing", token).status == status
        token = gate.token("alice", "repository:team/app:pull,push")


def test_an_artifact_sets_no_layer_of_an_image_free(gate: Gated) -> None:
    """Whoever may push names a denied image's layer in an artifact: it is had no more than before."""
    token = gate.token("alice", "repository:team/app:pull,push")
    reader = _token(gate)
    gate.ask("GET", "/v2/team/app/manifests/bad", reader)
    entry = {"mediaType": "application/vnd.example.thing", "digest": _layer(BAD), "size": 1}
    kind = "application/vnd.oci.image.manifest.v1+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": entry, "layers": [entry]}).encode()
    assert gate.ask("PUT", "/v2/team/app/manifests/parcel", token, body, Content_Type=kind).status in (201, 400)
    gate.ask("GET", "/v2/team/app/manifests/parcel", reader)
    assert gate.ask("GET", f"/v2/team/app/blobs/{_layer(BAD)}", reader).status == 403


@pytest.mark.parametrize(
    ("who", "repository", "status"),
    [
        ("bob", "team/app", 200), ("eve", "team/app", 403), ("", "team/app", 401), ("bob", "secret/app", 403),
        ("alice", "secret/app", 200), ("", "open/app", 200), ("eve", "open/app", 200), ("bob", "team", 403),
    ],
)  # fmt: skip
def test_who_may_read(gate: Gated, who: str, repository: str, status: int) -> None:
    """Readers by group, by name, and anybody at all; the rest is refused, or told to sign in."""
    assert gate.ask("GET", f"/v2/{repository}/manifests/good", _token(gate, who, repository)).status == status
    assert gate.ask("GET", f"/v2/{repository}/tags/list", _token(gate, who, repository)).status == status


def test_the_catalog_is_for_those_who_are_named(gate: Gated) -> None:
    """All names at once tell what there is."""
    for who, status in (("bob", 200), ("alice", 403)):
        assert gate.ask("GET", "/v2/_catalog", gate.token(who, "registry:catalog:*")).status == status


def test_scans_are_the_gates_own_and_are_on_record(gate: Gated) -> None:
    """Each verdict is an entry of the ledger, and the name of the gate's reader is nobody's."""
    verdicts = {line.detail["digest"]: line.decision for line in gate.ledger("verdict")}
    assert verdicts[GOOD.digest] == "allow"
    assert verdicts[BAD.digest] == "deny"
    for secret in ("", "x", "pqr_robot-secret-of-the-tests"):
        assert gate.login("@scanner", "repository:team/app:pull", secret=secret or "none").status == 401


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize(("tag", "code"), [("good", 0), ("bad", 1)])
def test_skopeo(gate: Gated, tmp_path: Path, tag: str, code: int) -> None:
    """A real client gets what may be had, and shows the reason where it may not."""
    command = ["skopeo", "copy", "--src-tls-verify=false", "--src-creds", "bob:secret-b", f"docker://{gate.host}/team/app:{tag}"]
    done = subprocess.run([*command, f"dir:{tmp_path / 'out'}"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert code == 0 or "known to be exploited" in done.stderr


@pytest.mark.needs("skopeo")
def test_skopeo_pushes_and_deletes(gate: Gated, tmp_path: Path) -> None:
    """Push, inspect, copy between repositories, delete: with a client that people use."""
    archive = tmp_path / "image.tar"
    archive.write_bytes(imagebuilder.docker_archive([imagebuilder.layer({"etc/hello": "world"})]))
    place = f"docker://{gate.host}/team/skopeo"
    with_login = ["--dest-tls-verify=false", "--dest-creds", "alice:secret-a"]
    refused = _run("skopeo", "copy", *with_login, f"docker-archive:{archive}", f"{place}:1")
    assert refused.returncode == 1
    assert f"registry.push:{NAME}/team/skopeo" in refused.stderr
    gate.grant("push:team/skopeo")
    gate.grant("push:team/skopeo2")
    done = _run("skopeo", "copy", *with_login, f"docker-archive:{archive}", f"{place}:1")
    assert done.returncode == 0, done.stderr
    more = ["--src-tls-verify=false", "--src-creds", "alice:secret-a"]
    # nothing is found in this image, so that its verdict is "unknown": who pushed it may not pull it either
    done = _run("skopeo", "copy", *more, *with_login, f"{place}:1", f"{place}2:1")
    assert done.returncode == 1
    assert "nobody could tell" in done.stderr
    gate.grant("delete:team/skopeo", uses=1)
    done = _run("skopeo", "delete", "--tls-verify=false", "--creds", "alice:secret-a", f"{place}:1")
    assert done.returncode == 0, done.stderr
    assert gate.ask("HEAD", "/v2/team/skopeo/manifests/1", _token(gate, "alice", "team/skopeo")).status == 404


@pytest.mark.needs("skopeo")
def test_skopeo_without_an_account(gate: Gated) -> None:
    """What anybody may read is read without signing in; the rest is not."""
    for repository, code in (("open/app", 0), ("team/app", 1)):
        done = _run("skopeo", "inspect", "--raw", "--no-creds", "--tls-verify=false", f"docker://{gate.host}/{repository}:good")
        assert done.returncode == code, done.stderr


@pytest.mark.needs("podman")
def test_podman(gate: Gated, tmp_path: Path) -> None:
    """Podman pulls what may be had, shows why not, and pushes by a grant."""
    storage = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    login = ["--tls-verify=false", "--creds"]
    done = _run("podman", *storage, "pull", *login, "bob:secret-b", f"{gate.host}/team/app:bad")
    assert done.returncode != 0
    assert "known to be exploited" in done.stderr
    done = _run("podman", *storage, "pull", *login, "bob:secret-b", f"{gate.host}/team/app:good")
    assert done.returncode == 0, done.stderr
    gate.grant("push:team/podman")
    done = _run("podman", *storage, "push", *login, "alice:secret-a", f"{gate.host}/team/app:good", f"{gate.host}/team/podman:1")
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("skopeo")
def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate the gate speaks TLS; a client that does not know it stays away; one that is renewed is taken."""
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    certificate, key = _certificate(tmp_path)
    with gated(tmp_path / "gate", certificate=certificate, key=key) as gate:
        trust = tmp_path / "trust"
        trust.mkdir()
        (trust / "ca.crt").write_bytes(certificate.read_bytes())
        place = f"docker://{gate.host}/team/app:1"
        login = ["--creds", "bob:secret-b"]
        assert "certificate" in _run("skopeo", "inspect", *login, place).stderr
        known = _run("skopeo", "inspect", "--cert-dir", str(trust), *login, place)
        assert "manifest unknown" in known.stderr.lower() or "not found" in known.stderr.lower(), known.stderr
        wrong = _run("skopeo", "inspect", "--cert-dir", str(trust), "--creds", "bob:wrong", place)
        assert "wrong name or password" in wrong.stderr or "unauthorized" in wrong.stderr.lower()
        assert b"HTTP" not in gate.raw(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")  # plain HTTP to a port of TLS
        before = ssl.get_server_certificate(gate.address)
        certificate.write_text("half of")
        time.sleep(0.3)
        assert ssl.get_server_certificate(gate.address) == before
        _certificate(tmp_path)
        until = time.monotonic() + 60
        while ssl.get_server_certificate(gate.address) == before and time.monotonic() < until:
            time.sleep(0.1)
        assert ssl.get_server_certificate(gate.address) == certificate.read_text() != before


def _certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gate of the tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    certificate, key = folder / "gate.pem", folder / "gate.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


def test_admission_files_are_read_and_checked(tmp_path: Path) -> None:
    """What would refuse nothing, and tags that are exempt, are mistakes with a line."""
    head = "apiVersion: pratique/v1\nkind: Admission\nmetadata: {name: here}\nspec:\n"
    path = tmp_path / "admission.yaml"
    for body, said in (
        ("  unknown: deny\n", "nothing is ever refused"),
        ("  failOn: [kev]\n  exempt: ['reg.example/app:1']\n", "is no digest"),
        ("  failOn: [kev]\n  stale: {then: perhaps}\n", "then is 'perhaps'"),
    ):
        path.write_text(head + body)
        with pytest.raises(Exception, match=said):
            load_admission(path)


def _status(name: str, version: str) -> str:
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
