"""Images that hold what was written beyond the baseline: whoever builds can copy out of them, into one that nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pratique.enforce.docker.taint import Taints
from pratique.enforce.doctor.engine import ask, facts
from pratique.enforce.doctor.finding import Checked, amber, green

# Images of one engine that are looked at, the newest first; a machine that builds all day has some hundreds.
_MAX_IMAGES = 2_000
_MAX_SHOWN = 10


def look(engine: Path, gate: Path) -> Iterator[Checked]:
    """Look at the images of an engine, by what the gate keeps in its folder. Raises OSError where the engine does not answer."""
    folder = gate / "tainted-images"
    taints = Taints(folder) if folder.is_dir() else None
    if not taints:
        yield green("images.tainted", "no image was made from a container that ran beyond the baseline")
        return
    answer = ask(engine, "GET", "/images/json?all=1")
    listed = json.loads(answer.text) if answer.status == 200 else []
    newest = sorted(listed, key=lambda item: -int(item.get("Created") or 0))[:_MAX_IMAGES]
    found = [item for item in newest if taints.holds(facts(engine, f"/images/{item['Id']}/json"))]
    if not found:
        yield green("images.tainted", "no image that is left holds what was written beyond the baseline")
        return
    names = [str((item.get("RepoTags") or [""])[0] or item["Id"].removeprefix("sha256:")[:12]) for item in found]
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    yield amber(
        "images.tainted",
        f"images hold what was written beyond the baseline; a build may copy out of them: {', '.join(names[:_MAX_SHOWN])}{more}",
        "docker rmi " + " ".join(names[:_MAX_SHOWN]),
    )
