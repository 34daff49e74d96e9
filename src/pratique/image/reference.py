"""What a person wrote in, a target with its scheme out: prefixes, detection of files and folders, names of images.

The grammar of names is that of https://github.com/distribution/reference: registry/repository:tag@digest, docker.io by default.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from pratique.model.errors import TargetError, TargetNotFoundError, UsageError
from pratique.model.image import ImageRef

SCHEMES = (
    "docker-archive", "oci-archive", "oci-dir", "rootfs", "dir", "sbom", "docker", "podman", "containerd", "registry",
)  # fmt: skip
STDIN = "-"
IMAGE = "image"  # a name without a scheme: daemons are asked before the registry

MAX_NAME = 255  # repository names; the reference grammar's own limit
DOCKER_HUB = "docker.io"

# Kept as text: `re` compiles them when a name is parsed, so that an archive on disk does not wait for them.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::\d{{1,5}})?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


class ImageName(msgspec.Struct, frozen=True):
    """The name of an image in a registry. `registry` is "docker.io" for Docker Hub; one of `tag` and `digest` is always there."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_name(text: str) -> ImageName:
    """Parse and normalise an image name: "debian" is docker.io/library/debian:latest. Raises UsageError."""
    rest, at, digest = text.partition("@")
    if at and not re.fullmatch(_DIGEST, digest):
        raise UsageError(f"{text!r} has no valid digest after the @", hint="a digest is sha256: and 64 hexadecimal digits")
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = first, remainder
    else:
        registry, path = DOCKER_HUB, rest
    repository, colon, tag = path.partition(":")
    if registry in _HUB_NAMES:
        registry = DOCKER_HUB
        repository = repository if "/" in repository or not repository else f"library/{repository}"
    wrong = (
        not re.fullmatch(_REGISTRY, registry)
        or len(repository) > MAX_NAME
        or not re.fullmatch(_REPOSITORY, repository)
        or (colon and not re.fullmatch(_TAG, tag))
    )
    if wrong:
        raise UsageError(f"{text!r} is no valid image name", hint="names look like registry.example/path/name:tag, in lower case")
    return ImageName(registry, repository, tag if tag or digest else "latest", digest)


def split_path(value: str) -> tuple[Path, str]:
    """Split PATH[:REF] or PATH@DIGEST where PATH exists: the whole first, then at each separator from the left.

    Raises TargetNotFoundError.
    """
    if os.path.lexists(value):
        return Path(value), ""
    at = -1
    while (at := _next_separator(value, at + 1)) > 0:
        if Path(value[:at]).exists():
            return Path(value[:at]), value[at:].removeprefix(":")
    raise TargetNotFoundError(f"{value}: there is no such file or directory")


def _next_separator(value: str, start: int) -> int:
    return min((place for place in (value.find(":", start), value.find("@", start)) if place >= 0), default=-1)


def parse_target(text: str) -> ImageRef:
    """Turn what a person wrote into a target.

    A known scheme is taken at its word. Without one, an existing file is a docker or OCI archive by its content ("archive" where
    it is compressed, so that only opening it tells), an existing directory an OCI layout, a root file system or plain sources;
    anything else is the name of an image ("image": open_target asks Docker, then Podman, then the registry).

    Raises UsageError, TargetError.
    """
    if not text or "\0" in text:
        raise UsageError("a target is needed: a file, a directory or the name of an image")
    if text == STDIN:
        return ImageRef(STDIN, STDIN, text)
    prefix, colon, value = text.partition(":")
    if colon and prefix in SCHEMES:
        if not value:
            raise UsageError(f"{text!r} names nothing after its scheme")
        return ImageRef(prefix, value, text)
    if os.path.lexists(text):
        return ImageRef(detect(Path(text)), text, text)
    if text.startswith(("/", "./", "../", "~")):
        try:
            path, _ = split_path(text)
        except TargetNotFoundError:
            raise TargetNotFoundError(f"{text}: there is no such file or directory") from None
        return ImageRef(detect(path), text, text)
    parse_name(text)
    return ImageRef(IMAGE, text, text)


def detect(path: Path) -> str:
    """Say which scheme reads an existing file or directory. Raises TargetError where none does."""
    if path.is_dir():
        return _detect_directory(path)
    if not path.is_file():
        raise TargetError(f"{path}: neither a file nor a directory that can be read")
    from pratique.image.outer import detect_archive  # noqa: PLC0415 - names need no archive reader

    return detect_archive(path)


def _detect_directory(path: Path) -> str:
    if (path / "oci-layout").is_file() or ((path / "index.json").is_file() and (path / "blobs").is_dir()):
        return "oci-dir"
    release = any((path / name).is_file() for name in ("etc/os-release", "usr/lib/os-release", "lib/apk/db/installed"))
    system = sum((path / name).is_dir() for name in ("etc", "usr", "bin", "lib", "var")) >= 3  # three of five: no source tree has
    return "rootfs" if release or system else "dir"
