"""A grant's scope and a request in, why the one is not about the other out. What is not known is in no scope that names it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from pratique._kit.references import repository
from pratique.grant.globs import covers, part_covers
from pratique.grant.request import Request, Target
from pratique.model.privilege import Scope

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def outside(scope: Scope, request: Request) -> str:
    """Return why a scope does not reach a request, "" where it does."""
    target = request.target
    if scope.points and request.point not in scope.points:
        return f"it is for {', '.join(scope.points)}"
    for name, globs, value in (
        ("host", scope.hosts, target.host),
        ("cluster", scope.clusters, target.cluster),
        ("namespace", scope.namespaces, target.namespace),
    ):
        if globs and not (value and any(part_covers(glob, value) for glob in globs)):
            return f"it is for the {name} {', '.join(globs)}"
    if scope.container and scope.container != target.container:
        return f"it is for the container {scope.container}"
    if any(target.labels.get(label) != value for label, value in scope.labels.items()):
        return "it is for containers with other labels"
    return _outside_images(scope.images, target) or _outside_command(scope, request) or _above(scope, request)


def is_digest(text: str) -> bool:
    """Say whether a text is a digest that names exactly one thing."""
    return _DIGEST.fullmatch(text) is not None


def image_matches(pattern: str, target: Target) -> bool:
    """Say whether `NAME@sha256:...`, `sha256:...` or a pattern of these is of an image; a tag alone never is."""
    if not is_digest(target.digest):
        return False
    name, at, digest = pattern.rpartition("@")
    if not part_covers(digest, target.digest):
        return False
    return not at or covers(repository(name), repository(target.reference) or "?") or covers(name, repository(target.reference))


def _outside_images(images: Sequence[str], target: Target) -> str:
    if not images or any(image_matches(image, target) for image in images):
        return ""
    if not is_digest(target.digest):
        return "it is for images by digest, and nobody knows the digest of this one"
    return f"it is for the image {', '.join(images[:3])}"


def _outside_command(scope: Scope, request: Request) -> str:
    if not scope.argv:
        return ""
    if scope.argv_match == "sha256":
        said = hashlib.sha256("\0".join(request.argv).encode("utf-8", "surrogatepass")).hexdigest()
        fits = bool(request.argv) and scope.argv[0].removeprefix("sha256:") == said
    elif scope.argv_match == "prefix":
        fits = request.argv[: len(scope.argv)] == scope.argv
    else:
        fits = request.argv == scope.argv
    return "" if fits else "it is for another command"


def _above(scope: Scope, request: Request) -> str:
    """Say what goes beyond the ceiling of uid and capabilities."""
    spec = request.spec
    if spec is None:
        return ""
    if scope.uid and (spec.privileged or spec.uid is None or spec.uid < scope.uid):
        return f"it is for uid {scope.uid} and above"
    if scope.capabilities is not None:
        if spec.privileged:
            return "it is for no more than some capabilities"
        more = set(spec.capabilities_add) - set(scope.capabilities)
        if more:
            return f"it is not for the capability {min(more)}"
    return ""
