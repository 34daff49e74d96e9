"""A component as a document names it and the image that was scanned in; whether it is the same, else what differs, out. Pure.

A digest decides where there is one: it is the content, wherever it lies. Else the repository and the tag do.
"""

from __future__ import annotations

import re

from pratique.match.identity import HUB, IMAGE_TYPES, About, architecture, claims, repository
from pratique.match.vers import Differs
from pratique.model.purl import Purl
from pratique.model.vex import Component

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


def is_image(component: Component) -> bool:
    """Say whether a component is named as an image, or in no way that a package is named in."""
    kinds = {purl.type for purl in claims(component)}
    return bool(kinds & IMAGE_TYPES) or (not component.purls and bool(component.hashes or component.others))


def image_differs(component: Component, about: About) -> Differs | None:
    """Compare a component with the image that was scanned; None where it is the same."""
    if component.ranges:
        return Differs(0, "not-comparable", f"versions of an image ({component.label}) cannot be compared")
    purls = [purl for purl in claims(component) if purl.type in IMAGE_TYPES]
    digests = {digest for digest in (*component.hashes, *map(_digest, purls), *map(_digest_in, component.others)) if digest}
    if digests:
        return _by_digest(digests, purls, about)
    if about.own in component.others:
        return None
    differences: list[Differs] = []
    for differs in (*(_by_name(purl, about) for purl in purls), *(_by_reference(other, about) for other in component.others)):
        if differs is None:
            return None
        differences.append(differs)
    return max(differences, default=Differs(0, "not-comparable", f"{component.label} is no name that can be compared"))


def _by_digest(digests: set[str], purls: list[Purl], about: About) -> Differs | None:
    if digests & about.digests:
        return _platform(purls[0], about) if purls else None
    wrong = next((digest for digest in sorted(digests) if not _DIGEST.fullmatch(digest)), "")
    if wrong and len(digests) == 1:
        return Differs(2, "image-differs", f"{wrong[:100]} is no digest")
    shown = ", ".join(sorted(digests)[:3])
    if not about.digests:
        return Differs(2, "image-differs", f"it is about the image {shown}; this target has no digest")
    return Differs(2, "image-differs", f"it is about the image {shown}; this one is {', '.join(sorted(about.digests))}")


def _digest(purl: Purl) -> str:
    """Return the digest that a purl names: its version, or a qualifier as BuildKit writes it."""
    if ":" in purl.version:
        return purl.version.lower()
    return purl.qualifiers.get("digest", "").lower()


def _digest_in(reference: str) -> str:
    if reference.startswith("urn:pratique:target:"):
        tail = reference.rpartition("sha256:")
        return f"sha256:{tail[2]}" if tail[1] else ""
    return reference.partition("@")[2].lower() if "@sha" in reference.lower() else ""


def _by_name(purl: Purl, about: About) -> Differs | None:
    if not about.repository:
        return Differs(1, "image-differs", f"this target has no image name to compare with {purl.name}; a digest would tell")
    wanted = _repositories(purl)
    if wanted:
        same = about.repository in wanted
    else:
        own = f"{purl.namespace}/{purl.name}".strip("/").lower()
        same = f"/{about.repository}".endswith(f"/{own}")
    if not same:
        shown = min(wanted, key=len) if wanted else purl.name
        return Differs(1, "image-differs", f"it is about {shown}; this image is {about.repository}")
    tag = purl.qualifiers.get("tag", "") or (purl.version if purl.type == "docker" else "")
    return _tag(tag, about) or _platform(purl, about)


def _tag(tag: str, about: About) -> Differs | None:
    if not tag or tag == about.tag:
        return None
    return Differs(2, "image-differs", f"it is about the tag {tag}; this image was taken {_taken(about)}")


def _taken(about: About) -> str:
    return f"as {about.tag}" if about.tag else "by its digest"


def _repositories(purl: Purl) -> set[str]:
    """Return what a purl may mean: its repository_url is the whole repository, or (before the purl type was settled, and for
    pkg:docker by definition) only what comes before the name. Without one, pkg:docker means Docker Hub, pkg:oci any registry.
    """
    name = f"{purl.namespace}/{purl.name}".strip("/")
    address = purl.qualifiers.get("repository_url", "").strip("/")
    address = address.partition("://")[2] if "://" in address else address
    if not address:
        return {repository(f"docker.io/{name}")} if purl.type == "docker" else set()
    whole = {repository(f"{address}/{name}")}
    if f"/{address.lower()}".endswith(f"/{name.lower()}") and "/" in address:
        whole.add(repository(address))
    if address.lower() in HUB:
        whole.add(repository(f"docker.io/{name}"))
    return whole


def _platform(purl: Purl, about: About) -> Differs | None:
    system, own, *_ = [*about.target.platform.split("/"), "", ""]
    stated = purl.qualifiers.get("platform", "").split("/")
    wanted = purl.qualifiers.get("arch", "") or (stated[1] if len(stated) > 1 else "")
    wanted_system = purl.qualifiers.get("os", "") or (stated[0] if len(stated) > 1 else "")
    if wanted and own and architecture(wanted) != architecture(own):
        return Differs(3, "image-differs", f"it is about the architecture {wanted}; this image is for {about.target.platform}")
    if wanted_system and system and wanted_system.lower() != system:
        return Differs(3, "image-differs", f"it is about the system {wanted_system}; this image is for {about.target.platform}")
    return None


def _by_reference(reference: str, about: About) -> Differs | None:
    """Compare with a name as people write it (ghcr.io/org/app:1.2)."""
    if reference == about.own:
        return None
    if reference.startswith("urn:") or " " in reference or (reference.partition("://")[1] and "/" not in reference[8:]):
        return Differs(0, "not-comparable", f"{reference} is no name that can be compared")
    if not about.repository:
        return Differs(1, "image-differs", f"this target has no image name to compare with {reference}; a digest would tell")
    if repository(reference) != about.repository:
        return Differs(1, "image-differs", f"it is about {reference}; this image is {about.repository}")
    tag = reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return _tag(tag, about)
