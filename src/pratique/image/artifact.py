"""Files of any kind in a registry's repository in, their bytes out, and the way back: what is no image, kept as OCI artefacts.

metadata/<name>               an artefact with one blob, tagged <name>
targets/.../<sha256>.<name>   the blob of that digest
the publication <number>      an artefact tagged targets-<number> that refers to its blobs, so that no registry collects them

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pratique._kit import http
from pratique.image.endpoint import MAX_LOGINS, Clients, Endpoint, places
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_name
from pratique.model.errors import CouldNotError, IntegrityError, RegistryError, TargetNotFoundError, UsageError

if TYPE_CHECKING:
    import httpx2

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_ARTEFACT_TYPE = "application/vnd.pratique.advisories.v1"
_BLOB_TYPE = "application/octet-stream"
MAX_MANIFEST = 4 << 20  # the specification's own recommendation for registries
# Of a publisher that was not allowed to delete before; each costs six requests.
_PRUNED_AT_ONCE = 8
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TARGET = re.compile(r"targets/(?:.*/)?([0-9a-f]{64})\.[^/]+")
_METADATA = re.compile(r"metadata/([A-Za-z0-9_][A-Za-z0-9._-]{0,127})")


class _Blob(msgspec.Struct, frozen=True):
    digest: str
    size: int


class _Manifest(msgspec.Struct, frozen=True):
    layers: list[_Blob]


def digest(content: bytes) -> str:
    """Return the sha256 digest as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Artifacts:
    """One repository of a registry as a place of files. Errors as of `Endpoint`; FileNotFoundError for what is not there."""

    def __init__(self, reference: str, options: SourceOptions) -> None:
        """Take registry/repository, without tag or digest. Raises UsageError."""
        name = parse_name(reference)
        if name.digest or reference.rpartition("/")[2].count(":"):
            raise UsageError(f"{reference!r} names one image", hint="name the repository alone: registry.example/path/name")
        self.name = f"{name.registry}/{name.repository}"
        self._clients = Clients(options)
        self._endpoint = _Pusher(places(name, msgspec.structs.replace(options, mirrors={}))[-1], self._clients, options)
        self._sizes: dict[str, int] = {}

    def close(self) -> None:
        """Close all connections."""
        self._clients.close()

    # -- reading ----------------------------------------------------------------------------------------------------------------

    def open(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a file from `offset` on."""
        if target := _TARGET.fullmatch(path):
            yield from self._blob(f"sha256:{target[1]}", offset, path)
        elif metadata := _METADATA.fullmatch(path):
            yield from self._blob(self._tagged(metadata[1], path), offset, path)
        else:
            raise FileNotFoundError(path)

    def _tagged(self, tag: str, path: str) -> str:
        try:
            response = self._endpoint.get(f"manifests/{tag}", {"Accept": MANIFEST})
        except TargetNotFoundError:
            raise FileNotFoundError(path) from None
        content = http.read_body(response, MAX_MANIFEST, f"{self.name}:{tag}")
        try:
            layers = msgspec.json.decode(content, type=_Manifest).layers
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise IntegrityError(f"{self.name}:{tag} is no artefact of a database: {error}") from error
        if len(layers) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", layers[0].digest):
            raise IntegrityError(f"{self.name}:{tag} is no artefact of a database")
        return layers[0].digest

    def _blob(self, name: str, offset: int, path: str) -> Iterator[bytes]:
        import httpx2

        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._endpoint.get(f"blobs/{name}", headers, accept=(200, 206, 404, 416))
        try:
            if response.status_code == 404:
                raise FileNotFoundError(path)
            if response.status_code == 416:
                return
            skip = offset if response.status_code == 200 else 0
            for piece in response.iter_raw():  # as it comes, so that a slow server is noticed
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                yield piece[skip:]
                skip = 0
        except httpx2.TransportError as error:
            raise http.explain(error) from error
        finally:
            response.close()

    # -- writing ----------------------------------------------------------------------------------------------------------------

    def write(self, path: str, content: bytes) -> None:
        """Push one small file under its tag. Raises UsageError for a path that has no place here."""
        metadata = _METADATA.fullmatch(path)
        if metadata is None:
            raise UsageError(f"{path!r} has no place in a registry")
        name = self._push(content)
        self._refer(metadata[1], [_descriptor(name, len(content), metadata[1])])

    def put(self, path: str, file: Path) -> None:
        """Push a target's blob, unless it is there. The file is read into memory: feeds have some ten megabytes."""
        target = _TARGET.fullmatch(path)
        if target is None:
            raise UsageError(f"{path!r} has no place in a registry")
        self._sizes[path] = file.stat().st_size
        if not self._endpoint.has(f"sha256:{target[1]}"):
            self._push(file.read_bytes())

    def refer(self, number: int, paths: Collection[str]) -> None:
        """Tag an artefact that refers to the blobs of a publication."""
        layers = []
        for path in sorted(paths):
            if target := _TARGET.fullmatch(path):
                name = f"sha256:{target[1]}"
                layers.append(_descriptor(name, self._sizes.get(path) or self._endpoint.size(name), path.rpartition("/")[2]))
        self._refer(f"targets-{number}", layers)

    def prune(self, paths: Collection[str], oldest: int) -> None:
        """Take away the artefacts of publications before `oldest`, where the registry allows it: it then collects their blobs.

        Roots stay. Where it does not allow it (many do not), or anything goes wrong, nothing is said: what is new is published.
        """
        del paths  # the artefacts that stay refer to them
        for number in range(oldest - 1, max(0, oldest - 1 - _PRUNED_AT_ONCE), -1):
            tags = (f"targets-{number}", f"{number}.targets.json", f"{number}.snapshot.json")
            if not sum(map(self._remove, tags)):  # all of them, not the first that is there
                return

    def _remove(self, tag: str) -> bool:
        """Delete the artefact of a tag; say whether it was there and is gone. Each has a tag of its own, as it names it."""
        with contextlib.suppress(CouldNotError, IntegrityError):
            found = self._endpoint.get(f"manifests/{tag}", {"Accept": MANIFEST}, method="HEAD", accept=(200, 404))
            found.close()
            name = found.headers.get("docker-content-digest", "")
            if found.status_code == 200 and _DIGEST.fullmatch(name):
                self._endpoint.send("DELETE", f"manifests/{name}", b"", {}, (202,)).close()
                return True
        return False

    def _refer(self, tag: str, layers: list[dict[str, Any]]) -> None:
        self._push(_EMPTY)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": _ARTEFACT_TYPE,
            "config": {"mediaType": _EMPTY_TYPE, "digest": digest(_EMPTY), "size": len(_EMPTY)},
            "layers": layers,
        }
        content = msgspec.json.encode(manifest)
        self._endpoint.send("PUT", f"manifests/{tag}", content, {"Content-Type": MANIFEST}, (201,)).close()

    def _push(self, content: bytes) -> str:
        """Upload a blob in one piece, unless it is there."""
        name = digest(content)
        if self._endpoint.has(name):
            return name
        begun = self._endpoint.send("POST", "blobs/uploads/", b"", {"Content-Length": "0"}, (202,))
        begun.close()
        location = begun.headers.get("location", "")
        if not location:
            raise RegistryError(f"{self.name}: the registry does not say where to upload to")
        url = begun.url.join(location).copy_add_param("digest", name)
        if url.scheme not in {begun.url.scheme, "https"}:
            raise IntegrityError(f"{self.name}: the registry wants the upload at {url.scheme}://{url.host}, which is not allowed")
        self._endpoint.send("PUT", url, content, {"Content-Type": _BLOB_TYPE}, (201,)).close()
        return name


def _descriptor(name: str, size: int, title: str) -> dict[str, Any]:
    return {"mediaType": _BLOB_TYPE, "digest": name, "size": size, "annotations": {"org.opencontainers.image.title": title}}


class _Pusher(Endpoint):
    """An endpoint that is written to as well."""

    def has(self, name: str) -> bool:
        """Say whether a blob is there."""
        response = self.get(f"blobs/{name}", {}, method="HEAD", accept=(200, 404))
        response.close()
        return response.status_code == 200

    def size(self, name: str) -> int:
        """Return a blob's bytes. Raises IntegrityError where it is not there."""
        response = self.get(f"blobs/{name}", {}, method="HEAD")
        response.close()
        return int(response.headers.get("content-length", "0") or 0)

    def send(
        self, method: str, where: str | httpx2.URL, content: bytes, headers: dict[str, str], accept: tuple[int, ...]
    ) -> httpx2.Response:
        """Send a body to a path of the repository, or to an address that the registry named for it; log in if need be."""
        if self._options.offline:
            raise RegistryError(f"{self.name} may not be asked: --offline")
        client = self._clients.of(self.place.host)
        try:
            url = f"{self._base(client)}/v2/{self.place.repository}/{where}" if isinstance(where, str) else where
            response = self._sent(client, client.build_request(method, url, content=content, headers=headers))
        except http.Unreachable as error:
            raise RegistryError(f"{self.place.host}: {error.message}", hint=error.hint) from error
        if response.status_code in accept:
            return response
        try:
            raise self._refused(response, "push")
        finally:
            response.close()

    def _sent(self, client: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
        for login in range(MAX_LOGINS + 1):
            used = self._authorization
            # An upload may lead to storage elsewhere, which has a signed address and must not see our credentials.
            ours = request.url.host == self._host(client)
            if used and ours:
                request.headers["Authorization"] = used
            response = http.exchange(client, request)
            challenges = response.headers.get_list("www-authenticate")
            if response.status_code != 401 or login == MAX_LOGINS or not ours or not self._log_in(challenges, used):
                return response
            response.close()
        raise AssertionError("the loop returns")

    def _host(self, client: httpx2.Client) -> str:
        import httpx2

        return httpx2.URL(self._base(client)).host
