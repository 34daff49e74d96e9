"""A real docker-registry with the gate before it, on loopback, in this process; and clients that speak its protocol by hand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import imagebuilder
from pratique.enforce.admission import AdmissionSpec
from pratique.enforce.registry.access import AccessSpec
from pratique.enforce.registry.accounts import scrypt_hash, secret_hash
from pratique.enforce.registry.gate import RegistryGate, Settings, configuration
from pratique.grant.lifecycle import Revoke
from pratique.granting.desk import Desk
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.line import Line
from pratique.store.place import Place, open_place
from pratique.store.reading import Filter, lines

NAME = "reg.example"
PASSWORDS = {"alice": "secret-a", "bob": "secret-b", "eve": "secret-e"}
ROBOT_SECRET = "pqr_robot-secret-of-the-tests"
POLICY = f"""
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: registry}}
spec:
  entitlements:
  - {{id: push, privileges: ["registry.push:{NAME}/**"], maxTTL: 30m, maxUses: 0, approvals: {{count: 0}}}}
  - {{id: delete, privileges: ["registry.delete:{NAME}/**"], maxTTL: 10m, maxUses: 0, approvals: {{count: 0}}}}
  - {{id: image, privileges: ["run.image:{NAME}/team/**@sha256:*"], maxTTL: 10m, maxUses: 0, approvals: {{count: 0}}}}
"""
_SUBJECTS = {"ci-1": Subject(id="ci-1", kind="robot", provider="unix", strength=2, owner="bob")}
_ACCEPT = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json,"
    " application/vnd.docker.distribution.manifest.v2+json, */*"
)
_HASHES: dict[str, str] = {}


class Reply(NamedTuple):
    """An answer: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of its first error."""
        return str(self.json["errors"][0]["code"])

    @property
    def why(self) -> str:
        return str(self.json["errors"][0]["message"])


class Gated:
    """A registry and its gate."""

    def __init__(self, place: Place, address: tuple[str, int], upstream: tuple[str, int]) -> None:
        self.place, self.address, self.upstream = place, address, upstream
        self.registry: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def grant(self, privilege: str, who: str = "alice", *, uses: int = 0, seconds: float = 600.0) -> Grant:
        """Give a privilege on a repository, `push:team/app`, or one that is written whole."""
        kind, _, repository = privilege.partition(":")
        whole = privilege if "." in kind else f"registry.{kind}:{NAME}/{repository}"
        with Desk(self.place) as desk:
            return desk.request(
                Asked(
                    subject=_SUBJECTS.get(who, Subject(id=who, provider="unix", strength=1)),
                    task=Task(id="T-1", purpose="ship it"),
                    privileges=(whole,),
                    scope=Scope(),
                    lifetime=float(seconds),
                    uses=uses,
                )
            )

    def revoke(self, grant: Grant) -> None:
        with Desk(self.place) as desk:
            desk.act(grant.id, Revoke(grant.asked.subject, "enough"))

    def ledger(self, event: str = "") -> list[Line]:
        return [line for line in lines(self.place, Filter()) if event in ("", line.event)]

    def ask(self, method: str, path: str, token: str = "", body: bytes | None = None, **more: str) -> Reply:
        """Ask the gate."""
        return self.ask_at(self.address, method, path, token, body, **more)

    def ask_at(
        self, to: tuple[str, int], method: str, path: str, token: str = "", body: bytes | None = None, **more: str
    ) -> Reply:
        """Ask an address."""
        connection = http.client.HTTPConnection(*to, timeout=60)
        try:
            headers = {"Accept": _ACCEPT, **{name.replace("_", "-"): value for name, value in more.items()}}
            if token:
                headers["Authorization"] = token if " " in token else f"Bearer {token}"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def ask_until(self, statuses: Collection[int], *words: Any) -> int:
        """Ask again and again until the answer has one of these statuses, for a minute; return the last one."""
        until = time.monotonic() + 60
        while (status := self.ask(*words).status) not in statuses and time.monotonic() < until:
            time.sleep(0.1)
        return status

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; return all that comes until the gate hangs up."""
        with socket.create_connection(self.address, timeout=10) as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            found = b""
            with contextlib.suppress(OSError):
                while part := line.recv(65536):
                    found += part
            return found

    def token(self, who: str, *scopes: str, **more: str) -> str:
        """Return a token, as far as it is given."""
        reply = self.login(who, *scopes, **more)
        assert reply.status == 200, reply.body
        return str(reply.json["token"])

    def login(self, who: str, *scopes: str, secret: str = "", **more: str) -> Reply:
        query = "&".join([f"service={NAME}", *(f"scope={scope}" for scope in scopes), *(f"{k}={v}" for k, v in more.items())])
        secret = secret or PASSWORDS.get(who, "") or ROBOT_SECRET
        authorization = "Basic " + base64.b64encode(f"{who}:{secret}".encode()).decode() if who else ""
        return self.ask("GET", f"/token?{query}", authorization)

    def push(self, repository: str, image: imagebuilder.Image, tag: str, token: str) -> Reply:
        """Push an image by hand; return the last answer, or the first that is a refusal."""
        for digest, data in image.blobs.items():
            if digest == image.digest:
                continue
            begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/", token, b"")
            if begun.status != 202:
                return begun
            at = begun.headers["location"]
            ended = self.ask("PUT", f"{at}{'&' if '?' in at else '?'}digest={digest}", token, data)
            if ended.status != 201:
                return ended
        return self.ask("PUT", f"/v2/{repository}/manifests/{tag}", token, image.manifest, Content_Type=image.media_type)


def package(version: str = "2.36-9", name: str = "glibc") -> imagebuilder.Image:
    """Return a Debian image with one package; glibc 2.36-9 has a vulnerability that is known to be exploited."""
    files = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "var/lib/dpkg/status": f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n",
    }
    return imagebuilder.image([imagebuilder.layer(files)])


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def users_file(path: Path) -> Path:
    """Write the accounts of the tests."""
    for name, password in PASSWORDS.items():
        _HASHES.setdefault(name, scrypt_hash(password))
    rows = [f"{name}:{_HASHES[name]}" + (":groups=devs" if name != "eve" else "") for name in PASSWORDS]
    path.write_text("\n".join([*rows, f"ci-1:{secret_hash(ROBOT_SECRET)}:owner=bob"]) + "\n")
    path.chmod(0o600)
    return path


_LISTENS = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


@contextlib.contextmanager
def running(folder: Path, told: str) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    """Run a docker-registry with this configuration; it takes a port that is free, and says in its log which."""
    (folder / "config.yml").write_text("version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n" + told)
    log = folder / "registry.log"
    with log.open("wb") as out:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while (found := _LISTENS.search(log.read_text(errors="replace"))) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"docker-registry does not listen: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield process, ("127.0.0.1", int(found[1]))
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gated(
    folder: Path, *, admission: AdmissionSpec | None = None, access: AccessSpec | None = None, rsa: bool = False, **more: Any
) -> Iterator[Gated]:
    """Run a registry with its gate while the block runs."""
    folder.mkdir(exist_ok=True)
    place = open_place(folder / "store")
    with Desk(place) as desk:
        desk.set_policy("policy.yaml", POLICY.encode(), Subject(id="root", provider="unix", strength=1))
    settings = Settings(
        listen=("127.0.0.1", 0), upstream=("127.0.0.1", 0), users=users_file(folder / "users"), name=NAME, admission=admission,
        access=access, rsa=rsa, **more,
    )  # fmt: skip
    told = configuration(place, settings).replace(
        "storage:\n", f"storage:\n  filesystem:\n    rootdirectory: {folder / 'registry'}\n"
    )
    with running(folder, told) as (registry, upstream), _looping() as loop:
        gate = RegistryGate(place, msgspec.structs.replace(settings, upstream=upstream))
        asyncio.run_coroutine_threadsafe(gate.start(), loop).result(30)
        found = Gated(place, ("127.0.0.1", gate.port), upstream)
        found.registry = registry
        yield found
        asyncio.run_coroutine_threadsafe(gate.close(), loop).result(30)


@contextlib.contextmanager
def _looping() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
