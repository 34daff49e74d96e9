"""Requests of registry clients in; what they may have, out of the registry behind the gate: each one decided when it comes.

Tokens say who asks. Whether a push may go on is asked of the live grants at every request, and while its bytes flow. What is
pulled is judged by its digest: a manifest is held here until it has been, and it is those bytes that are given out, so that a tag
that moves in between changes nothing.
"""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from pratique.enforce.admission import Image
from pratique.enforce.keeper import refusal
from pratique.enforce.registry.access import SCANNER, Change, Doorman
from pratique.enforce.registry.exchange import Client, Gone
from pratique.enforce.registry.judging import Judging
from pratique.enforce.registry.manifests import MAX_MANIFEST, Manifest, read_manifest
from pratique.enforce.registry.relay import Answered, Upstream, UpstreamError, answered_headers, asked_headers
from pratique.enforce.registry.routes import Route, classify, is_digest
from pratique.enforce.registry.service import MAX_BODY, AskedForToken, Asker, TokenService, problem
from pratique.enforce.registry.tokens import SECONDS, Access, TokenError, Tokens
from pratique.enforce.serving import Answer
from pratique.grant.request import key
from pratique.model.errors import ParseError, PratiqueError
from pratique.model.privilege import Subject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Bytes of one upload; the largest layers of real images have some 10 GiB.
MAX_BLOB = 64 << 30
# Seconds between two questions whether a push may go on whose bytes are flowing.
LOOK = 0.5
_MAX_UPLOADS = 10_000
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")


_REALM = "%realm%"  # in a challenge, until it is known where the client came to


class Front(NamedTuple):
    """How clients know the registry: `name` in tokens and privileges; `realm`, where tokens are had.

    Without a realm it is where the client came to, by `scheme`.
    """

    name: str
    realm: str = ""
    scheme: str = "http"

    def realm_for(self, host: str) -> str:
        """Return where a client gets tokens that came to this host."""
        return self.realm or f"{self.scheme}://{host if _HOST.fullmatch(host) else self.name}/token"


class Refused(Exception):  # noqa: N818 - it is an answer
    """The answer that ends a request."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Proxy:
    """One registry's gate. `admission` is None where images are not judged."""

    def __init__(
        self, front: Front, behind: tuple[str, int], service: TokenService, doorman: Doorman, upstream: Tokens, judging: Judging
    ) -> None:
        """`behind` is the registry's address, `upstream` signs what it is shown."""
        self.front = front
        self._behind = behind
        self._service = service
        self._doorman = doorman
        self._upstream = upstream
        self._judging = judging
        self._uploads: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._tokens: dict[tuple[Access, ...], tuple[float, str]] = {}

    def connection(self, *, own: bool = False) -> Conversation:
        """Return what serves one connection; `own` is one of the gate's own listener."""
        return Conversation(self, Upstream(*self._behind), own=own)

    # -- decisions -------------------------------------------------------------------------------------------------------------

    def asker(self, authorization: str, *, own: bool) -> tuple[Asker, tuple[Access, ...]] | None:
        """Return who shows a token, None where there is none that holds."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            asker, access = self._service.read(token.strip())
        except TokenError:
            return None
        return (asker, access) if (asker.name == SCANNER) == own else None

    def challenge(self, scope: str = "", error: str = "") -> Answer:
        """Return how to come by a token."""
        said = f'Bearer realm="{_REALM}",service="{self.front.name}"'
        said += (f',scope="{scope}"' if scope else "") + (f',error="{error}"' if error else "")
        return problem(401, "UNAUTHORIZED", "pratique: sign in", ("WWW-Authenticate", said))

    async def allow(self, route: Route, asker: Asker, access: tuple[Access, ...], what: str = "") -> None:
        """Let a request go on. Raises Refused where it may not."""
        wanted, repository, subject = route.access, route.repository, asker.subject
        says = any(one.type == "repository" and one.name == repository and wanted in one.actions for one in access)
        scope = f"repository:{repository}:{'pull,push' if wanted == 'push' else wanted}"
        if wanted == "pull":
            if not self._doorman.may_read(subject, repository):
                raise Refused(self._unreadable(subject, repository, scope))
            if not says:
                raise Refused(self.challenge(scope, "insufficient_scope"))
            return
        change: Change = "push" if wanted == "push" else "delete"
        if not says and subject is not None and self._doorman.offers(subject, change, repository):
            raise Refused(self.challenge(scope, "insufficient_scope"))  # granted since the token was made
        if subject is None:
            raise Refused(self.challenge(scope))
        decision = await self._doorman.change(subject, change, repository, what)
        if not decision.allowed:
            raise Refused(problem(403, "DENIED", refusal(decision)))
        if not says:  # granted between the two questions
            raise Refused(self.challenge(scope, "insufficient_scope"))

    def _unreadable(self, subject: Subject | None, repository: str, scope: str) -> Answer:
        if subject is None:
            return self.challenge(scope)
        return problem(403, "DENIED", f"pratique: {key(subject)} may not read {repository}")

    async def refuse(self, asker: Asker, route: Route, why: str) -> None:
        """Refuse what its verdict forbids, and have that on record; where it is only observed it goes on. Raises Refused.

        Whoever may delete an image is shown its manifest, as clients look before they delete; its layers are had by nobody.
        """
        if route.kind == "manifest" and self._doorman.would(asker.subject, "delete", route.repository).allowed:
            return
        if sentence := await self._doorman.refused(asker.subject, route.repository, why):
            raise Refused(problem(403, "DENIED", sentence))

    def may_mount(self, route: Route, asker: Asker, access: tuple[Access, ...]) -> bool:
        """Say whether a layer may be taken over from another repository: only by who may fetch it there."""
        source = route.query.get("from", "")
        says = any(one.name == source and "pull" in one.actions for one in access)
        return bool(source) and says and self._doorman.may_read(asker.subject, source)

    def may_go_on(self, asker: Asker, repository: str) -> bool:
        """Say whether a push may go on, while it does."""
        return self._doorman.still(asker.subject, repository)

    def may_list(self, asker: Asker) -> bool:
        return self._doorman.may_list(asker.subject)

    def own_upload(self, asker: Asker, route: Route) -> None:
        """Refuse an upload that somebody else began, or in another repository: as if there were none. Raises Refused."""
        if asker.subject is None or self._uploads.get(route.reference) != (key(asker.subject), route.repository):
            raise Refused(problem(404, "BLOB_UPLOAD_UNKNOWN", "pratique: there is no such upload"))

    def began(self, asker: Asker, route: Route, answered: Answered) -> None:
        """Note whose an upload is."""
        name = answered.one(b"docker-upload-uuid") or answered.one(b"location").partition("?")[0].rpartition("/")[2]
        if asker.subject is not None and answered.status == 202 and name:
            self._uploads[name] = (key(asker.subject), route.repository)
            while len(self._uploads) > _MAX_UPLOADS:
                self._uploads.popitem(last=False)

    async def pushed(self, asker: Asker, route: Route, manifest: Manifest) -> None:
        """Note that a manifest is there; where a tag leads to it the push has ended."""
        await self._judging.learn(route.repository, manifest)
        if not is_digest(route.reference):
            self._doorman.tagged(asker.subject, route.repository)
        self._judging.begin(self.image(route.repository, manifest.digest), manifest)

    def image(self, repository: str, digest: str) -> Image:
        """Name an image as people do. It is known by its manifest's digest alone: another may name the same configuration."""
        return Image(f"{self.front.name}/{repository}@{digest}", (digest,))

    def shown(self, *access: Access) -> str:
        """Return a token that the registry takes, for this and nothing else."""
        now = time.monotonic()
        made, token = self._tokens.get(access, (0.0, ""))
        if not token or now - made > SECONDS / 2:
            if len(self._tokens) > 1000:
                self._tokens.clear()
            token, _ = self._upstream.issue("pratique-gate", access, SECONDS)
            self._tokens[access] = (now, token)
        return token

    @property
    def judging(self) -> Judging:
        """Who judges what is pulled."""
        return self._judging

    @property
    def service(self) -> TokenService:
        """Who gives tokens."""
        return self._service


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
            headers = tuple((name, value.replace(_REALM, realm)) for name, value in refused.answer.headers)
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
            raise Refused(problem(404, "UNSUPPORTED", f"pratique: denied: {error}")) from None
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
            raise Refused(problem(403, "DENIED", "pratique: you may not list all repositories"))
        await self._pass(client, await self._ask(client, route, Access("registry", "catalog", ("*",))))

    async def _manifest(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        """Hold a manifest until it is judged, then give out these very bytes."""
        await self._proxy.allow(route, asker, access)
        answered = await self._ask(client, route, Access("repository", route.repository, ("pull",)))
        if answered.status != 200:
            await self._pass(client, answered)
            return
        if client.method == "HEAD":
            digest = answered.one(b"docker-content-digest")
            if not self._own and (why := self._proxy.judging.known(self._proxy.image(route.repository, digest))):
                await self._proxy.refuse(asker, route, why)
            await self._pass(client, answered)
            return
        body = await self._upstream.whole(MAX_MANIFEST)
        try:
            manifest = read_manifest(body, answered.one(b"content-type"))
        except ParseError as error:
            raise Refused(problem(403, "DENIED", f"pratique: denied: {error}")) from None
        if is_digest(route.reference) and manifest.digest != route.reference:
            raise UpstreamError("the registry gave another manifest than it was asked for")
        if not self._own:
            await self._proxy.judging.learn(route.repository, manifest)
            why = await self._proxy.judging.manifest(self._proxy.image(route.repository, manifest.digest), manifest)
            if why:
                await self._proxy.refuse(asker, route, why)
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
            raise Refused(problem(400, "MANIFEST_INVALID", f"pratique: {error}")) from None
        await self._proxy.allow(route, asker, access, manifest.digest)
        token = self._proxy.shown(Access("repository", route.repository, ("pull", "push")))
        headers = [(name, value) for name, value in client.headers if name not in (b"transfer-encoding", b"content-length")]
        asked = asked_headers([*headers, (b"content-length", b"%d" % len(body))], self._host(client), token)
        answered = self._checked(await self._upstream.ask("PUT", route.upstream(), asked, body))
        if answered.status == 201:
            await self._proxy.pushed(asker, route, manifest)
        await self._pass(client, answered)

    async def _delete(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access, route.reference)
        answered = await self._ask(client, route, Access("repository", route.repository, ("delete",)))
        if answered.status == 202 and route.kind == "manifest-delete":
            self._proxy.judging.forget(route.repository, route.reference)
        await self._pass(client, answered)

    async def _blob(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        await self._proxy.allow(route, asker, access)
        if client.method == "GET" and not self._own:
            why = await self._proxy.judging.blob(self._proxy.front.name, route.repository, route.reference)
            if why is None:
                raise Refused(problem(404, "BLOB_UNKNOWN", "pratique: ask for the manifest that needs it first"))
            if why:
                await self._proxy.refuse(asker, route, why)
        await self._pass(client, await self._ask(client, route, Access("repository", route.repository, ("pull",))))

    async def _begin(self, client: Client, route: Route, asker: Asker, access: tuple[Access, ...]) -> None:
        """Begin an upload; a layer of another repository is taken over only where it could be fetched there."""
        await self._proxy.allow(route, asker, access)
        own = Access("repository", route.repository, ("pull", "push"))
        mounts = "mount" in route.query and self._proxy.may_mount(route, asker, access)
        if mounts:
            source, blob = route.query["from"], route.query["mount"]
            mounts = await self._proxy.judging.blob(self._proxy.front.name, source, blob) == ""
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
        await self._pass(
            client, await self._ask(client, route, Access("repository", route.repository, ("pull", "push")), asker=asker)
        )

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


def new_password() -> str:
    """Return the password of the gate's own reader, which lives as long as the process."""
    return secrets.token_hex(32)
