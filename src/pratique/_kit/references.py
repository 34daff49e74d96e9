"""The name of an image in, the repository that registries know it by out."""

from __future__ import annotations


def repository(reference: str) -> str:
    """Return the repository of an image name, as registries know it: "nginx:1" -> "docker.io/library/nginx"."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return f"docker.io/{name if slash else 'library/' + name}" if name else ""
    return f"docker.io/{rest}" if first in ("index.docker.io", "registry-1.docker.io") else name
