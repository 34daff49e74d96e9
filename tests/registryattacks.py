"""Attempts on a registry as data in; whether they do their harm, without a gate and behind one, out.

`tests/enforce/attacks/registry/*.toml`. All steps but the last must come out as they say on both sides; the last is the attempt.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import json
import re
import socket
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import imagebuilder
from laxregistry import Check, Lax, listening
from pratique.enforce.registry.gate import UPSTREAM
from pratique.enforce.registry.tokens import Access, Tokens, load_signer
from pratique.model.privilege import Grant
from pratique.store.line import Line
from registrygate import NAME, PASSWORDS, Gated, Reply, digest, package, running

FOLDER = Path(__file__).parent / "enforce" / "attacks" / "registry"
GOOD, BAD, SECRET = package("99.0", "harmless"), package(), package("1.0", "nobody-else-knows")
_TYPES = (imagebuilder.OCI_MANIFEST, imagebuilder.OCI_INDEX, imagebuilder.DOCKER_MANIFEST, imagebuilder.DOCKER_LIST)
_ACCEPT = ", ".join((*_TYPES, "*/*"))


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """One thing that somebody does: a request, a login whose token is kept, a grant, its end, or what was there before."""

    ask: str = ""
    body: str = ""
    type: str = imagebuilder.OCI_MANIFEST
    headers: dict[str, str] = {}
    authorization: str = ""
    forged: str = ""
    token: str = ""
    who: str = msgspec.field(default="eve", name="as")
    scopes: list[str] = []
    keep: str = ""  # the answer's location, for @name@ in later steps
    must: list[int] = []
    login: str = ""
    query: str = ""  # of a login, instead of scopes
    grant: str = ""
    revoke: bool = False
    seed: str = ""
    push: str = ""  # all of a bundle, by hand
    tag: str = "x"
    repository: str = "@repo@"


class Effect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shows that it worked: bytes that are given out, a status, words, or what the registry then has or has not."""

    gives: str = ""
    status: list[int] = []
    says: str = ""
    has: str = ""
    gone: str = ""


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the gate answers, and whether the ledger has it."""

    status: list[int] = msgspec.field(default_factory=lambda: [403])
    says: str = ""
    recorded: bool = True


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`missing` is the check that the stand-in forgets, "" where it works on the registry itself.

    `only_gated` says why there is nothing to show without a gate.
    """

    name: str
    what: str
    step: list[Step]
    effect: Effect = Effect()
    refused: Refused = Refused()
    missing: Check = ""
    only_gated: str = ""
    family: str = ""


def load() -> list[Attack]:
    """Return all attempts."""
    documents = [tomllib.loads(path.read_text()) for path in sorted(FOLDER.glob("*.toml"))]
    return [msgspec.convert(one | {"family": document["family"]}, Attack) for document in documents for one in document["attack"]]


OPERATIONS = Path(__file__).parent / "enforce" / "benign" / "registry"


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people do all day, and what their clients see of it: the same with a gate and without."""

    name: str
    step: list[Step]
    effect: Effect = Effect()


def operations() -> list[Operation]:
    """Return all operations."""
    documents = [tomllib.loads(path.read_text()) for path in sorted(OPERATIONS.glob("*.toml"))]
    return [msgspec.convert(one, Operation) for document in documents for one in document["operation"]]


def layer_of(image: imagebuilder.Image) -> str:
    """Return the digest of an image's layer."""
    return str(json.loads(image.manifest)["layers"][0]["digest"])


def _disguised(kind: str, **more: Any) -> bytes:
    """Return BAD as a manifest that does not look like an image's."""
    found = json.loads(BAD.manifest)
    found["config"]["mediaType"] = kind
    for layer in found["layers"]:
        layer["mediaType"] = "application/octet-stream"
    return imagebuilder.encode({**found, **more})


def _whole() -> bytes:
    found = json.loads(BAD.manifest)
    for one in (found["config"], *found["layers"]):
        one["data"] = base64.b64encode(BAD.blobs[one["digest"]]).decode()
    return imagebuilder.encode(found)


def _embedded() -> bytes:
    """Return an index that carries BAD's manifest, and that one its blobs, so that nothing is left to be asked for."""
    manifest = _whole()
    descriptor = {"mediaType": BAD.media_type, "digest": digest(manifest), "size": len(manifest)}
    return imagebuilder.index([{**descriptor, "data": base64.b64encode(manifest).decode()}])


# BAD once more as Docker would have pushed it, of the same blobs.
_DOCKER = imagebuilder.image(BAD.diffs, docker=True)


def _with_subject() -> bytes:
    return imagebuilder.encode({**json.loads(BAD.manifest), "subject": GOOD.descriptor()})


# What can be put into a registry: its bytes by name. Types are in the documents, but for Docker's.
BODIES: dict[str, bytes] = {
    "good": GOOD.manifest, "bad": BAD.manifest, "secret": SECRET.manifest,
    "secret.layer.data": SECRET.blobs[layer_of(SECRET)], "bad.layer.data": BAD.blobs[layer_of(BAD)],
    "bad.config.data": BAD.config,
    "both": imagebuilder.index([GOOD.descriptor(), BAD.descriptor()]), "embedded": _embedded(), "embedded-child": _whole(),
    "octets": _disguised("application/octet-stream"), "json": _disguised("application/json"), "html": _disguised("text/html"),
    "untyped": _disguised(""), "called-chart": _disguised("application/vnd.cncf.helm.config.v1+json"),
    "called-signature": _disguised("application/vnd.dev.cosign.simplesigning.v1+json"),
    "wasm": _disguised("application/vnd.wasm.config.v0+json"),
    "sif": _disguised("application/vnd.sylabs.sif.config.v1+json"),
    "docker-other": _disguised("application/vnd.example.v1+json", mediaType=imagebuilder.DOCKER_MANIFEST),
    "named-artifact": imagebuilder.encode({**json.loads(BAD.manifest), "artifactType": "application/vnd.example"}),
    "with-subject": _with_subject(), "respelled": BAD.manifest + b" ",
    "capitals": _disguised("Application/VND.OCI.Image.Config.V1+JSON"),
    "parameter": _disguised("application/vnd.oci.image.config.v1+json; charset=utf-8"),
    "docker-bad": _DOCKER.manifest, "docker-list": imagebuilder.index([_DOCKER.descriptor()], docker=True),
    "keys-twice": BAD.manifest.replace(b'"layers":', b'"layers":[],"layers":', 1),
    "other-case": BAD.manifest.replace(b'"config"', b'"Config":{},"config"', 1),
    "long-s": BAD.manifest.replace(b'"layers"', '"layer\u017f"'.encode(), 1),
}  # fmt: skip
WORDS = {
    "good": GOOD.digest, "bad": BAD.digest, "secret": SECRET.digest, "good.layer": layer_of(GOOD), "bad.layer": layer_of(BAD),
    "secret.layer": layer_of(SECRET), "bad.config": digest(BAD.config), "reg": NAME,
    "secret.as-sha512": "sha512:" + "a" * 128, "eve.basic": base64.b64encode(b"eve:secret-e").decode(),
    "alice.guessed": base64.b64encode(b"alice:guessed").decode(), "long": "a/" * 200,
    "hundred": "&".join(f"scope=repository:team/a{number}:pull" for number in range(100)), "seven-thousand": "a" * 7000,
    "token.basic": base64.b64encode(b"<token>:x.y.z").decode(),
}  # fmt: skip


class Bundle(NamedTuple):
    """What is pushed together."""

    manifest: bytes
    blobs: tuple[bytes, ...] = ()


def _bundle(config: tuple[str, bytes], *layers: tuple[str, bytes], **more: Any) -> Bundle:
    described = [{"mediaType": kind, "digest": digest(data), "size": len(data)} for kind, data in (config, *layers)]
    whole = {"schemaVersion": 2, "mediaType": imagebuilder.OCI_MANIFEST, "config": described[0], "layers": described[1:], **more}
    return Bundle(imagebuilder.encode(whole), (config[1], *(data for _, data in layers)))


_SIGNED = b'{"critical":{"identity":{"docker-reference":"reg"},"image":{"docker-manifest-digest":"x"},"type":"cosign"}}'
_STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[]}'
_NO_IMAGE = imagebuilder.encode(imagebuilder.configuration([]))  # what signers and BuildKit write, with types of images
# Artifacts as the tools that make them write them; images.
BUNDLES: dict[str, Bundle] = {
    "chart": _bundle(
        ("application/vnd.cncf.helm.config.v1+json", b'{"name":"shop","version":"1.0.0"}'),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", imagebuilder.compress(b"chart", "gzip")),
    ),
    "signature": _bundle((imagebuilder.OCI_CONFIG, _NO_IMAGE), ("application/vnd.dev.cosign.simplesigning.v1+json", _SIGNED)),
    "provenance": _bundle((imagebuilder.OCI_CONFIG, _NO_IMAGE), ("application/vnd.in-toto+json", _STATEMENT * 20)),
    "sbom": _bundle(
        ("application/vnd.oci.empty.v1+json", b"{}"), ("application/vnd.cyclonedx+json", b'{"bomFormat":"CycloneDX"}'),
        artifactType="application/vnd.cyclonedx+json", subject=GOOD.descriptor(),
    ),
    "policy": _bundle(("application/vnd.unknown.config.v1+json", b"{}"), ("text/plain", b"package a")),
    "good": Bundle(GOOD.manifest, (GOOD.config, GOOD.blobs[layer_of(GOOD)])),
    "bad": Bundle(BAD.manifest, (BAD.config, BAD.blobs[layer_of(BAD)])),
    # BAD's layers called those of a signature: what an engine unpacks all the same.
    "false-signature": _bundle(
        (imagebuilder.OCI_CONFIG, BAD.config), ("application/vnd.dev.cosign.simplesigning.v1+json", BAD.blobs[layer_of(BAD)])
    ),
    "false-statement": _bundle((imagebuilder.OCI_CONFIG, BAD.config), ("application/vnd.in-toto+json", BAD.diffs[0])),
}  # fmt: skip


WORDS |= {f"{name}.layer": digest(bundle.blobs[1]) for name, bundle in BUNDLES.items() if name not in ("good", "bad")}
WORDS["abcdef"] = digest(b"abcdef")


class Side:
    """A registry, asked at `address`; `upstream` is where its operator asks it."""

    def __init__(self, gated: Gated, address: tuple[str, int], upstream: tuple[str, int], *, kind: str) -> None:
        self.gated, self.address, self.upstream, self.kind = gated, address, upstream, kind
        self.lax: Lax | None = None
        self._signer = load_signer(gated.place.folder / "gate" / "registry")

    def operate(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Reply:
        """Ask the registry itself, as who keeps it."""
        repository = re.sub(r"/(?:manifests|blobs)/.*", "", path.removeprefix("/v2/"))
        access = (Access("repository", repository, ("pull", "push", "delete")),)
        token = Tokens(self._signer, UPSTREAM).issue("operator", access, 60)[0]
        more = {"Content_Type": kind} if kind else {}
        return self.gated.ask_at(self.upstream, method, path, token, body or None, **more)

    def put(self, repository: str, image: imagebuilder.Image, tag: str) -> None:
        """Have an image there."""
        for name, data in image.blobs.items():
            if name == image.digest or self.operate("HEAD", f"/v2/{repository}/blobs/{name}").status == 200:
                continue
            at = _here(self.operate("POST", f"/v2/{repository}/blobs/uploads/").headers["location"])
            assert self.operate("PUT", f"{at}&digest={name}", data).status == 201
        self.put_manifest(repository, image.manifest, image.media_type, tag)

    def put_manifest(self, repository: str, body: bytes, kind: str, tag: str) -> None:
        reply = self.operate("PUT", f"/v2/{repository}/manifests/{tag}", body, kind)
        assert reply.status == 201, reply

    def token(self, who: str, scopes: list[str]) -> str:
        """Return what somebody gets from the token service there, if there is one."""
        if self.kind == "gated":
            return self.gated.token(who, *scopes) if who else ""
        return self.lax.token(who, scopes) if self.lax is not None else ""


class Attempt:
    """One attempt on one side."""

    def __init__(self, attack: Attack | Operation, side: Side) -> None:
        self.attack, self.side = attack, side
        self.words = {**WORDS, "repo": f"team/{attack.name}", "host": "%s:%d" % side.address}  # noqa: UP031 - a pair
        self.tokens: dict[str, str] = {}
        self.grants: list[Grant] = []

    def run(self) -> Reply:
        """Do all steps; return the last answer."""
        if "@repo@" in msgspec.json.encode(self.attack).decode():
            for image, tag in ((GOOD, "1"), (BAD, "bad")):
                self.side.put(self.words["repo"], image, tag)
        reply = Reply(0, {}, b"")
        for step in self.attack.step:
            reply = self._do(step, reply)
            if step.must:
                assert reply.status in step.must, (step, reply)
        return reply

    def worked(self, reply: Reply) -> bool:
        """Say whether it did its harm."""
        effect = self.attack.effect
        if effect.gives:
            wanted = BODIES[effect.gives] if effect.gives in BODIES else BUNDLES[effect.gives].manifest
            return wanted in reply.body
        if effect.has or effect.gone:
            path = f"/v2/{self.words['repo']}/{self._filled(effect.has or effect.gone)}"
            return self.side.operate("GET", path).status == (200 if effect.has else 404)
        right = not effect.status or reply.status in effect.status
        return right and (not effect.says or re.search(self._filled(effect.says), reply.body.decode("latin-1")) is not None)

    def _do(self, step: Step, before: Reply) -> Reply:
        if step.grant and self.side.kind == "gated":
            self.grants.append(self.side.gated.grant(self._filled(step.grant), step.who))
        elif step.revoke and self.side.kind == "gated":
            self.side.gated.revoke(self.grants[-1])
        elif step.seed:
            kind = str(json.loads(BODIES[step.seed])["mediaType"])
            self.side.put_manifest(self._filled(step.repository), BODIES[step.seed], kind, step.tag)
        elif step.push:
            return self._push(step)
        elif step.login and step.query:
            path = f"/token?{self._filled(step.query)}"
            basic = "Basic " + base64.b64encode(f"{step.who}:{PASSWORDS[step.who]}".encode()).decode()
            reply = self.side.gated.ask_at(self.side.address, "GET", path, basic)
            self.tokens[step.login] = str(reply.json.get("token", "")) if reply.status == 200 else ""
            return reply
        elif step.login:
            self.tokens[step.login] = self.side.token(step.who, [self._filled(one) for one in step.scopes])
        elif step.ask:
            return self._ask(step)
        return before

    def _push(self, step: Step) -> Reply:
        """Push what a bundle has, as clients do; return the last answer, or the first that is none of success."""
        bundle, repository = BUNDLES[step.push], self._filled(step.repository)
        headers = {"Accept": _ACCEPT}
        if token := self.side.token(step.who, [f"repository:{repository}:pull,push"]):
            headers["Authorization"] = f"Bearer {token}"
        for blob in bundle.blobs:
            begun = send(self.side.address, "POST", f"/v2/{repository}/blobs/uploads/", b"", headers)
            if begun.status != 202:
                return begun
            at = f"{_here(begun.headers['location'])}&digest={digest(blob)}"
            ended = send(self.side.address, "PUT", at, blob, {**headers, "Content-Type": "application/octet-stream"})
            if ended.status != 201:
                return ended
        return send(
            self.side.address, "PUT", f"/v2/{repository}/manifests/{step.tag}", bundle.manifest,
            {**headers, "Content-Type": str(json.loads(bundle.manifest)["mediaType"])},
        )  # fmt: skip

    def _ask(self, step: Step) -> Reply:
        method, _, target = self._filled(step.ask).partition(" ")
        shown = self._filled(step.authorization)
        if not shown:
            if step.forged:
                token = FORGED[step.forged](self.side)
            elif step.token:
                token = self.tokens[step.token]
            else:
                scopes = step.scopes or ["repository:team/app:pull"]
                token = self.side.token(step.who, [self._filled(one) for one in scopes])
            shown = token if " " in token else f"Bearer {token}"
        body = BODIES[step.body[1:]] if step.body.startswith("=") else self._filled(step.body).encode()
        headers = {"Accept": _ACCEPT, **{name: self._filled(value) for name, value in step.headers.items()}}
        if shown.strip() != "Bearer":
            headers["Authorization"] = shown
        if step.body:
            headers.setdefault("Content-Type", step.type)
        reply = send(self.side.address, method, target, body, headers)
        for _ in range(4):  # as clients do
            if reply.status not in (301, 302, 307, 308):
                break
            target = _here(reply.headers["location"])
            reply = send(self.side.address, method, target, body, headers)
        if step.keep:
            self.words[step.keep] = _here(reply.headers.get("location", "/none?x"))
            self.words[step.keep + ".path"] = self.words[step.keep].partition("?")[0]
            self.words[step.keep + ".state"] = self.words[step.keep].partition("?")[2]
            self.words[step.keep + ".id"] = self.words[step.keep + ".path"].rpartition("/")[2]
        return reply

    def _filled(self, text: str) -> str:
        return re.sub(r"@([a-z][a-z0-9.-]*)@", lambda found: self.words.get(found[1], found[0]), text)


def _here(location: str) -> str:
    """Return an address without its host."""
    return re.sub(r"^https?://[^/]+", "", location)


def send(address: tuple[str, int], method: str, target: str, body: bytes, headers: dict[str, str]) -> Reply:
    """Send a request with its target as it is; an answer that is none is status 0."""
    lines = [f"{method} {target} HTTP/1.1", *([] if "Host" in headers else ["Host: %s:%d" % address])]  # noqa: UP031 - a pair
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not {"Content-Length", "Transfer-Encoding"} & headers.keys():
        lines.append(f"Content-Length: {len(body)}")
    with socket.create_connection(address, timeout=60) as line:
        line.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        answer = http.client.HTTPResponse(line, method=method)
        try:
            answer.begin()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (http.client.HTTPException, OSError):
            return Reply(0, {}, b"")


# -- tokens that nobody gave ----------------------------------------------------------------------------------------------------


def _part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_SECRET = (Access("repository", "secret/app", ("pull", "push", "delete")),)


def _claims(**more: object) -> dict[str, object]:
    now = int(time.time())
    access = [{"type": "repository", "name": "secret/app", "actions": ["pull", "push", "delete"]}]
    return {
        "iss": "pratique", "sub": "alice", "aud": NAME, "exp": now + 60, "nbf": now, "iat": now, "jti": "x", "access": access,
        **more,
    }  # fmt: skip


def _own(side: Side) -> Path:
    return side.gated.place.folder / "gate" / "registry"


def _signed_by(side: Side, header: dict[str, object], claims: dict[str, object]) -> str:
    """Sign with a key that the attacker made, whatever the header says."""
    other = load_signer(side.gated.place.folder / "other")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    signed = f"{_part(header)}.{_part(claims)}"
    r, s = decode_dss_signature(other.private.sign(signed.encode(), ECDSA(hashes.SHA256())))
    return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _by_hmac(side: Side) -> str:
    secret = (_own(side) / "token.crt").read_bytes()
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(_claims())}"
    return f"{signed}.{_part(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _issued(side: Side, name: str = "alice", audience: str = NAME, seconds: float = 60, shift: float = 0) -> str:
    return Tokens(load_signer(_own(side)), audience).issue(name, _SECRET, seconds, time.time() + shift)[0]


def _exchanged(side: Side) -> str:
    head, _, signature = Tokens(load_signer(_own(side)), NAME).issue("eve", (), 60)[0].split(".")
    return f"{head}.{_part(_claims())}.{signature}"


_TWO = b'{"alg":"ES256","alg":"none"}'
FORGED: dict[str, Callable[[Side], str]] = {
    "none": lambda _: f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(_claims())}.",
    "none-in-capitals": lambda _: f"{_part({'alg': 'NoNe'})}.{_part(_claims())}.{_part(b'x')}",
    "hmac": _by_hmac,
    "own-certificate": lambda side: Tokens(load_signer(side.gated.place.folder / "other"), NAME).issue("alice", _SECRET, 60)[0],
    "kid": lambda side: _signed_by(side, {"alg": "ES256", "kid": "../../../../dev/null"}, _claims()),
    "jku": lambda side: _signed_by(side, {"alg": "ES256", "jku": "http://127.0.0.1:1/keys"}, _claims()),
    "jwk": lambda side: _signed_by(side, {"alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": "", "y": ""}}, _claims()),
    "critical": lambda side: _signed_by(side, {"alg": "ES256", "crit": ["exp"], "exp": 0}, _claims()),
    "two-algorithms": lambda _: f"{_part(_TWO)}.{_part(_claims())}.",
    "zeros": lambda _: f"{_part({'alg': 'ES256'})}.{_part(_claims())}.{_part(bytes(64))}",
    "exchanged": _exchanged,
    "for-the-registry": lambda side: _issued(side, audience=UPSTREAM),
    "refresh": lambda side: _issued(side, audience=f"{NAME}/refresh"),
    "expired": lambda side: _issued(side, shift=-61),
    "of-tomorrow": lambda side: _issued(side, shift=86_400, seconds=90_000),
    "of-nobody": lambda side: _issued(side, name="mallory"),
    "of-the-scanner": lambda side: _issued(side, name="@scanner"),
    "of-eve": lambda side: _issued(side, name="eve"),
    "two-in-one": lambda side: f"Bearer x, Bearer {_issued(side)}",
}


# -- both sides -----------------------------------------------------------------------------------------------------------------


class Sides:
    """The registry behind the gate, another one that nobody guards, and a stand-in of a gate before that."""

    def __init__(self, gated: Gated, bare: tuple[str, int], lax: Lax) -> None:
        self.held = Side(gated, gated.address, gated.upstream, kind="gated")
        self.bare = Side(gated, bare, bare, kind="bare")
        self.lax = Side(gated, lax.address, bare, kind="lax")
        self.lax.lax = lax

    def free(self, attack: Attack) -> Side:
        """Return where an attempt is shown to work."""
        assert self.lax.lax is not None
        self.lax.lax.missing = attack.missing
        return self.lax if attack.missing else self.bare


@contextlib.contextmanager
def both(gated: Gated, folder: Path) -> Iterator[Sides]:
    """Run a bare registry, and the stand-in before it, beside a gated one; have the same images in both."""
    folder.mkdir(exist_ok=True)

    told = (
        "http: {addr: '127.0.0.1:0'}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}, delete: {{enabled: true}}}}\n"
    )

    def may_read(who: str, repository: str) -> bool:
        return repository.startswith("team/") or who == "alice"

    with running(folder, told) as (_, bare):
        lax = Lax(bare, gated.place.folder / "gate" / "registry", NAME, PASSWORDS, may_read)
        with listening(lax):
            found = Sides(gated, bare, lax)
            for side in (found.held, found.bare):
                side.put("secret/app", SECRET, "1")
                for image, tag in ((GOOD, "1"), (BAD, "bad")):
                    side.put("team/app", image, tag)
                side.put_manifest("team/app", BODIES["both"], imagebuilder.OCI_INDEX, "both")
            yield found


def denials(gated: Gated) -> list[Line]:
    """Return the denials that the ledger has."""
    return [line for line in gated.ledger() if line.decision == "deny"]


__all__ = ["Attack", "Attempt", "Sides", "both", "denials", "load"]
