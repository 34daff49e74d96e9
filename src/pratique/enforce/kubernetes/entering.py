"""Who enters a pod (exec, attach, port-forward, proxy) in, the questions that stand behind it out.

The review of an exec names a container and a command, but not what the container is: the pod is looked up. Where that fails it
is taken for the worst, so that only a grant for a privileged container would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from pratique.enforce.kubernetes.api import ApiClient
from pratique.enforce.kubernetes.pods import Process, default_container, processes
from pratique.enforce.kubernetes.review import Admission
from pratique.grant.request import Request, Target
from pratique.model.errors import CouldNotError, ParseError, PratiqueError
from pratique.model.privilege import Subject

# A connection into a pod's network reaches what listens there for itself alone: as much as attaching gives.
_ATTACHING = ("attach", "portforward", "proxy")
_MAX_WORDS = 1_000
_MAX_LETTERS = 128 << 10  # what a kernel takes for one argument


class Entering:
    """Looks pods up for one cluster."""

    def __init__(self, api: ApiClient | None, cluster: str) -> None:
        self._api = api
        self._cluster = cluster

    async def ways(self, subject: Subject | None, sub: str, namespace: str, name: str) -> list[Request]:
        """Return the questions for each container of a pod; one about an unknown one where there is none."""
        found = await self._processes(namespace, name) if name else []
        requests = [_request(subject, sub, one) for one in found]
        return requests or [_request(subject, sub, self._unknown(namespace, name, ""))]

    async def request(self, review: Admission, subject: Subject | None) -> Request:
        """Return the question for a CONNECT. Raises ParseError."""
        item, sub = review.item, review.resource.sub
        container = item.get("container") or ""
        if not isinstance(container, str):
            raise ParseError("the review's container is no name")
        process = await self._process(review, container)
        return msgspec.structs.replace(_request(subject, sub, process), argv=_command(item) if sub == "exec" else ())

    async def _process(self, review: Admission, container: str) -> Process:
        found = await self._processes(review.namespace, review.name)
        if not container and found:
            pod = await self._pod(review.namespace, review.name)
            container = default_container(pod) or str(found[0].target.container.rpartition("/")[2])
        wanted = f"{review.namespace}/{review.name}/{container}"
        mine = [one for one in found if one.target.container == wanted]
        return mine[0] if mine else self._unknown(review.namespace, review.name, container)

    async def _processes(self, namespace: str, name: str) -> list[Process]:
        try:
            return list(processes(await self._pod(namespace, name), self._cluster))
        except PratiqueError:
            return []

    async def _pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        if self._api is None:
            raise CouldNotError("no API server is known")
        return await self._api.pod(namespace, name)

    def _unknown(self, namespace: str, name: str, container: str) -> Process:
        where = f"{namespace}/{name}/{container}" if container else ""
        return Process(Target(cluster=self._cluster, namespace=namespace, container=where, privileged=True), None)


def _request(subject: Subject | None, sub: str, process: Process) -> Request:
    action: Literal["attach", "exec"] = "attach" if sub in _ATTACHING else "exec"
    return Request(subject=subject, action=action, point="kubernetes", target=process.target, spec=process.spec)


def _command(item: Mapping[str, Any]) -> tuple[str, ...]:
    words = item.get("command") or []
    if not isinstance(words, list) or len(words) > _MAX_WORDS or not all(isinstance(word, str) for word in words):
        raise ParseError("the review's command is no list of words")
    if sum(map(len, words)) > _MAX_LETTERS:
        raise ParseError("the review's command is too long")
    return tuple(words)
