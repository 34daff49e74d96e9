"""One client's connection in, each of its requests answered: by the gate itself, or by the registry with the gate between them.

What is pulled is judged by its digest: a manifest is held here until it has been, and it is those bytes that are given out, so
that a tag that moves in between changes nothing. A push is watched while its bytes flow.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pratique.enforce.registry.exchange import Client, Gone
from pratique.enforce.registry.manifests import (
    HEAD,
    MAX_CONFIG,
    MAX_MANIFEST,
    Manifest,
    can_be_unpacked,
    is_configuration,
    read_manifest,
)
from pratique.enforce.registry.proxy import REALM, Proxy, Refused
from pratique.enforce.registry.relay import Answered, Upstream, UpstreamError, answered_headers, asked_headers
from pratique.enforce.registry.routes import Route, classify, is_digest
from pratique.enforce.registry.service import MAX_BODY, AskedForToken, Asker, problem
from pratique.enforce.registry.tokens import Access
from pratique.enforce.serving import Answer
from pratique.model.errors import ParseError, PratiqueError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Bytes of one upload; the largest layers of real images have some 10 GiB.
MAX_BLOB = 64 << 30
# Seconds between two questions whether a push may go on whose bytes are flowing.
LOOK = 0.5


class Conversation:
    """One client's connection."""

    def __init__(self, proxy: Proxy, upstream: Upstream, *, own: bool) -> None:
        self._proxy = proxy
        self._upstream = upstream
        self._own = own

    def close(self) -> None:
        """Hang up on the registry."""
        self._upstream.close()

    async def serve(self, client: Client) -> None:
        """Answer one request. Raises Gone where the client went away."""
        try:
            await self._serve(client)
        except Refused as refused:
            realm = self._proxy.front.realm_for(client.header("host"))
            headers = tuple((name, value.replace(REALM, realm)) for name, value in refused.answer.headers)
            await client.say(refused.answer._replace(headers=headers))
        except UpstreamError as error:
            self._upstream.close()
            if client.begun:
                raise Gone from error
            await client.say(problem(502, "UNAVAILABLE", f"pratique: {error.message}"))
        except PratiqueError as error:
            if client.begun:
                raise Gone from error
            await client.say(problem(503, "UNAVAILABLE", f"pratique: {error.message}"))
        finally:
            self._upstream.tidy()

    async def _serve(self, client: Client) -> None:
        try:
            route = classify(client.method, client.target)
        except ParseError as error:
            known, what = self._proxy.asker(client.header("authorization"), own=self._own), f"{client.method} {client.target}"
            answer = await self._proxy.unreadable(known[0] if known else None, 404, "UNSUPPORTED", what, str(error))
            raise Refused(answer) from None
        if route.kind == "token":
            body = await client.whole(MAX_BODY)
            query, shown = route.path.partition("?")[2], client.header("authorization")
            asked = AskedForToken(client.method, query, shown, body, client.address)
            found = await self._proxy.service.answer(asked, own=self._own)
            await client.say(found)
            return
        known = self._proxy.asker(client.header("authorization"), own=self._own)
        if known is None:
            scope = f"repository:{route.repository}:{_needs(route)}" if route.repository else ""
            raise Refused(self._proxy.challenge(scope))
        asker, access = known
        if self._own and (route.access != "pull" or client.method not in ("GET", "HEAD")) and route.kind != "base":
            raise Refused(problem(403, "DENIED", "pratique: the gate's own listener is for scans"))
        if route.kind == "base":
            if not asker.name:
                raise Refused(self._proxy.challenge())
            await client.say(Answer(200, b"{}", headers=(("Docker-Distribution-Api-Version", "registry/2.0"),)))
            return
        serving: dict[str, Callable[[Client, Route, Asker, tuple[Access, ...]], Awaitable[None]]] = {
            "catalog": self._catalog, "manifest": self._manifest, "manifest-put": self._put_manifest,
            "manifest-delete": self._delete, "blob": self._blob, "blob-delete": self._delete, "upload-begin": self._begin,
        }  # fmt: skip
        await serving.get(route.kind, self._upload if route.access == "push" else self._plain)(client, route, asker, access)

    async def _plain(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access)
        await self._pass(client, await self._ask(client, route, Access("repository", route.repository, ("pull",))))

    async def _catalog(self, client: Client, route: Route, asker: Asker, _: tuple[Access, ...]) -> None:
        if not self._proxy.may_list(asker):
            raise Refused(await self._proxy.unlisted(asker))
        await self._pass(client, await self._ask(client, route, Access("registry", "catalog", ("*",))))

    async def _manifest(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        """Hold a manifest until it is judged, then give out these very bytes."""
        await self._proxy.allow(route, asker, access)
        client.headers = [(name, value) for name, value in client.headers if name != b"range"]  # a part cannot be judged
        answered = await self._ask(client, route, Access("repository", route.repository, ("pull",)))
        if answered.status != 200:
            if answered.status < 300:
                raise UpstreamError("the registry answered with a part of a manifest")
            await self._pass(client, answered)
            return
        if client.method == "HEAD":
            digest = answered.one(b"docker-content-digest")
            if not self._own:
                known = self._proxy.judging.known(self._proxy.image(route.repository, digest))
                await self._proxy.refuse(asker, route, known)
            await self._pass(client, answered)
            return
        body = await self._upstream.whole(MAX_MANIFEST)
        try:
            manifest = read_manifest(body, answered.one(b"content-type"))
        except ParseError as error:
            what = f"pull {self._proxy.front.name}/{route.repository}"
            raise Refused(await self._proxy.unreadable(asker, 403, "DENIED", what, str(error))) from None
        if is_digest(route.reference) and manifest.digest != route.reference:
            raise UpstreamError("the registry gave another manifest than it was asked for")
        if not self._own:
            manifest = await self._settled(client, route, manifest)
            await self._proxy.judging.learn(route.repository, manifest)
            judged = await self._proxy.judging.manifest(
                self._proxy.image(route.repository, manifest.digest), manifest, asker.line
            )
            await self._proxy.refuse(asker, route, judged)
        headers = [(name, value) for name, value in self._headers(answered) if name != b"transfer-encoding"]
        await client.begin(200, [(n, v) for n, v in headers if n != b"content-length"] + [(b"content-length", b"%d" % len(body))])
        await client.end(body)

    async def _put_manifest(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        if not any(one.name == route.repository for one in access):  # before 4 MiB are read for nobody
            raise Refused(self._proxy.challenge(f"repository:{route.repository}:pull,push"))
        body = await client.whole(MAX_MANIFEST)
        try:
            manifest = read_manifest(body, client.header("content-type"))
        except ParseError as error:
            what = f"push {self._proxy.front.name}/{route.repository}"
            raise Refused(await self._proxy.unreadable(asker, 400, "MANIFEST_INVALID", what, str(error))) from None
        if is_digest(route.reference) and manifest.digest != route.reference:
            raise Refused(
                problem(400, "DIGEST_INVALID", f"pratique: these bytes are {manifest.digest}, not what they are put as")
            )
        await self._proxy.allow(route, asker, access, manifest.digest)
        manifest = await self._settled(client, route, manifest)
        token = self._proxy.shown(Access("repository", route.repository, ("pull", "push")))
        headers = [(name, value) for name, value in client.headers if name not in (b"transfer-encoding", b"content-length")]
        asked = asked_headers([*headers, (b"content-length", b"%d" % len(body))], self._host(client), token)
        answered = self._checked(await self._upstream.ask("PUT", route.upstream(), asked, body))
        if answered.status == 201:
            await self._proxy.pushed(asker, route, manifest)
        await self._pass(client, answered)

    async def _settled(self, client: Client, route: Route, manifest: Manifest) -> Manifest:
        """Return a manifest as what it is: what could be run is an image, whatever it calls itself, and the rest is an artifact.

        What cannot be looked at is taken for an image, until it can.
        """
        judging = self._proxy.judging
        if judging.told(manifest):
            return manifest
        kind = judging.kind(route.repository, manifest.digest)
        if kind in ("artifact", "image"):
            return manifest._replace(kind="artifact" if kind == "artifact" else "image")
        harmless = self._is_packed_in_nothing if manifest.unlayered else self._is_of_artifact
        found = await harmless(client, route, manifest)
        return manifest._replace(kind="artifact" if found else "image", unsure=found is None)

    async def _is_of_artifact(self, client: Client, route: Route, manifest: Manifest) -> bool | None:
        """Say whether its configuration is none of an image's; None where it cannot be looked at."""
        found = await self._looked_at(client, route, manifest.config, MAX_CONFIG)
        return not is_configuration(found) if found is not None else None

    async def _is_packed_in_nothing(self, client: Client, route: Route, manifest: Manifest) -> bool | None:
        """Say whether none of its layers is one that could be unpacked: signatures and attestations are JSON."""
        for layer in manifest.blobs[1:]:
            head = await self._looked_at(client, route, layer, HEAD, part=True)
            if head is None:
                return None
            if can_be_unpacked(head):
                return False
        return True

    async def _looked_at(self, client: Client, route: Route, blob: str, most: int, *, part: bool = False) -> bytes | None:
        """Return a blob, or with `part` its first bytes; None where it is not there, or larger, or has a strange name."""
        if not is_digest(blob):
            return None
        token = self._proxy.shown(Access("repository", route.repository, ("pull",)))
        asked = [(b"range", b"bytes=0-%d" % (most - 1))] if part else []
        headers = asked_headers(asked, self._host(client), token)
        answered = self._checked(await self._upstream.ask("GET", f"/v2/{route.repository}/blobs/{blob}", headers))
        try:
            body = await self._upstream.whole(most)
        except UpstreamError:
            return None  # larger than any artifact's
        return body if answered.status in (200, 206) else None

    async def _delete(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access, route.reference)
        answered = await self._ask(client, route, Access("repository", route.repository, ("delete",)))
        if answered.status == 202 and route.kind == "manifest-delete":
            self._proxy.judging.forget(route.repository, route.reference)
        await self._pass(client, answered)

    async def _blob(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access)
        if client.method == "GET" and not self._own:
            judged = await self._proxy.judging.blob(self._proxy.front.name, route.repository, route.reference, asker.line)
            if judged is None:
                raise Refused(problem(404, "BLOB_UNKNOWN", "pratique: ask for the manifest that needs it first"))
            await self._proxy.refuse(asker, route, judged)
        await self._pass(client, await self._ask(client, route, Access("repository", route.repository, ("pull",))))

    async def _begin(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        """Begin an upload; a layer of another repository is taken over only where it could be fetched there."""
        await self._proxy.allow(route, asker, access)
        own = Access("repository", route.repository, ("pull", "push"))
        mounts = "mount" in route.query and self._proxy.may_mount(route, asker, access)
        if mounts:
            source, blob = route.query["from"], route.query["mount"]
            mounts = await self._proxy.judging.blob(self._proxy.front.name, source, blob, asker.line) == ()
        if mounts:
            answered = await self._ask(client, route, own, Access("repository", route.query["from"], ("pull",)), asker=asker)
        else:
            route = route._replace(query={name: value for name, value in route.query.items() if name == "digest"})
            answered = await self._ask(client, route, own, asker=asker)
        self._proxy.began(asker, route, answered)
        await self._pass(client, answered)

    async def _upload(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access)
        self._proxy.own_upload(asker, route)
        # The registry takes giving an upload up for a deletion; it is no more than the end of one's own push.
        may = ("pull", "push", "delete") if route.kind == "upload-cancel" else ("pull", "push")
        await self._pass(client, await self._ask(client, route, Access("repository", route.repository, may), asker=asker))

    # -- passing on ------------------------------------------------------------------------------------------------------------

    async def _ask(self, client: Client, route: Route, *access: Access, asker: Asker | None = None) -> Answered:
        """Pass a request on, with the body where `asker` pushes one."""
        headers = asked_headers(client.headers, self._host(client), self._proxy.shown(*access))
        body: AsyncIterator[bytes] | bytes = self._watched(client, route, asker) if asker is not None else b""
        if asker is None:
            await client.whole(0)
            headers = [(name, value) for name, value in headers if name not in (b"content-length", b"transfer-encoding")]
        return self._checked(await self._upstream.ask(client.method, route.upstream(), headers, body))

    async def _watched(self, client: Client, route: Route, asker: Asker) -> AsyncIterator[bytes]:
        """Yield a body while the push may go on. Raises Gone where it may not any more: what came is worth nothing then."""
        size, looked = 0, time.monotonic()
        async for part in client.body():
            size += len(part)
            if size > MAX_BLOB:
                raise Gone
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if not self._proxy.may_go_on(asker, route.repository):
                    raise Gone
            yield part
        if size and not self._proxy.may_go_on(asker, route.repository):
            raise Gone

    def _checked(self, answered: Answered) -> Answered:
        if answered.status in (401, 403):
            raise UpstreamError("the registry does not take the gate's tokens: see auth.token of its configuration")
        if 300 <= answered.status < 400 and answered.status != 304:
            raise UpstreamError("the registry sends its clients elsewhere: set storage.redirect.disable to true")
        return answered

    async def _pass(self, client: Client, answered: Answered) -> None:
        await client.begin(answered.status, self._headers(answered))
        async for part in self._upstream.body():
            await client.send(part)
        await client.end()

    def _headers(self, answered: Answered) -> list[tuple[bytes, bytes]]:
        return answered_headers(answered.headers, _path_of)

    def _host(self, client: Client) -> str:
        return client.header("host") or self._proxy.front.name


def _path_of(location: str) -> str:
    """Return an address without its host: where the client is is where it came."""
    scheme, mark, rest = location.partition("://")
    return "/" + rest.partition("/")[2] if mark and scheme in ("http", "https") else location


def _needs(route: Route) -> str:
    return "pull,push" if route.access == "push" else route.access
