"""A checked file and the registries that its owner trusts in, the images that come from elsewhere out.

Which registries are trusted no check can know, so that these two speak only where somebody said it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pratique._kit.references import repository
from pratique.lint.build import Build
from pratique.lint.check import MAX_FINDINGS, Checked, Found, in_order
from pratique.lint.checks.origins import bases
from pratique.lint.hit import Hit
from pratique.model.errors import BudgetExceededError, UsageError
from pratique.workload import compose, kubernetes
from pratique.workload.dockerfile.instructions import Instruction
from pratique.workload.place import Place
from pratique.workload.spec import Spec

MAX_REGISTRIES = 100  # people name some few
_VARIABLE = re.compile(r"\$(?:\{[^{}]*\}|\w+)")
_ENTRY = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9._/-]+)?")


def parse_registries(given: Sequence[str]) -> tuple[str, ...]:
    """Read names of registries, with a path or without one. Raises UsageError."""
    if len(given) > MAX_REGISTRIES:
        raise UsageError(f"more than {MAX_REGISTRIES} trusted registries")
    for entry in given:
        if not _ENTRY.fullmatch(entry):
            hint = "write docker.io, registry.example:5000, *.example.com or registry.example/team"
            raise UsageError(f"--trusted-registry {entry!r} is no registry", hint=hint)
    return tuple(entry.rstrip("/") for entry in given)


def is_trusted(image: str, trusted: Sequence[str]) -> bool:
    """Say whether an image comes from one of these: `registry`, `*.domain`, or either with the beginning of a path.

    So may one whose registry, or as much of its path as counts, is in a variable.
    """
    image = _VARIABLE.sub("$", image)
    before, variable, after = image.partition("$")
    if variable and "/" not in before and ("/" in after or before[-1:] not in (":", "@")):
        return True
    host, _, path = repository(image).partition("/")
    path, variable, _ = path.partition("$")
    for entry in trusted:
        wanted, slash, prefix = entry.partition("/")
        same = host.lower() == wanted.lower() or (wanted.startswith("*.") and host.lower().endswith(wanted[1:].lower()))
        if same and (not slash or path == prefix or path.startswith(prefix + "/") or (variable and prefix.startswith(path))):
            return True
    return False


def with_registries(checked: Checked, trusted: Sequence[str]) -> Checked:
    """Add what comes from elsewhere. Raises BudgetExceededError."""
    if not trusted or not checked.kind:
        return checked
    found = list(_found(checked, trusted))
    if len(checked.hits) + len(found) > MAX_FINDINGS:
        raise BudgetExceededError(f"more than {MAX_FINDINGS} findings in one file")
    return msgspec.structs.replace(checked, hits=in_order([*checked.hits, *found]))


def _found(checked: Checked, trusted: Sequence[str]) -> Iterator[Found]:
    if checked.build is not None:
        yield from _bases(checked.build, trusted)
    for inline in checked.inline:
        yield from ((name, hit._replace(place=inline.at(hit.place))) for name, hit in _bases(inline.build, trusted))
    for node in checked.nodes:
        if compose.is_compose(node):
            own = compose.built(node)
            yield from _specs((spec for spec in compose.extract(node) if spec.image not in own), trusted)
    yield from _specs(kubernetes.extract(list(checked.nodes)), trusted)


def _bases(build: Build, trusted: Sequence[str]) -> Iterator[Found]:
    for instruction, place, image in (*bases(build), *_open_bases(build)):
        if not is_trusted(image, trusted):
            message = f"image {image}: {_host(image)} is no registry that is trusted here"
            yield "df-registry", Hit(place or instruction.place, message, image, f"{instruction.name} {image[:120]}")


def _open_bases(build: Build) -> Iterator[tuple[Instruction, Place | None, str]]:
    """Yield the bases of which whoever builds decides a part, as they are written."""
    for stage in build.stages:
        if stage.image is not None and not stage.base.known:
            yield stage.start, stage.image.place, stage.image.text


def _specs(specs: Iterable[Spec], trusted: Sequence[str]) -> Iterator[Found]:
    for spec in specs:
        if spec.image and not is_trusted(spec.image, trusted):
            message = f"{spec.subject}: image {spec.image}: {_host(spec.image)} is no registry that is trusted here"
            yield "ct-registry", Hit(spec.at("image"), message, f"{spec.subject}\0{spec.image}", spec.subject)


def _host(image: str) -> str:
    return repository(image).partition("/")[0]
