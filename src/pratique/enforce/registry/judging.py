"""What is about to be pulled from a registry in, why it may not be out: manifests by their verdict, blobs by who needs them."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only the gate imports this module

from pratique.enforce.admission import Admission, Image, Judgement
from pratique.enforce.registry.contents import Contents
from pratique.enforce.registry.manifests import Manifest
from pratique.enforce.registry.routes import is_digest


class Judging:
    """Judges what is pulled from one registry; with neither `admission` nor `contents` everything may be."""

    def __init__(self, admission: Admission | None = None, contents: Contents | None = None) -> None:
        self._admission = admission
        self._contents = contents
        self.target = ""  # where the gate's own listener is: images are scanned through it

    async def learn(self, repository: str, manifest: Manifest) -> None:
        """Remember what a manifest needs. Raises StoreError."""
        if self._contents is not None and manifest.kind != "index" and not self._contents.kind(repository, manifest.digest):
            await asyncio.to_thread(self._contents.learn, repository, manifest)

    def told(self, manifest: Manifest) -> bool:
        """Say whether a manifest need not be looked into: it is an image for sure, or an index, or nothing is judged."""
        return (manifest.kind != "artifact" and not manifest.unlayered) or self._admission is None

    def kind(self, repository: str, digest: str) -> str:
        """Return what a manifest was found to be, "" where nobody looked."""
        return self._contents.kind(repository, digest) if self._contents is not None else ""

    def forget(self, repository: str, digest: str) -> None:
        """Forget a manifest that was deleted."""
        if self._contents is not None and is_digest(digest):
            self._contents.forget(repository, digest)

    def begin(self, image: Image, manifest: Manifest, subject: str) -> None:
        """Have what somebody pushed scanned before anybody pulls it."""
        if self._admission is not None and manifest.kind == "image":
            self._admission.begin(self._aimed(image), "registry", subject=subject)

    async def manifest(self, image: Image, manifest: Manifest, subject: str) -> tuple[Judgement, ...]:
        """Return the judgement by which a manifest may not be had by whoever asks; none where it may."""
        if self._admission is None or manifest.kind != "image":
            return ()
        return _refusals(await self._admission.judge(self._aimed(image), "registry", subject=subject))

    def known(self, image: Image) -> tuple[Judgement, ...]:
        """Return the judgement by which an image may not be had, as far as that is known without a scan."""
        judgement = self._admission.known(image, "registry") if self._admission is not None else None
        return _refusals(judgement) if judgement is not None and judgement.source == "store" else ()

    async def blob(self, front: str, repository: str, blob: str, subject: str) -> tuple[Judgement, ...] | None:
        """Return the judgements by which a blob may not be had, none where it may, None where no manifest needs it."""
        if self._admission is None or self._contents is None:
            return ()
        refusals: list[Judgement] = []
        waits = []
        needing = self._contents.needing(repository, blob)
        images = [one for one in needing if one.kind == "image"]
        if needing and not images:
            return ()
        for one in images:  # an artifact that names an image's layer, too, does not set it free
            image = Image(f"{front}/{repository}@{one.digest}", (one.digest,))
            judgement = self._admission.known(image, "registry")
            if judgement is None:
                waits.append(image)
            elif judgement.allowed:
                return ()
            else:
                refusals.append(judgement)
        for image in waits[:1]:  # the youngest
            judgement = await self._admission.judge(self._aimed(image), "registry", subject=subject)
            if judgement.allowed:
                return ()
            refusals.append(judgement)
        return tuple(refusals) or None

    def _aimed(self, image: Image) -> Image:
        repository = image.reference.partition("/")[2]
        return image._replace(target=f"registry:{self.target}/{repository}" if self.target else "")


def _refusals(judgement: Judgement) -> tuple[Judgement, ...]:
    return () if judgement.allowed else (judgement,)
