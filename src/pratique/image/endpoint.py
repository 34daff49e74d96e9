"""One registry and one repository in, authorised requests out: OCI distribution, token and basic authentication.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
https://distribution.github.io/distribution/spec/auth/token/

Where credentials go: to the registry they were stored for, and to the token server that this registry names, over https or a
loopback address (plain HTTP only where the person allowed it for that host). Never to a mirror, to storage that a registry
redirects to, or to any other host.
"""

from __future__ import annotations

import ipaddress
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique._kit import http
from pratique.image import credentials
from pratique.image.credentials import Credentials
from pratique.image.options import SourceOptions
from pratique.image.reference import DOCKER_HUB, ImageName
from pratique.model.errors import IntegrityError, RegistryError, TargetNotFoundError

if TYPE_CHECKING:
    import httpx2

MAX_TOKEN_ANSWER = 1 << 20  # tokens of clouds have some KiB
MAX_ERROR_BODY = 64 << 10
MAX_LOGINS = 2  # in one request: the first, and one more where a token ran out on the way
HUB_HOST = "registry-1.docker.io"
_CLIENT_ID = "pratique"
_CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")  # where engines look for the authorities of one registry


class Place(NamedTuple):
    """Where a repository is asked for: host[:port], the path, and whether plain HTTP was allowed in so many words."""

    host: str
    repository: str
    registry: str
    plain: bool = False
    mirror: bool = False


def is_loopback(host: str) -> bool:
    """Say whether host[:port] is this machine by its address or as localhost."""
    name = _bare(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bare(host: str) -> str:
    """Host without port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def is_insecure(host: str, options: SourceOptions) -> bool:
    """Say whether the person allowed an unchecked certificate or plain HTTP for this host."""
    return host in options.insecure or _bare(host) in options.insecure


def places(name: ImageName, options: SourceOptions) -> list[Place]:
    """Return where an image is asked for: the mirrors of its registry in their order, then the registry."""
    found = []
    for mirror in options.mirrors.get(name.registry, ()):
        plain = mirror.startswith("http://")
        host, _, prefix = mirror.removeprefix("http://").removeprefix("https://").strip("/").partition("/")
        prefix = prefix.removesuffix("/v2").strip("/")
        repository = f"{prefix}/{name.repository}" if prefix and prefix != "v2" else name.repository
        found.append(Place(host, repository, host, plain, mirror=True))
    host = HUB_HOST if name.registry == DOCKER_HUB else name.registry
    return [*found, Place(host, name.repository, name.registry)]


class Clients:
    """HTTP clients by how much their hosts are trusted. Close them by `close`."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._made: dict[str, httpx2.Client] = {}
        self._lock = threading.Lock()

    def of(self, host: str) -> httpx2.Client:
        """Return the client for host[:port]."""
        with self._lock:
            if host not in self._made:
                loopback = is_loopback(host)
                trusting = loopback or is_insecure(host, self._options)
                self._made[host] = http.make_client(verify=False if trusting else _context(host), direct=loopback)
            return self._made[host]

    def close(self) -> None:
        """Close all connections."""
        for client in self._made.values():
            client.close()


def _context(host: str) -> Any:
    """The authorities of the system, and those that the engines' configuration has for this registry."""
    import ssl

    import httpx2

    context = httpx2.create_ssl_context()
    for folder in _CERTIFICATES:
        for path in sorted(Path(folder, host).glob("*.crt")):
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise RegistryError(f"{path} is no certificate that can be read: {error}") from None
    return context


class Endpoint:
    """One place, spoken to. Threads may share it."""

    def __init__(self, place: Place, clients: Clients, options: SourceOptions) -> None:
        self.place = place
        self.dead: RegistryError | None = None
        self._clients = clients
        self._options = options
        self._lock = threading.Lock()
        self._authorization = ""
        self._scheme = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.place.host if self.place.mirror else self.place.registry}/{self.place.repository}"

    def get(
        self, path: str, headers: dict[str, str], *, method: str = "GET", accept: tuple[int, ...] = (200,)
    ) -> httpx2.Response:
        """Ask for /v2/<repository>/<path>; log in if need be. Raises RegistryError, TargetNotFoundError, IntegrityError."""
        if self._options.offline:
            raise RegistryError(
                f"{self.name} is not here and may not be asked: --offline",
                hint="scan an archive, or an image by a digest seen before",
            )
        try:
            response = self._ask(path, headers, method)
        except http.Unreachable as error:
            self.dead = RegistryError(f"{self.place.host}: {error.message}", hint=error.hint)
            raise self.dead from error
        if response.status_code in accept:
            return response
        try:
            raise self._refused(response, path)
        finally:
            response.close()

    # -- authorised requests ----------------------------------------------------------------------------------------------------

    def _ask(self, path: str, headers: dict[str, str], method: str) -> httpx2.Response:
        client = self._clients.of(self.place.host)
        url = f"{self._base(client)}/v2/{self.place.repository}/{path}"
        for login in range(MAX_LOGINS + 1):
            used = self._authorization
            sent = headers | ({"Authorization": used} if used else {})
            response = http.exchange(client, client.build_request(method, url, headers=sent))
            if response.status_code != 401 or login == MAX_LOGINS:
                return response
            challenges = response.headers.get_list("www-authenticate")
            if response.url.host != _bare(self.place.host).lower() or not self._log_in(challenges, used):
                return response
            response.close()
        raise AssertionError("the loop returns")

    def _base(self, client: httpx2.Client) -> str:
        """https, or http where it is allowed and https does not answer. Asked without credentials."""
        with self._lock:
            if not self._scheme:
                self._scheme = "http" if self.place.plain else "https"
                if not self.place.plain and (is_loopback(self.place.host) or is_insecure(self.place.host, self._options)):
                    self._scheme = self._probe(client)
            return f"{self._scheme}://{self.place.host}"

    def _probe(self, client: httpx2.Client) -> str:
        for scheme in ("https", "http"):
            try:
                http.exchange(client, client.build_request("GET", f"{scheme}://{self.place.host}/v2/"), attempts=1).close()
            except http.Unreachable as error:
                if scheme == "http" or error.kind == "name":
                    raise
            else:
                return scheme
        raise AssertionError("the loop returns or raises")

    def _log_in(self, challenges: list[str], used: str) -> bool:
        """Get an authorisation that differs from the one that was refused; say whether there is one."""
        with self._lock:
            if self._authorization != used:
                return True  # another thread was quicker
            offered = dict(reversed([item for text in challenges for item in parse_challenges(text)]))
            login = self._credentials()
            if "bearer" in offered:
                self._authorization = f"Bearer {self._token(offered['bearer'], login)}"
            elif "basic" in offered and login is not None and not login.identity_token:
                self._authorization = login.basic()
            return self._authorization != used

    def _credentials(self) -> Credentials | None:
        if self._options.username and not self.place.mirror:
            return Credentials(self._options.username, self._options.password, "", "--username")
        return credentials.find(self.place.registry, self.place.repository)

    def _token(self, challenge: dict[str, str], login: Credentials | None) -> str:
        import httpx2

        try:
            realm = httpx2.URL(challenge.get("realm", ""))
        except httpx2.InvalidURL:
            raise RegistryError(f"{self.place.host} names no token server that can be asked") from None
        host = f"{realm.host}:{realm.port}" if realm.port else realm.host
        here, trusted = is_loopback(host), is_insecure(host, self._options)
        allowed = realm.scheme == "https" or (realm.scheme == "http" and (here or trusted))
        if here and not (trusted or is_loopback(self.place.host)):
            allowed = False  # a registry elsewhere has no token server here, but may want us to knock at this machine's doors
        if not allowed or not realm.host or realm.userinfo:
            raise RegistryError(
                f"{self.place.host} names the token server {realm.scheme}://{host}, which is not safe to log in to"
            )
        scope = challenge.get("scope") or f"repository:{self.place.repository}:pull"
        fields = {"service": challenge.get("service", ""), "scope": scope}
        client = self._clients.of(host)
        if login is not None and login.identity_token:
            form = fields | {"grant_type": "refresh_token", "client_id": _CLIENT_ID, "refresh_token": login.identity_token}
            request = client.build_request("POST", realm, data=form)
        else:
            headers = {"Authorization": login.basic()} if login is not None else {}
            request = client.build_request("GET", realm.copy_merge_params(fields), headers=headers)
        return self._answered(http.exchange(client, request), host, login)

    def _answered(self, response: httpx2.Response, host: str, login: Credentials | None) -> str:
        body = http.read_body(response, MAX_TOKEN_ANSWER, f"{host}: the token")
        if response.status_code in (400, 401, 403):
            who = f"the login of {login.username or 'the identity token'} ({login.source})" if login else "access without a login"
            raise RegistryError(f"{self.name}: {host} refuses {who}", hint=f"docker login {self.place.registry}")
        if response.status_code != 200:
            raise self._refused(response, "token", body)
        try:
            document = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise RegistryError(f"{host} does not answer with a token") from None
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"{host} does not answer with a token")
        return token

    # -- refusals ---------------------------------------------------------------------------------------------------------------

    def _refused(
        self, response: httpx2.Response, path: str, body: bytes | None = None
    ) -> RegistryError | TargetNotFoundError | IntegrityError:
        """One clear line: who refused what, and what to do about it."""
        status = response.status_code
        said = _said(body if body is not None else _start_of(response))
        if status == 401:
            return RegistryError(
                f"{self.name}: a login is needed, or there is no such repository{said}",
                hint=f"docker login {self.place.registry}",
            )
        if status == 403:
            return RegistryError(f"{self.name}: access denied{said}", hint="the login has no right to pull it")
        if status == 404 and path.startswith("blobs/") and not self.place.mirror:
            return IntegrityError(f"{self.name}: the registry has lost {path.removeprefix('blobs/')}, which the manifest names")
        if status == 404:
            return TargetNotFoundError(f"{self.name}: the registry has no image {path.removeprefix('manifests/')}{said}")
        if status == 429:
            wait = response.headers.get("retry-after", "")
            after = f"try again in {wait} seconds" if wait.isdigit() else "try again later"
            return RegistryError(f"{self.name}: too many requests (429){said}", hint=f"{after}; who is logged in is allowed more")
        return RegistryError(f"{self.name}: {response.url.host} answers with status {status}{said}", hint="try again later")


def _start_of(response: httpx2.Response) -> bytes:
    """Return a bounded part of an error's body, or nothing: it is only for the message."""
    import httpx2

    try:
        return next(response.iter_raw(MAX_ERROR_BODY), b"")[:MAX_ERROR_BODY]
    except (httpx2.TransportError, httpx2.StreamError):
        return b""


def _said(body: bytes) -> str:
    """The registry's own words, if it uses the error format of the specification; bounded and without control characters."""
    try:
        errors = msgspec.json.decode(body, type=dict[str, Any]).get("errors")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    text = str(first.get("message") or first.get("code") or "")[:200]
    cleaned = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return f" ({cleaned})" if cleaned else ""


def parse_challenges(text: str) -> list[tuple[str, dict[str, str]]]:
    """Parse WWW-Authenticate (RFC 9110, 11.6.1): schemes in lower case, with parameters. What does not fit is skipped."""
    import re  # noqa: PLC0415

    word = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    pattern = re.compile(rf'\s*,*\s*(?:({word})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({word}))|({word})(?=\s|,|$))')
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while match := pattern.match(text[:8192], at):
        at = match.end()
        if match[4]:
            found.append((match[4].lower(), {}))
        elif found:
            value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
            found[-1][1].setdefault(match[1].lower(), value)
    return found
