"""docker:NAME and podman:NAME in, an image out: the engine's own API by its socket, the image exported into a spool.

https://docs.docker.com/reference/api/engine/ (ImageInspect, ImageGet); Podman speaks the same. Where the id is the digest of the
configuration and that was seen before, nothing is exported until a layer is asked for.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from pratique.image.blobstore import BlobStore
from pratique.image.manifest import MAX_CONFIG, created_by, decode_config, diff_ids_of, platform_of, rank
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.outer import open_outer
from pratique.image.reference import parse_name
from pratique.image.sources.archive import open_in
from pratique.image.spool import Spool
from pratique.model.errors import IntegrityError, TargetError, TargetNotFoundError, UsageError
from pratique.model.image import Extent, ImageRef, Layer, Platform

if TYPE_CHECKING:
    import httpx2

MAX_ANSWER = 8 << 20  # an inspection holds the configuration and a little more
MAX_CONTEXT = 1 << 20
CONNECT_SECONDS = 3  # a local socket answers at once or is stuck
MAX_DIGESTS = 64  # names of one image in an engine; a person gives a handful
DIGEST_LENGTH = len("sha256:") + 64
PLATFORM_API = (1, 48)  # the first that exports one platform of several (Docker 28)


class Host(NamedTuple):
    """Where an engine listens: the path of a socket, or an address."""

    socket: str = ""
    address: str = ""


def _hosts(scheme: str) -> list[Host]:
    """Where to look, the most special first: what the environment names is the only one."""
    if scheme == "docker":
        if docker := os.environ.get("DOCKER_HOST") or _context_host():
            return [_host(docker)]
        paths = ["/var/run/docker.sock"]
        runtime = "docker.sock"
    else:
        if podman := os.environ.get("CONTAINER_HOST"):
            return [_host(podman)]
        paths = ["/run/podman/podman.sock"]
        runtime = "podman/podman.sock"
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        own = f"{folder}/{runtime}"
        paths = [*paths, own] if scheme == "docker" else [own, *paths]
    return [Host(socket=path) for path in paths]


def _host(text: str) -> Host:
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return Host(socket=rest.partition("?")[0])
    if scheme in ("tcp", "http", "https") and rest:
        secure = scheme == "https" or os.environ.get("DOCKER_TLS_VERIFY")
        return Host(address=f"{'https' if secure else 'http'}://{rest.rstrip('/')}")
    raise UsageError(f"the engine's address {text!r} is not supported", hint="unix:///path or tcp://host:port; not ssh://")


def _context_host() -> str:
    """The endpoint of Docker's current context, if one is chosen."""
    home = Path(os.environ.get("DOCKER_CONFIG") or Path(os.environ.get("HOME") or "/") / ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or _text(home / "config.json", "currentContext")
    if not name or name == "default":
        return ""
    meta = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    return _text(meta, "Endpoints", "docker", "Host")


def _text(path: Path, *keys: str) -> str:
    try:
        found: Any = msgspec.json.decode(path.read_bytes()[:MAX_CONTEXT])
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def is_there(scheme: str, options: SourceOptions) -> bool:
    """Say whether an engine may be asked for a bare name: its socket exists, or its address is configured and not forbidden."""
    try:
        hosts = _hosts(scheme)
    except UsageError:
        return False
    return any(Path(host.socket).exists() if host.socket else not options.offline for host in hosts)


class Engine:
    """One engine, spoken to."""

    def __init__(self, scheme: str, options: SourceOptions) -> None:
        from pratique._kit import http  # noqa: PLC0415 - engines only

        self._http = http
        self.scheme = scheme
        hosts = _hosts(scheme)
        there = [host for host in hosts if host.address or Path(host.socket).exists()]
        if not there:
            tried = ", ".join(host.socket for host in hosts)
            raise TargetError(f"{scheme} does not run here: no socket at {tried}", hint=_start_hint(scheme))
        self._host = there[0]
        if self._host.address and options.offline:
            raise TargetError(f"{self._host.address} may not be asked: --offline")
        if self._host.socket:
            _try(scheme, self._host.socket)
        self.client = http.make_client(verify=_verify(self._host), direct=True, socket=self._host.socket)

    @property
    def where(self) -> str:
        """The socket or address, for messages and stamps."""
        return self._host.socket or self._host.address

    def get(self, path: str) -> httpx2.Response:
        """Ask; the answer is streamed. Raises TargetError where nobody answers."""
        url = f"{self._host.address or 'http://' + self.scheme}{path}"
        try:
            return self._http.exchange(self.client, self.client.build_request("GET", url), attempts=1)
        except self._http.Unreachable as error:
            raise TargetError(f"{self.scheme} at {self.where}: {error.message}", hint=_start_hint(self.scheme)) from error

    def inspect(self, name: str) -> tuple[dict[str, Any], tuple[int, ...]]:
        """Return what the engine knows about an image, and its API version."""
        response = self.get(f"/images/{quote(name, safe='/:@')}/json")
        version = response.headers.get("api-version", "")
        data = self._body(response, name)
        try:
            document = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise TargetError(f"{self.scheme} at {self.where} does not answer as an engine does") from None
        numbers = version.split(".")
        return document, tuple(int(part) for part in numbers) if all(part.isdigit() for part in numbers) else ()

    def _body(self, response: httpx2.Response, name: str) -> bytes:
        try:
            data = self._http.read_body(response, MAX_ANSWER, f"{self.scheme}, {name}")
        except self._http.Unreachable as error:
            raise TargetError(f"{self.scheme} at {self.where}: {error.message}") from error
        if response.status_code == 404:
            raise TargetNotFoundError(
                f"{self.scheme} has no image {name}", hint=f"{self.scheme} pull {name}, or scan registry:{name}"
            )
        if response.status_code != 200:
            raise TargetError(f"{self.scheme} at {self.where} answers with status {response.status_code}{_said(data)}")
        return data

    def export(self, name: str, query: str, spool: Spool) -> bool:
        """Stream `docker save` of an image into a spool; say whether the engine had it under that name."""
        import httpx2

        response = self.get(f"/images/{quote(name, safe='/:@')}/get{query}")
        try:
            if response.status_code == 404:
                return False
            if response.status_code != 200:
                self._body(response, name)
            spool.fill(response.iter_raw())
        except httpx2.TransportError as error:
            trouble = self._http.explain(error).message
            raise TargetError(f"{self.scheme} at {self.where}, export of {name}: {trouble}") from error
        finally:
            response.close()
        return True


def _try(scheme: str, path: str) -> None:
    """Connect once: a dead socket or a missing right is told better here than by the HTTP client."""
    import socket  # noqa: PLC0415 - engines only

    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            probe.connect(path)
    except OSError as error:
        hint = "you may lack the right to use it" if isinstance(error, PermissionError) else _start_hint(scheme)
        raise TargetError(f"{scheme} at {path}: no connection: {error.strerror or error}", hint=hint) from None


def _start_hint(scheme: str) -> str:
    if scheme == "podman":
        return "podman system service --time=0, or systemctl --user start podman.socket"
    return "start it, or set DOCKER_HOST"


def _verify(host: Host) -> Any:
    """The client certificate of DOCKER_CERT_PATH for a remote engine."""
    if not host.address.startswith("https://"):
        return True
    import ssl

    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path(os.environ.get("HOME") or "/") / ".docker")
    try:
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except (OSError, ssl.SSLError) as error:
        raise TargetError(f"the certificates in {folder} cannot be used: {error}", hint="see DOCKER_CERT_PATH") from None
    return context


def _said(data: bytes) -> str:
    try:
        message = msgspec.json.decode(data, type=dict[str, Any]).get("message")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    text = "".join(letter if letter.isprintable() else " " for letter in str(message or "")[:200]).strip()
    return f" ({text})" if text else ""


# -- opening ------------------------------------------------------------------------------------------------------------------


class _Exported:
    """An export that happens when it is first needed, once."""

    def __init__(self, engine: Engine, identity: str, ref: ImageRef, query: str, options: SourceOptions) -> None:
        self._engine = engine
        self._identity = identity
        self._ref = ref
        self._query = query
        self._options = options
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._image: OpenedImage | None = None

    def image(self) -> OpenedImage:
        """Export if need be; return the image as it lies in the archive."""
        with self._lock:
            if self._image is None:
                scheme, name = self._ref.scheme, self._ref.value
                spool = self._stack.enter_context(Spool(self._options, f"exporting {name} from {scheme}"))
                # By id first: by name, Docker exports what the name means now, which may be another image than was inspected.
                if not any(self._engine.export(key, self._query, spool) for key in (self._identity, name)):
                    raise TargetNotFoundError(f"{scheme} lost the image {name} while it was read")
                outer = self._stack.enter_context(open_outer(spool.path, self._options))
                outer.stamp = spool.digest
                self._image = open_in(outer, ImageRef("archive", name), "", None)
            return self._image

    def fetch(self, layer: Layer) -> Extent:
        """Find a layer by its diff_id."""
        image = self.image()
        for own in image.layers:
            if own.diff_id == layer.diff_id:
                return image.fetch(own)
        raise IntegrityError(f"{self._ref}: the export lacks the layer {layer.diff_id}")

    def close(self) -> None:
        """Remove the spool."""
        self._stack.close()


class _Daemons:
    schemes = ("docker", "podman")

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
        """Open an image that an engine has. Raises TargetNotFoundError, TargetError, IntegrityError, UsageError."""
        name = _name(ref.value)
        engine = Engine(ref.scheme, options)
        try:
            document, version = engine.inspect(name)
            identity = document.get("Id")
            identity = identity if isinstance(identity, str) and identity.removeprefix("sha256:").isalnum() else name
            exported = _Exported(engine, identity, ImageRef(ref.scheme, name), _query(platform, version), options)
            try:
                image = _open(exported, identity, ref, platform, BlobStore(options.cache_dir))
                image.known_as = _digests(document, identity, image.digest)
                yield image
            finally:
                exported.close()
        finally:
            engine.client.close()

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:
        """What an engine shows under a name is one platform."""
        engine = Engine(ref.scheme, options)
        try:
            document, _ = engine.inspect(_name(ref.value))
        finally:
            engine.client.close()
        place = platform_of({key.lower(): value for key, value in document.items()})
        return [place] if place is not None else []


def _name(value: str) -> str:
    """Ids (of 4 digits at least) and digests as they are; names with their tag, lest all tags of a repository are exported."""
    plain = value.removeprefix("sha256:")
    if 4 <= len(plain) <= 64 and not set(plain) - set("0123456789abcdef"):
        return value
    name = parse_name(value)
    return value if name.digest or ":" in value.rpartition("/")[2] else f"{value}:{name.tag}"


def _query(platform: Platform | None, version: tuple[int, ...]) -> str:
    if platform is None or version < PLATFORM_API:
        return ""
    wish = {"os": platform.os, "architecture": platform.architecture} | (
        {"variant": platform.variant} if platform.variant else {}
    )
    return "?platform=" + quote(msgspec.json.encode(wish).decode())


def _open(exported: _Exported, identity: str, ref: ImageRef, platform: Platform | None, store: BlobStore) -> OpenedImage:
    """From the cached configuration, if the id is its digest and it was seen; else from the export."""
    identity = identity if identity.startswith("sha256:") else f"sha256:{identity}"
    raw = store.small(identity, MAX_CONFIG) if len(identity) == DIGEST_LENGTH else None
    if raw is None:
        inside = exported.image()
        plain = all(layer.compression == "tar" for layer in inside.layers)
        if not plain or f"sha256:{hashlib.sha256(inside.raw_config).hexdigest()}" != identity:
            _refuse_other(ref, inside.platform, platform)
            image = OpenedImage(
                ref.scheme, ref.value, digest=inside.digest, platform=inside.platform, config=inside.config, layers=inside.layers
            )
            return image.served_by(exported.fetch)
        raw = inside.raw_config
        store.put(identity, raw)
    config = decode_config(raw, str(ref))
    own = platform_of(config)
    _refuse_other(ref, own, platform)
    image = OpenedImage(ref.scheme, ref.value, digest=identity, platform=own, config=config, layers=_layers(config, str(ref)))
    return image.served_by(exported.fetch)


def _digests(document: dict[str, Any], identity: str, own: str) -> tuple[str, ...]:
    """Return what else the engine knows an image by: its id, and its digests in the registries it came from."""
    stated = document.get("RepoDigests")
    names = [entry for entry in stated[:MAX_DIGESTS] if isinstance(entry, str)] if isinstance(stated, list) else []
    found = {identity, *(name.partition("@")[2] for name in names)}
    return tuple(sorted(digest for digest in found - {own} if digest.startswith("sha256:") and len(digest) == DIGEST_LENGTH))


def _refuse_other(ref: ImageRef, own: Platform | None, wanted: Platform | None) -> None:
    if wanted is not None and own is not None and rank(own, wanted) < 0:
        raise TargetNotFoundError(f"{ref} is an image for {own}, not for {wanted}")


def _layers(config: dict[str, Any], what: str) -> tuple[Layer, ...]:
    """The layers as the engine exports them: plain, so that the digest of the blob is the diff_id."""
    rootfs = config.get("rootfs")
    stated = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    count = len(stated) if isinstance(stated, list) else 0
    pairs = zip(diff_ids_of(config, count, what), created_by(config, count), strict=True)
    return tuple(Layer(diff_id=diff_id, digest=diff_id, created_by=instruction) for diff_id, instruction in pairs)


SOURCE = _Daemons()
