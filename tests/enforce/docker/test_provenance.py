"""Images that came of what nobody saw the end of: they stay suspect until the engine has said which they are."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

from pratique.enforce.docker.engine import Engine, EngineError
from pratique.enforce.docker.provenance import Provenance
from pratique.enforce.docker.records import Records
from pratique.enforce.serving import Answer, Asked, HttpServer

MAKER, BASE, DIRTY = "c" * 64, "sha256:base", "sha256:dirty"
MADE = 1_790_000_000.0
IMAGE: dict[str, Any] = {
    "Id": f"sha256:{1:064x}",
    "Created": dt.datetime.fromtimestamp(MADE + 5, dt.UTC).isoformat(),
    "RootFS": {"Layers": [BASE, DIRTY]},
    "Container": MAKER,
}
_SECONDS = 60.0


class Listing:
    """An engine with one image, which may fail to list it."""

    def __init__(self) -> None:
        self.broken = True

    async def handle(self, asked: Asked) -> Answer:
        if "/images/json" not in asked.target:
            return Answer(200, json.dumps(IMAGE).encode())
        listed = [{"Id": IMAGE["Id"], "Created": int(MADE) + 5, "RepoTags": ["made:1"], "RepoDigests": None}]
        return Answer(500, b"{}") if self.broken else Answer(200, json.dumps(listed).encode())


def test_an_engine_that_cannot_list_its_images_clears_none(tmp_path: Path) -> None:
    listing, records = Listing(), Records(tmp_path / "records")
    records.taints.begun(MAKER, (BASE,), MADE)
    records.taints.unseen(MAKER, MADE + 10)

    async def suspect(provenance: Provenance) -> bool:
        try:
            return bool((await provenance.of_image(IMAGE, "made"))[0])
        except EngineError:
            return True

    async def case() -> None:
        server = HttpServer(listing.handle, lambda _, why: Answer(500, why.encode()), seconds=_SECONDS)
        await server.listen_unix(tmp_path / "engine.sock")
        engine = Engine(tmp_path / "engine.sock")
        provenance = Provenance(engine, records)
        try:
            for _ in range(3):
                assert await suspect(provenance)
            assert records.taints.making(), "nobody knows yet what came of it"
            listing.broken = False
            while records.taints.making():
                assert await suspect(provenance)
            assert await suspect(provenance)
            assert await engine.named("docker.io/library/made") == [IMAGE["Id"]]
            assert await engine.named("mad") == []
        finally:
            server.close()

    asyncio.run(asyncio.wait_for(case(), _SECONDS))
