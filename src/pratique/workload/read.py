"""The content of one file in, what it asks to run out: a Dockerfile, Compose, Kubernetes, or JSON of an engine or a runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pratique._kit.yamltree import documents
from pratique.model.errors import ParseError, PratiqueError
from pratique.workload import compose, docker_create, docker_inspect, image_config, kubernetes, oci_runtime
from pratique.workload.dockerfile.parse import parse
from pratique.workload.dockerfile.spec import extract as extract_dockerfile
from pratique.workload.place import Place
from pratique.workload.spec import Spec

# A Dockerfile begins with FROM, or ARG before it; comments and empty lines may come first.
_DOCKERFILE = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*(?:FROM|ARG)[ \t]+\S", re.IGNORECASE)
_ID = re.compile(r"[/:-]([0-9a-f]{64})(?:\.scope)?\Z")
_NAMES = re.compile(r"(?:.*[/._-])?(?:dockerfile|containerfile)(?:[._-][^/]*)?", re.IGNORECASE)


def specs(name: str, content: bytes) -> list[Spec]:
    """Return what a file asks to run, told by its content; [] where it asks for nothing that is known. Raises ParseError,
    BudgetExceededError.
    """  # fmt: skip
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ParseError("not UTF-8") from None
    if text.lstrip()[:1] in ("{", "["):
        found = _json(text)
        if found is not None:
            return found
    if _DOCKERFILE.match(text) or (_NAMES.fullmatch(name) and not name.endswith((".yaml", ".yml", ".json"))):
        spec = extract_dockerfile(parse(text))
        return [spec] if spec is not None else []
    read = documents(text)
    return [*kubernetes.extract(read), *(spec for one in read if compose.is_compose(one) for spec in compose.extract(one))]


def unread(content: bytes) -> list[tuple[Place, str]]:
    """Return what of a Compose file stands in other files, which are not opened: what they ask for is not in its Specs."""
    try:
        found = documents(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, PratiqueError):
        return []
    return [one for document in found if compose.is_compose(document) for one in compose.unresolved(document)]


def _json(text: str) -> list[Spec] | None:
    """Read what engines and runtimes write; None for what is left to the reader of YAML, which reads JSON, too."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None  # the other reader says where it is wrong
    items = document if isinstance(document, list) else [document]
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    try:
        found = [_item(item) for item in items]
    except (TypeError, AttributeError, ValueError, KeyError):  # the extractors take what engines write, which has these types
        raise ParseError("JSON that is not as engines and runtimes write it") from None
    return [spec for spec in found if spec is not None] if None not in found else None


def _container(config: Mapping[str, Any]) -> str:
    """Return the id that engines put into the control group of a container, so that its own files are told from others'."""
    found = _ID.search(str((config.get("linux") or {}).get("cgroupsPath") or ""))
    return found[1] if found is not None else ""


def _item(item: Mapping[str, Any]) -> Spec | None:
    if "ociVersion" in item and isinstance(item.get("process"), Mapping):
        return oci_runtime.extract(item, oci_runtime.Engine(container=_container(item)))
    if "HostConfig" in item and "Config" in item:
        return docker_inspect.extract(item)
    if isinstance(item.get("rootfs"), Mapping) and "diff_ids" in item["rootfs"]:
        return image_config.extract(item)
    if isinstance(item.get("Image"), str) and ("HostConfig" in item or "Cmd" in item):
        return docker_create.extract(item)
    return None
