"""The engine's questions about its API requests in, yes or no with the reason out: the AuthZ plugin's protocol.

The engine shows each request before it serves it (AuthZReq), and each answer before it is sent (AuthZRes). It withholds bodies
that are not JSON, and shows none of what hides in them: a write whose body should be seen and is not, is denied.
Source: https://docs.docker.com/engine/extend/plugins_authorization/.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import base64
import binascii
import contextlib
import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pratique.enforce.admission import Admission
from pratique.enforce.docker.identity import GATE, HEADER, certificate_subject, is_nobody, read_stamp, unix_subject
from pratique.enforce.docker.interpret import Interpreter
from pratique.enforce.docker.names import MovingError, Names, Use
from pratique.enforce.docker.question import Question
from pratique.enforce.docker.routes import Route, classify
from pratique.enforce.docker.turns import Turns
from pratique.enforce.keeper import Keeper, Session, refusal
from pratique.enforce.serving import Answer, Asked
from pratique.grant.request import key
from pratique.model.errors import ParseError, PratiqueError
from pratique.model.privilege import Subject

# An engine waits for its plugin, and its user for the engine: what takes longer than this to decide is denied.
DEADLINE = 0.5
# Requests that were let through and not yet answered; the engine has fewer at once.
_MAX_PENDING = 5_000
# Content types whose bodies the engine shows, or that carry an archive; none of them is read as parameters.
_JSON = "application/json"
_ARCHIVES = frozenset(
    ("application/x-tar", "application/tar", "application/octet-stream", "application/gzip", "application/x-gzip")
)
_EMPTY = frozenset(("", "text/plain"))
_TAKES_ARCHIVE = frozenset(("build", "load", "copy-in", "pull"))
# Methods for which the engine looks for parameters in a form: https://pkg.go.dev/net/http#Request.ParseForm.
_MAY_BE_FORMS = frozenset(("POST", "PUT", "PATCH"))
# Times that a name is looked up because somebody moved what it meant; more often is somebody who does nothing else.
_LOOK_UPS = 3
_LATE = "it took too long"
_MANIFEST = b'{"Implements":["authz"]}'


class Message(msgspec.Struct, rename="pascal"):
    """What the engine sends; bodies and certificates are base64 in it."""

    request_method: str = ""
    request_uri: str = ""
    request_body: str = ""
    request_headers: dict[str, str] = {}
    request_peer_certificates: list[str] = []
    response_status_code: int = 0
    response_body: str = ""


class Pending(NamedTuple):
    """A request that was let through, until its answer is known."""

    question: Question
    session: Session
    use: Use


class AuthzPlugin:
    """Answers the engine. `known` names TLS clients by the SHA-256 of their certificates."""

    def __init__(
        self,
        keeper: Keeper,
        interpreter: Interpreter,
        key: bytes,
        known: Mapping[str, str] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._admission = admission
        self._keeper = keeper
        self._interpreter = interpreter
        self._key = key
        self._known = dict(known or {})
        self._turns = Turns()
        self._names = Names()
        self._pending: OrderedDict[str, deque[Pending]] = OrderedDict()
        self._stamps: OrderedDict[str, None] = OrderedDict()
        self._streams: OrderedDict[str, tuple[str, tuple[str, ...]]] = OrderedDict()
        self.decoder = msgspec.json.Decoder(Message)

    async def handle(self, asked: Asked) -> Answer:
        """Serve one call of the plugin protocol."""
        if asked.target == "/Plugin.Activate":
            return Answer(200, _MANIFEST)
        try:
            message = self.decoder.decode(asked.body)
            if asked.target == "/AuthZPlugin.AuthZReq":
                return _said(await self.request(message))
            if asked.target == "/AuthZPlugin.AuthZRes":
                return _said(await self.response(message))
        except msgspec.MsgspecError:
            # An engine whose plugin went away asks the next one with nothing in its hands: something was served.
            self._interpreter.outcomes.provenance.ended_unseen()
            return _said("denied: the engine's message cannot be read")
        return Answer(404, b"{}")

    async def request(self, message: Message) -> str:
        """Return why a request is denied; "" where it is not."""
        try:
            route = classify(message.request_method, message.request_uri)
            if not self._asks(route):
                return ""
            body = visible_body(route, message)
            subject, own = self._subject(message)
            if own and route.kind in ("read", "update", "ordinary", "copy-out"):
                return ""
        except ParseError as error:
            return await self._refused(None, f"{message.request_method} {message.request_uri}", str(error))
        try:
            use = named_in(route)
            await self._names.begin(use)
        except ParseError as error:
            return await self._refused(subject, f"{message.request_method} {route.path}", str(error))
        goes_on = False
        try:
            said = await self._decided(route, body, subject, message, use)
            goes_on = not said
        finally:
            if goes_on:
                self._names.answered(use)
            else:
                self._names.ended(use)
        return said

    def _asks(self, route: Route) -> bool:
        """Say whether there is anything to decide: looking needs nothing, where no rule is about it, and no image is suspect."""
        if route.kind == "save":
            return self._interpreter.outcomes.provenance.doubts
        if route.kind != "read":
            return True
        looks_into = route.path.startswith("/containers/") and bool(route.name)
        return looks_into and self._keeper.policy(self._keeper.moment()).reads

    async def _decided(self, route: Route, body: bytes, subject: Subject | None, message: Message, use: Use) -> str:
        """Return why a request that can be read is denied; "" where it is not."""
        who = key(subject) if subject is not None else ""
        try:
            question = await self._looked_up(route, body, subject, use)
            if use.moves:
                await self._names.move(use)
            if route.kind == "save" and not question.request.extra:
                return ""
            question, note = await self._judged(question)  # which may wait for a scan, as long as its policy says
            async with self._turns.turn(who):
                async with asyncio.timeout(DEADLINE):
                    session = await self._keeper.rule(question.request, question.session, held=question.held, note=note)
                if not session.decision.allowed:
                    await self._turns.pace(who)
        except (PratiqueError, TimeoutError) as error:
            self._names.ended(use)  # where a gate only looks on, it goes on all the same, and nobody tells the end of it
            return await self._refused(subject, f"{message.request_method} {route.path}", str(error) or _LATE)
        if not session.decision.allowed:
            await self._interpreter.outcomes.denied(question)
            return refusal(session.decision, note)
        self._interpreter.outcomes.begun(question)
        self._let_through(message, Pending(question, session, use))
        return ""

    async def _looked_up(self, route: Route, body: bytes, subject: Subject | None, use: Use) -> Question:
        """Find out what is asked for, and anew where its container was moved meanwhile. Who waits for others has no turn."""
        who = key(subject) if subject is not None else ""
        for _ in range(_LOOK_UPS):
            async with self._turns.turn(who), asyncio.timeout(DEADLINE):
                question = await self._interpreter.question(route, body, subject)
            found = question.container or question.request.target.container
            try:
                self._names.found(use, found)
            except MovingError:
                await self._names.settled(use, found)
            else:
                return question
        raise MovingError("its container is being renamed or removed again and again: try again")

    def _let_through(self, message: Message, pending: Pending) -> None:
        """Remember what the engine is going to serve, and whose connection it takes over for that."""
        kind, subject = pending.question.route.kind, pending.question.request.subject
        stamped = message.request_headers.get(HEADER, "")
        if kind == "session" and subject is not None:
            self._interpreter.outcomes.channels.add(stamped, subject)
        if kind in ("attach", "exec-start", "session") and stamped:
            self._streams[stamped] = (pending.session.key, pending.session.decision.grants)
            while len(self._streams) > _MAX_PENDING:
                self._streams.popitem(last=False)
        self._remember(_fingerprint(message), pending)

    async def told(self, asked: Asked, why: str) -> None:
        """Record a request that was denied as nobody decided on it; what answers it is gone already. Raises what goes wrong."""
        if asked.target != "/AuthZPlugin.AuthZReq":
            return
        message = self.decoder.decode(asked.body)
        subject: Subject | None = None
        with contextlib.suppress(ParseError):  # then nobody can tell who it was
            subject, _ = self._claimed(message)
        await self._keeper.failed("docker", subject, f"{message.request_method} {message.request_uri}"[:300], why)

    async def _refused(self, subject: Subject | None, what: str, why: str) -> str:
        """Record what was denied before it could be decided, in the turn of who asked."""
        who = key(subject) if subject is not None else ""
        async with self._turns.turn(who):
            said = await self._keeper.refuse("docker", subject, what[:300], why)
            await self._turns.pace(who)
        return said

    async def _judged(self, question: Question) -> tuple[Question, str]:
        """Have the image judged; return the question with the privilege that a refused one needs, and why it is refused.

        Raises ParseError where no grant can let it run.
        """
        image, admission = question.image, self._admission
        if image is None or admission is None:
            return question, question.note
        if question.request.action == "pull" and not image.digests:
            if admission.spec.pulls == "digest":
                raise ParseError(f"{image.reference}: a tag is whatever it is moved to: pull NAME@sha256:...")
            digest = await admission.resolve(image.reference)
            image = image._replace(digests=(digest,) if digest else (), target=f"registry:{_pinned(image.reference, digest)}")
        subject = question.request.subject
        judgement = await admission.judge(image, "docker", subject=key(subject) if subject is not None else "")
        if judgement.allowed:
            return question, question.note
        if not judgement.privilege:
            raise ParseError(judgement.reason)
        request = msgspec.structs.replace(question.request, extra=(*question.request.extra, judgement.privilege))
        return question._replace(request=request), judgement.reason

    async def response(self, message: Message) -> str:
        """Note which id the engine gave to what was let through. Nothing is denied here: it has been done."""
        waiting = self._pending.get(key := _fingerprint(message))
        if not waiting:
            if self._interpreter.outcomes.provenance.doubts and message.response_status_code == 201:
                with contextlib.suppress(ParseError):  # what no gate lets through was not
                    answer = _object(message.response_body)
                    await self._interpreter.outcomes.done_unasked(message.request_method, message.request_uri, answer)
            return ""
        pending = waiting.popleft()
        if not waiting:
            self._pending.pop(key, None)
        self._names.ended(pending.use)
        if 200 <= message.response_status_code < 400 or message.response_status_code == 101:
            await self._interpreter.outcomes.done(pending.question, pending.session, _object(message.response_body))
        else:
            self._interpreter.outcomes.failed(pending.question)
        return ""

    def streams(self) -> dict[str, tuple[str, ...]]:
        """Return the stamps of connections that the engine may have taken over, with the grants that they live by."""
        return {stamped: grants for stamped, (_, grants) in self._streams.items() if grants}

    def forget_stream(self, stamped: str) -> None:
        """Forget a connection that was cut."""
        self._streams.pop(stamped, None)

    def _remember(self, key: str, pending: Pending) -> None:
        self._pending.setdefault(key, deque()).append(pending)
        while len(self._pending) > _MAX_PENDING:
            for forgotten in self._pending.popitem(last=False)[1]:
                self._interpreter.outcomes.failed(forgotten.question)

    def _subject(self, message: Message) -> tuple[Subject | None, bool]:
        """Return who asks, None where nobody can tell, and whether it is this gate itself.

        Raises ParseError where it is claimed twice, or falsely.
        """
        stamped = message.request_headers.get(HEADER, "")
        if stamped in self._stamps:
            raise ParseError("the identity was used for an earlier request")
        found = self._claimed(message)
        if stamped:
            self._stamps[stamped] = None
            while len(self._stamps) > _MAX_PENDING:
                self._stamps.popitem(last=False)
        return found

    def _claimed(self, message: Message) -> tuple[Subject | None, bool]:
        """Return the same, whether or not a stamp was used before."""
        stamped = message.request_headers.get(HEADER, "")
        peers = message.request_peer_certificates
        if stamped and peers:
            raise ParseError("the request has two identities")
        if stamped:
            now = self._keeper.moment().wall
            peer = read_stamp(self._key, stamped, message.request_method, message.request_uri, now)
            if peer.uid == GATE:
                return None, True
            return (None if is_nobody(peer.uid) else unix_subject(peer.uid, peer.gid)), False
        if peers:
            return certificate_subject(_bytes(peers[0]), self._known), False
        return None, False


def visible_body(route: Route, message: Message) -> bytes:
    """Return the body, as far as the engine shows it. Raises ParseError where there may be one that it does not show.

    Parameters that come as a form override those of the request line, and the engine shows no forms.
    """
    headers = {name.lower(): value for name, value in message.request_headers.items()}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _bytes(message.request_body)
    if HEADER.lower() not in headers and message.request_method in _MAY_BE_FORMS:
        return _surely_visible(route, kind, headers.get("content-length", ""), body)
    if kind == _JSON:
        if not body and headers.get("content-length") != "0" and "upgrade" not in headers:
            raise ParseError("the engine does not show the body of this request")
        return body
    if kind in _ARCHIVES and route.kind in _TAKES_ARCHIVE:
        return b""
    if kind in _EMPTY and (headers.get("content-length", "0") == "0" or route.kind in _TAKES_ARCHIVE):
        return b""
    raise ParseError(f"a request of the type {kind[:60]!a} has a body that the engine does not show")


def _surely_visible(route: Route, kind: str, length: str, body: bytes) -> bytes:
    """Return the body of a request that did not come by the front socket, which would have seen to it that it has one type.

    Of several the engine goes by the first and shows the last, and of a body in chunks it says nothing: so only what it shows is
    there, or what says that it is empty. A form in place of an archive leaves none to be read: a build runs what it always may,
    its steps are decided on when they start, and nothing is loaded or copied. What is pulled, a form would change.
    """
    if length == "0" or (kind == _JSON and body):
        return body
    if kind in _ARCHIVES | _EMPTY and route.kind in _TAKES_ARCHIVE and route.kind != "pull":
        return b""
    raise ParseError("a body that the engine may not show: send Content-Length: 0 where there is none, or use the front socket")


def named_in(route: Route) -> Use:
    """Return the container that a request names, and whether it may take that name away. Raises ParseError."""
    if route.kind == "commit":
        return Use(route.one("container"), moves=False)
    if not route.path.startswith("/containers/") or not route.name:
        return Use("", moves=False)
    to = route.one("name").removeprefix("/") if route.path.endswith("/rename") else ""
    return Use(route.name, moves=bool(to) or route.path == f"/containers/{route.name}", to=to)


def _fingerprint(message: Message) -> str:
    """Return what a request and its answer have in common; requests that are alike stand in line."""
    parts = (
        message.request_method,
        message.request_uri,
        message.request_body,
        message.request_headers.get(HEADER, ""),
        *message.request_peer_certificates,
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ParseError("the engine's message cannot be read") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(text) or b"{}")
    except (ParseError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _pinned(reference: str, digest: str) -> str:
    """Return a name with what its tag means now."""
    name, colon, tag = reference.rpartition(":")
    bare = name if colon and "/" not in tag else reference
    return f"{bare}@{digest}" if digest else reference


def _said(why: str) -> Answer:
    if not why:
        return Answer(200, b'{"Allow":true}')
    return Answer(200, json.dumps({"Allow": False, "Msg": why}).encode())


def failed(_: Asked, why: str) -> Answer:
    """Return the denial of a plugin that could not decide."""
    return Answer(200, json.dumps({"Allow": False, "Msg": f"pratique: {why}", "Err": ""}).encode())
