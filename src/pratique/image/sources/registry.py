"""registry:NAME in, an image out: manifest and configuration at once, layers when they are asked for, all checked by digest.

A tag is resolved by a HEAD request; what is known by digest and in the cache is not asked for again. So a second scan costs one
request for a tag and none for a digest.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pratique._kit import http
from pratique.image import oci
from pratique.image.blobstore import BlobStore
from pratique.image.endpoint import Clients, Endpoint, places
from pratique.image.manifest import (
    ACCEPT,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_CONFIG,
    MAX_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    check_digest,
    decode,
    platform_of,
    verify,
)
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.reference import ImageName, parse_name
from pratique.image.spool import need_room
from pratique.model.errors import IntegrityError, RegistryError, TargetNotFoundError
from pratique.model.image import Extent, ImageRef, Layer, Platform

if TYPE_CHECKING:
    import httpx2

PARALLEL = 3  # downloads at once, as Docker does: more gain nothing and draw rate limits

_T = TypeVar("_T")


class Remote:
    """An image name and the places that may have it."""

    def __init__(self, name: ImageName, clients: Clients, options: SourceOptions) -> None:
        self.name = name
        self._options = options
        self._store = BlobStore(options.cache_dir)
        self._endpoints = [Endpoint(place, clients, options) for place in places(name, options)]
        self._stop = threading.Event()

    def first(self, ask: Callable[[Endpoint], _T]) -> _T:
        """Ask mirrors, then the registry, until one answers. A wrong digest is no reason to go on: somebody tampers."""
        for endpoint in self._endpoints[:-1]:
            if endpoint.dead is None:
                try:
                    return ask(endpoint)
                except (RegistryError, TargetNotFoundError):
                    continue
        return ask(self._endpoints[-1])

    # -- manifests --------------------------------------------------------------------------------------------------------------

    def top(self) -> tuple[Manifest | Index, str]:
        """Return what the name leads to and its digest."""
        if self.name.digest:
            check_digest(self.name.digest, str(self.name))
            data = self._store.small(self.name.digest, MAX_MANIFEST)
            media_type = ""
            if data is None:
                data, media_type = self.first(lambda endpoint: self._manifest(endpoint, self.name.digest, self.name.digest))
            return decode(data, str(self.name), media_type), self.name.digest
        data, media_type, digest = self.first(self._by_tag)
        return decode(data, str(self.name), media_type), digest

    def _by_tag(self, endpoint: Endpoint) -> tuple[bytes, str, str]:
        """HEAD tells the digest; registries that do not answer it so are asked for the manifest at once."""
        tag = self.name.tag
        response = endpoint.get(f"manifests/{tag}", {"Accept": ACCEPT}, method="HEAD", accept=(200, 400, 405, 501))
        response.close()
        digest = response.headers.get("docker-content-digest", "") if response.status_code == 200 else ""
        if digest.startswith("sha256:"):
            check_digest(digest, str(self.name))
            data = self._store.small(digest, MAX_MANIFEST)
            if data is not None:
                return data, response.headers.get("content-type", ""), digest
            return *self._manifest(endpoint, digest, digest), digest
        data, media_type = self._manifest(endpoint, tag, "")
        return data, media_type, f"sha256:{hashlib.sha256(data).hexdigest()}"

    def _manifest(self, endpoint: Endpoint, reference: str, digest: str) -> tuple[bytes, str]:
        response = endpoint.get(f"manifests/{reference}", {"Accept": ACCEPT})
        data = self._body(response, MAX_MANIFEST, f"{endpoint.name}, manifest {reference}", endpoint)
        stated = digest or response.headers.get("docker-content-digest", "")
        if stated.startswith("sha256:"):
            verify(data, stated, f"{endpoint.name}, manifest {reference}")
        self._store.put(f"sha256:{hashlib.sha256(data).hexdigest()}", data)
        return data, response.headers.get("content-type", "").partition(";")[0].strip()

    @staticmethod
    def _body(response: httpx2.Response, limit: int, what: str, endpoint: Endpoint) -> bytes:
        try:
            return http.read_body(response, limit, what)
        except http.Unreachable as error:
            raise RegistryError(f"{endpoint.place.host}: {error.message}", hint=error.hint) from error

    def read(self, descriptor: Descriptor, what: str) -> bytes:
        """Return a manifest, index or configuration by its digest, from the cache or from a registry, verified."""
        limit = MAX_MANIFEST if descriptor.media_type in INDEX_TYPES | MANIFEST_TYPES else MAX_CONFIG
        data = self._store.small(descriptor.digest, limit)
        if data is None:
            data = self.first(lambda endpoint: self._small(endpoint, descriptor, what))
        if len(data) != descriptor.size:
            raise IntegrityError(f"{what} has {len(data)} bytes, not {descriptor.size}")
        return data

    def _small(self, endpoint: Endpoint, descriptor: Descriptor, what: str) -> bytes:
        if descriptor.media_type in INDEX_TYPES | MANIFEST_TYPES:
            return self._manifest(endpoint, descriptor.digest, descriptor.digest)[0]
        response = endpoint.get(f"blobs/{descriptor.digest}", {})
        data = verify(self._body(response, descriptor.size, what, endpoint), descriptor.digest, what)
        self._store.put(descriptor.digest, data)
        return data

    # -- layers -----------------------------------------------------------------------------------------------------------------

    def fetch(self, layer: Layer) -> Extent:
        """Return a layer's place in the cache, downloaded and verified if it was not there."""
        path = self._store.layer(layer.digest, layer.size)
        if path is None:
            path = self._store.path(layer.digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            need_room(path.parent, layer.size, f"{self.name}, layer {layer.digest}")
            self.first(lambda endpoint: self._download(endpoint, layer))
        return Extent(str(path), 0, layer.size)

    def _download(self, endpoint: Endpoint, layer: Layer) -> None:
        what = f"{endpoint.name}, layer {layer.digest}"
        title = f"downloading {layer.digest[:19]}"

        def open_at(offset: int) -> httpx2.Response:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            return endpoint.get(f"blobs/{layer.digest}", headers, accept=(200, 206, 416) if offset else (200,))

        def note(done: int) -> None:
            if self._stop.is_set():
                raise RegistryError(f"{what}: given up, because another download failed")
            self._options.note(title, done, layer.size)

        wanted = http.Wanted(check_digest(layer.digest, what), layer.size, what)
        try:
            http.download(open_at, self._store.path(layer.digest), wanted, note)
        except http.Unreachable as error:
            hint = error.hint or "what has arrived is kept; the next scan goes on from there"
            raise RegistryError(f"{what}: {error.message}", hint=hint) from error
        except OSError as error:
            raise RegistryError(f"{what} cannot be kept: {error.strerror}") from None

    def prefetch(self, layers: Sequence[Layer]) -> None:
        """Download several layers at once, each digest once. Raises what the first failure raised."""
        missing = {layer.digest: layer for layer in layers if self._store.layer(layer.digest, layer.size) is None}
        if len(missing) < 2:
            for layer in missing.values():
                self.fetch(layer)
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where there is something to share

        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="download") as pool:
            tasks = [pool.submit(self.fetch, layer) for layer in missing.values()]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                self._stop.set()  # an interrupted person must not wait for what is under way; it is resumed next time
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class _Registries:
    schemes = ("registry",)

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
        """Open an image of a registry. Raises RegistryError, TargetNotFoundError, IntegrityError, TargetError."""
        name = parse_name(ref.value)
        clients = Clients(options)
        try:
            remote = Remote(name, clients, options)
            found, digest = remote.top()
            if isinstance(found, Index):
                chosen = oci.pick(found, None, platform, remote.read, str(name))
            else:
                chosen = oci.take(found, digest, platform, remote.read, str(name))
            image = OpenedImage(
                "registry", ref.value, digest=chosen.digest, platform=chosen.platform, config=chosen.config, layers=chosen.layers
            )
            image.known_as = tuple(sorted({*chosen.known_as, digest} - {chosen.digest}))
            yield image.served_by(remote.fetch, remote.prefetch)
        finally:
            clients.close()

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:
        """List the platforms under a name."""
        name = parse_name(ref.value)
        clients = Clients(options)
        try:
            remote = Remote(name, clients, options)
            found, digest = remote.top()
            if isinstance(found, Index):
                return oci.platforms(found, None, remote.read, str(name))
            place = platform_of(oci.take(found, digest, None, remote.read, str(name)).config)
            return [place] if place is not None else []
        finally:
            clients.close()


SOURCE = _Registries()
