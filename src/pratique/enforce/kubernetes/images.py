"""The images of a pod in, why they may not run out: each by its digest, within what is left of a review's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pratique.enforce.kubernetes.pods import digest_in
from pratique.workload.spec import Spec

if TYPE_CHECKING:
    from pratique.enforce.admission import Image, Judgement
    from pratique.model.privilege import Point

SECONDS = 0.3  # of the 0.5 s that a review may take; a scan that takes longer goes on, and the next try finds its verdict


class Judge(Protocol):
    """What of `pratique.enforce.admission.Admission` is used here."""

    async def judge(self, image: Image, point: Point, *, deadline: float | None = None, subject: str = "") -> Judgement: ...

    async def resolve(self, reference: str, deadline: float | None = None) -> str: ...

    async def close(self) -> None: ...


class Refused(NamedTuple):
    """Why an image may not run, and the privilege by which it might, "" where there is none."""

    reason: str
    privilege: str


async def refusals(judge: Judge, specs: Sequence[Spec], whose: str = "") -> dict[str, Refused]:
    """Return what may not run, by reference. A tag is judged by what it means now, which it need not mean later.

    Scans wait in the line of `whose` they are: the namespace's, as most pods are made by controllers.
    """
    import asyncio

    names = list(dict.fromkeys(spec.image for spec in specs))
    found = await asyncio.gather(*(_refusal(judge, name, whose) for name in names))
    return {name: refused for name, refused in zip(names, found, strict=True) if refused is not None}


async def _refusal(judge: Judge, name: str, whose: str) -> Refused | None:
    from pratique.enforce.admission import Image  # noqa: PLC0415 - the whole inspection hangs on it

    if not name:
        return Refused("a container without an image", "")
    digest = digest_in(name) or await judge.resolve(name, SECONDS)
    if not digest:
        return Refused(f"{name}: nobody knows which digest this tag means now: name the image by digest", "")
    target = name if digest_in(name) else f"{name.partition('@')[0]}@{digest}"
    judged = await judge.judge(Image(name, (digest,), f"registry:{target}"), "kubernetes", deadline=SECONDS, subject=whose)
    return None if judged.allowed else Refused(judged.reason or f"{name} may not run", judged.privilege)
