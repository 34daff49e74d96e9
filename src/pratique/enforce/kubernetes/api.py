"""A pod's name in, the pod as the API server has it out: the one question that the gate asks back, within a bounded time."""

from __future__ import annotations

import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pratique.model.errors import ConfigurationError, CouldNotError

if TYPE_CHECKING:
    import ssl

    import httpx2

SECONDS = 0.3  # of the 0.5 s that a review may take
KEEP_SECONDS = 1.0  # an exec is reviewed twice within milliseconds; nothing is believed for longer
MAX_KEPT = 50  # a pod may have 1.5 MiB, and what is kept is of use for a second
MAX_ANSWER = 4 << 20
# With 0 the object goes at once and its node kills what ran in it half a minute later; with 1 it kills first.
_LAST_SECONDS = 1
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# As the API server has them: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class ApiClient:
    """Reads pods, with the token of the gate's own service account, which is read again each time: it is exchanged hourly."""

    def __init__(self, address: str, token: Path | None, authority: Path | None) -> None:
        """`address` is `https://HOST:PORT`. Raises ConfigurationError."""
        if not address.startswith("https://"):
            raise ConfigurationError(f"--api-server {address}: an address begins with https://")
        import ssl

        try:
            self._context: ssl.SSLContext = ssl.create_default_context(cafile=str(authority) if authority else None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{authority}: no certificates of an authority: {error}") from None
        self._address = address.rstrip("/")
        self._token = token
        self._client: httpx2.AsyncClient | None = None
        self._kept: OrderedDict[tuple[str, str], tuple[float, Mapping[str, Any]]] = OrderedDict()

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        """Return a pod. Raises CouldNotError."""
        now = time.monotonic()
        kept = self._kept.get((namespace, name))
        if kept is not None and now - kept[0] < KEEP_SECONDS:
            return kept[1]
        pod = await self._get(f"/api/v1/namespaces/{_safe(namespace)}/pods/{_safe(name)}")
        if pod.get("kind") != "Pod":
            raise CouldNotError(f"the API server's answer about {namespace}/{name} is no pod")
        self._keep(namespace, name, now, pod)
        return pod

    def _keep(self, namespace: str, name: str, now: float, pod: Mapping[str, Any]) -> None:
        self._kept[namespace, name] = (now, pod)
        self._kept.move_to_end((namespace, name))
        while len(self._kept) > MAX_KEPT or now - next(iter(self._kept.values()))[0] > KEEP_SECONDS:
            self._kept.popitem(last=False)

    async def evict(self, namespace: str, name: str, uid: str) -> int:
        """Delete a pod that is still the one with this uid, as fast as its node can; return the answer's status.

        Raises CouldNotError.
        """
        body = {
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": _LAST_SECONDS, "preconditions": {"uid": uid},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{_safe(namespace)}/pods/{_safe(name)}"
        status, _ = await self._ask("DELETE", path, json.dumps(body).encode())
        return status

    async def read(self, path: str, seconds: float) -> tuple[int, Mapping[str, Any]]:
        """Return the status and the object of any answer, for somebody who waits for it. Raises CouldNotError."""
        status, body = await self._ask("GET", path, b"", seconds)
        return status, _object(body, path)

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _get(self, path: str) -> Mapping[str, Any]:
        status, body = await self._ask("GET", path, b"")
        if status != 200:
            raise CouldNotError(f"the API server answered {status} about {path}")
        return _object(body, path)

    async def _ask(self, method: str, path: str, body: bytes, seconds: float = SECONDS) -> tuple[int, bytes]:
        import asyncio

        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(verify=self._context, timeout=seconds, trust_env=False)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {self._token.read_text('ascii').strip()}"
            async with asyncio.timeout(seconds):
                answer = await self._client.request(method, self._address + path, headers=headers, content=body)
        except (OSError, ValueError, httpx2.HTTPError) as error:
            raise CouldNotError(f"the API server does not answer: {type(error).__name__}") from None
        if len(answer.content) > MAX_ANSWER:
            raise CouldNotError(f"the API server's answer about {path} is too large")
        return answer.status_code, answer.content


def in_cluster() -> ApiClient | None:
    """Return a client for the cluster that this process runs in; None outside of one. Raises ConfigurationError."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (ACCOUNT / "token").exists():
        return None
    named = f"[{host}]" if ":" in host else host
    return ApiClient(f"https://{named}:{port}", ACCOUNT / "token", ACCOUNT / "ca.crt")


def _object(body: bytes, path: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise CouldNotError(f"the API server's answer about {path} is no JSON") from None
    return answer if isinstance(answer, dict) else {}


def _safe(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CouldNotError(f"{name[:80]!r} is no name of a pod or namespace")
    return quote(name, safe="")
