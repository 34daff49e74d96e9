"""Clients that speak to the engine itself over TLS, past the front socket: what the engine does not show is not let through."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import engineimages
from dockerengine import Engine, answer
from dockergate import GatedEngine

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: tests}}
spec:
  subjects: {{ids: ["tls:mallory"]}}
  baseline: {{profile: baseline}}
"""
_SECONDS = 30.0
_TRIES = 5


class Door(NamedTuple):
    """An engine's port, and what a client needs for it."""

    engine: Engine
    port: int
    context: ssl.SSLContext

    def ask(self, method: str, target: str, headers: list[str], body: bytes = b"") -> tuple[int, str]:
        """Send one request as it is written; return the status and what was said."""
        end = self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), _SECONDS), server_hostname="127.0.0.1")
        lines = [f"{method} {target} HTTP/1.1", "Host: engine", "Connection: close", *headers, "", ""]
        status, said = answer(end, "\r\n".join(lines).encode() + body)
        return status, said.decode("utf-8", "replace")


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.pem"
        made = self._builder("authority", self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def sign(self, name: str, alternative: x509.GeneralName) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(name, key).add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return certificate, private


@pytest.fixture(scope="module")
def doors(engines_folder: Path) -> Iterator[dict[str, Door]]:
    """Return the ports of an engine without a gate and of one with its plugin, which nobody comes to by the front socket."""
    folder = engines_folder / "tls"
    folder.mkdir()
    authority = Authority(folder)
    certificate, key = authority.sign("engine", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    client = authority.sign("mallory", x509.DNSName("mallory"))
    extra = [
        "--tlsverify", "--tlscacert", str(authority.file), "--tlscert", str(certificate), "--tlskey", str(key),
    ]  # fmt: skip
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(*map(str, client))
    engines: list[Engine] = []
    try:
        bare, port = _started(engines, folder / "bare", extra)
        bare.load(engineimages.archive())
        found = {"bare": Door(bare, port, context)}
        gated, port = _started(engines, folder / "gated", extra, policy=POLICY)
        found["gated"] = Door(gated, port, context)
        status, said = found["gated"].ask(
            "POST", "/images/load?quiet=1", ["Content-Type: application/x-tar", *_chunked()], _chunks(engineimages.archive())
        )
        assert status == 200, said
        yield found
    finally:
        for engine in engines:
            engine.remove()


def _started(engines: list[Engine], folder: Path, extra: list[str], policy: str = "") -> tuple[Engine, int]:
    """Start an engine on a port that nobody else has: engines cannot be told to take any."""
    for number in range(_TRIES):
        with socket.socket() as end:
            end.bind(("127.0.0.1", 0))
            port = int(end.getsockname()[1])
        words = [*extra, "-H", f"tcp://127.0.0.1:{port}"]
        place = folder / str(number)
        engine = GatedEngine(place, extra=words, policy=policy) if policy else Engine(place, extra=words)
        engines.append(engine)
        try:
            engine.start()
        except RuntimeError as error:
            if "address already in use" not in str(error):
                raise
        else:
            return engine, port
    raise RuntimeError(f"{_TRIES} ports were taken, one after another")


def _chunked() -> list[str]:
    return ["Transfer-Encoding: chunked"]


def _chunks(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


FORM, JSON, TAR, TEXT = (
    f"Content-Type: {kind}"
    for kind in ("application/x-www-form-urlencoded", "application/json", "application/x-tar", "text/plain")
)
TAG = ("POST", "/images/app:1/tag?repo=mine&tag=1")
FORMS = {
    "in-chunks-behind-text": (TAG, [FORM, TEXT], "repo=trusted&tag=1"),
    "in-chunks-behind-nothing": (TAG, [FORM, "Content-Type:"], "repo=trusted&tag=2"),
    "behind-json-with-an-upgrade": (TAG, [FORM, JSON, "Upgrade: tcp"], "repo=trusted&tag=3"),
    "behind-an-archive": (TAG, [FORM, TAR], "repo=trusted&tag=4"),
    "behind-json": (TAG, [FORM, JSON], "repo=trusted&tag=5"),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("length", ["chunked", "counted"])
def test_a_form_behind_another_type(doors: dict[str, Door], name: str, length: str) -> None:
    """The engine goes by the first of two types and shows its plugin the last: the form's parameters are those that count."""
    (method, target), kinds, form = FORMS[name]
    body = form.encode() if length == "counted" else _chunks(form.encode())
    headers = [*kinds, *(_chunked() if length == "chunked" else [f"Content-Length: {len(body)}"])]
    made = form.replace("repo=", "").replace("&tag=", ":")
    for side, door in doors.items():
        status, said = door.ask(method, target, headers, body)
        done = door.engine.look(f"/images/{made}/json") is not None
        assert done is (side == "bare"), f"{side}: {status} {said}"
        assert (status == 403) is (side == "gated"), said
        door.ask("DELETE", f"/images/{made}", [])


def test_a_pull_that_a_form_makes_another(doors: dict[str, Door]) -> None:
    """What is shown is the pull of one image, what is done is one of another."""
    form = _chunks(b"fromImage=127.0.0.1:2/other&tag=1")
    for side, door in doors.items():
        status, said = door.ask("POST", "/images/create?fromImage=127.0.0.1:1/one&tag=1", [FORM, TAR, *_chunked()], form)
        assert ("dial tcp 127.0.0.1:2" in said) is (side == "bare"), f"{status} {said}"
    assert status == 403


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "expected"),
    [
        (*TAG, ["Content-Length: 0"], b"", 201),
        (*TAG, [TEXT, "Content-Length: 0"], b"", 201),
        ("POST", "/containers/create", [JSON, "Content-Length: 33"], b'{"Image":"bb:1","User":"1000:10"}', 201),
        ("POST", "/containers/create", [JSON, *_chunked()], _chunks(b'{"Image":"bb:1","User":"1000:10"}'), 201),
        ("POST", "/containers/prune", ["Content-Length: 0"], b"", 200),
        ("DELETE", "/images/mine:1", [], b"", 200),
        ("GET", "/images/json", [], b"", 200),
        ("POST", "/build?t=x:1", [TAR, *_chunked()], b"", 200),
    ],
)
def test_what_clients_send_is_let_through(
    doors: dict[str, Door], method: str, target: str, headers: list[str], body: bytes, expected: int
) -> None:
    """A body that is shown, one that says that it is empty, an archive where one belongs."""
    if target.startswith("/build"):
        body = _chunks(_archive(b"FROM bb:1\nENV A=1\n"))
    status, said = doors["gated"].ask(method, target, headers, body)
    assert status == expected, said


@pytest.mark.parametrize(
    "line",
    [
        "docker run --rm --network none app:1 id -un",
        "echo said | docker run -i --rm --network none app:1 cat",
        "docker run -d --name tls --network none app:1 sleep 60 && docker exec tls id -un && docker exec -t tls true",
        "docker cp tls:/etc/passwd - | docker cp - tls:/tmp",
        "docker rename tls tls-2 && docker stop -t 0 tls-2 && docker start tls-2 && docker kill tls-2 && docker wait tls-2",
        "docker commit tls-2 tls:1 && docker tag tls:1 tls:2 && docker save tls:2 | docker load && docker rmi tls:1 tls:2",
        "printf 'FROM bb:1\\nENV A=1\\n' | DOCKER_BUILDKIT=0 docker build -t tls:3 - && docker rmi tls:3",
        "cd $HOME && printf 'FROM bb:1\\nENV A=1\\n' > Dockerfile && docker buildx build -t tls:4 . && docker rmi tls:4",
        "docker volume create tls && docker volume rm tls && docker rm -f tls-2 && docker container prune -f",
    ],
)
def test_the_engines_own_client(doors: dict[str, Door], line: str, tmp_path: Path) -> None:
    """Its command line says of every body that it is empty, or sends JSON or an archive."""
    folder = doors["gated"].engine.folder.parents[1]
    for name, source in (("ca.pem", "ca.pem"), ("cert.pem", "mallory.pem"), ("key.pem", "mallory.key")):
        (tmp_path / name).write_bytes((folder / source).read_bytes())
    env = {
        "DOCKER_HOST": f"tcp://127.0.0.1:{doors['gated'].port}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
        "HOME": str(tmp_path), "PATH": os.environ["PATH"],
    }  # fmt: skip
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, timeout=90, check=False)
    assert "denied" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_it_is_stands_in_the_certificate(doors: dict[str, Door]) -> None:
    door = doors["gated"]
    body = b'{"Image":"bb:1","HostConfig":{"Privileged":true}}'
    status, said = door.ask("POST", "/containers/create", [JSON, f"Content-Length: {len(body)}"], body)
    assert status == 403, said
    assert isinstance(door.engine, GatedEngine)
    who = door.engine.ledger()[-1].subject
    assert who is not None
    assert (who.provider, who.id) == ("tls", "mallory")


def _archive(dockerfile: bytes) -> bytes:
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    return made.getvalue()
