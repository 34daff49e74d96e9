"""Images that hold what was written beyond the baseline: whoever builds can copy out of them, into one that nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pratique.enforce.docker.taint import Taints
from pratique.enforce.doctor.engine import ask, facts
from pratique.enforce.doctor.finding import Checked, amber, green

# Images of one engine that are looked at, the newest first; a machine that builds all day has some hundreds.
_MAX_IMAGES = 2_000
_MAX_SHOWN = 10


def look(engine: Path, gate: Path) -> Iterator[Checked]:
    """Look at the images of an engine, by what the gate keeps in its folder."""
    folder = gate / "tainted-images"
    taints = Taints(folder) if folder.is_dir() else None
    if not taints:
        yield green("images.tainted", "no image was made from a container that ran beyond the baseline")
        return
    try:
        yield _looked(engine, taints)
    except OSError as error:
        yield amber(
            "images.tainted",
            f"which images hold what was written beyond the baseline cannot be told: {error}",
            "see to the engine",
        )


def _looked(engine: Path, taints: Taints) -> Checked:
    listed = _listed(engine)
    newest = sorted(listed, key=lambda item: -int(item.get("Created") or 0))[:_MAX_IMAGES]
    found = [item for item in newest if taints.holds(_image(engine, str(item["Id"])))]
    if not found:
        among = f"of the {_MAX_IMAGES} newest images none" if len(listed) > _MAX_IMAGES else "no image that is left"
        return green("images.tainted", f"{among} holds what was written beyond the baseline")
    names = [str((item.get("RepoTags") or [""])[0] or item["Id"].removeprefix("sha256:")[:12]) for item in found]
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return amber(
        "images.tainted",
        f"images hold what was written beyond the baseline; a build may copy out of them: {', '.join(names[:_MAX_SHOWN])}{more}",
        "docker rmi " + " ".join(names[:_MAX_SHOWN]),
    )


def _listed(engine: Path) -> list[dict[str, Any]]:
    answer = ask(engine, "GET", "/images/json?all=1")
    try:
        value = json.loads(answer.text) if answer.status == 200 else None
    except ValueError:  # such as one of which only the beginning was read
        value = None
    if not isinstance(value, list):
        raise OSError(f"{engine}: the engine's list of images cannot be read (its answer was {answer.status})")
    return value


def _image(engine: Path, name: str) -> dict[str, Any]:
    """Return an image as it is inspected; nothing of one that was removed meanwhile. Raises OSError."""
    target = f"/images/{name}/json"
    return {} if ask(engine, "GET", target).status == 404 else facts(engine, target)
