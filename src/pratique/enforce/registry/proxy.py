"""A request of a registry's client in, whether it may go on out, and the token that the registry takes for it.

Tokens say who asks. Whether a push may go on is asked of the live grants at every request, and while its bytes flow.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from pratique.enforce.admission import Image, Judgement
from pratique.enforce.keeper import refusal
from pratique.enforce.registry.access import SCANNER, Change, Doorman
from pratique.enforce.registry.judging import Judging
from pratique.enforce.registry.manifests import Manifest
from pratique.enforce.registry.relay import Answered
from pratique.enforce.registry.routes import Route, is_digest
from pratique.enforce.registry.service import Asker, TokenService, problem
from pratique.enforce.registry.tokens import SECONDS, Access, TokenError, Tokens
from pratique.enforce.serving import Answer
from pratique.grant.request import key
from pratique.model.privilege import Subject

_MAX_UPLOADS = 10_000
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")
REALM = "%realm%"  # in a challenge, until it is known where the client came to


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

    def __init__(self, front: Front, service: TokenService, doorman: Doorman, upstream: Tokens, judging: Judging) -> None:
        """`upstream` signs what the registry is shown."""
        self.front = front
        self._service = service
        self._doorman = doorman
        self._upstream = upstream
        self._judging = judging
        self._uploads: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._tokens: dict[tuple[Access, ...], tuple[float, str]] = {}

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
        said = f'Bearer realm="{REALM}",service="{self.front.name}"'
        said += (f',scope="{scope}"' if scope else "") + (f',error="{error}"' if error else "")
        return problem(401, "UNAUTHORIZED", "pratique: sign in", ("WWW-Authenticate", said))

    async def allow(self, route: Route, asker: Asker, access: tuple[Access, ...], what: str = "") -> None:
        """Let a request go on. Raises Refused where it may not."""
        wanted, repository, subject = route.access, route.repository, asker.subject
        says = any(one.type == "repository" and one.name == repository and wanted in one.actions for one in access)
        scope = f"repository:{repository}:{'pull,push' if wanted == 'push' else wanted}"
        if wanted == "pull":
            if not self._doorman.may_read(subject, repository):
                raise Refused(await self._unreadable(subject, repository, scope))
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

    async def _unreadable(self, subject: Subject | None, repository: str, scope: str) -> Answer:
        if subject is None:
            return self.challenge(scope)
        why = f"{key(subject)} may not read {repository}: the readers of {self.front.name} do not name them there"
        said = await self._doorman.turned_away(subject, "readers", f"pull {self.front.name}/{repository}", why)
        return problem(403, "DENIED", said)

    async def unlisted(self, asker: Asker) -> Answer:
        """Return the refusal to list all repositories."""
        if asker.subject is None:
            return self.challenge("registry:catalog:*")
        why = f"{key(asker.subject)} may not list all repositories: the catalog of {self.front.name} is not for them"
        return problem(403, "DENIED", await self._doorman.turned_away(asker.subject, "readers", "list repositories", why))

    async def unreadable(self, asker: Asker | None, status: int, code: str, what: str, why: str) -> Answer:
        """Refuse what cannot be read, or could be in two ways; on record where it is known who asks."""
        said = f"pratique: denied: {why}"
        if asker is not None and asker.subject is not None:
            said = await self._doorman.turned_away(asker.subject, "unreadable", what, why)
        return problem(status, code, said)

    async def refuse(self, asker: Asker, route: Route, judgements: Sequence[Judgement]) -> None:
        """Refuse what its verdict forbids, unless a grant lets it, or it is only observed. Raises Refused.

        Whoever may delete an image is shown its manifest, as clients look before they delete; its layers are had by nobody.
        """
        if not judgements:
            return
        if route.kind == "manifest" and self._doorman.would(asker.subject, "delete", route.repository).allowed:
            return
        if sentence := await self._doorman.refused(asker.subject, route.repository, judgements):
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
        self._judging.begin(self.image(route.repository, manifest.digest), manifest, asker.line)

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
