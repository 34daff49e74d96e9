"""Release files' words in, the image's distribution out: which it is, when its support ends, and where its advisories are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from pratique.model.inventory import Distro, DistroEvidence

_FACTS = Path(__file__).with_name("distros.toml")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_OPENEULER = re.compile(r"\((LTS(?:-SP\d+)?)\)")


class _Facts(msgspec.Struct, frozen=True):
    """One table of distros.toml, which explains the fields."""

    parts: int
    osv: tuple[str, ...] = ()
    codenames: dict[str, str] = {}
    eol: dict[str, Any] = {}


def settle_distro(evidence: Sequence[DistroEvidence]) -> Distro | None:
    """Return what the most trusted file says, its blanks filled from others that name the same distribution. None without any."""
    if not evidence:
        return None
    ranked = sorted(evidence, key=lambda item: item.rank)
    first = ranked[0]
    same = [item for item in ranked if item.id == first.id]
    codename = next((item.codename for item in same if item.codename), "")
    facts = _known().get(first.id)
    version = first.version
    if not version and facts is not None:
        version = facts.codenames.get(codename.partition("/")[0].lower(), "")
    if not version:
        version = next((item.version for item in same if item.version), "")
    distro = Distro(id=first.id, version=version, like=first.like, name=first.name, codename=codename)
    return msgspec.structs.replace(distro, eol=_eol(distro))


def is_eol(distro: Distro, today: str) -> bool:
    """Say whether support had ended before `today` (RFC 3339, or its date). False where no date is known."""
    return bool(distro.eol) and distro.eol < today[:10]


def advisory_ecosystem(distro: Distro) -> str | None:
    """Return the main OSV ecosystem with its release ("Debian:12", "Alpine:v3.20", "Ubuntu:24.04:LTS"), or None.

    None means that no advisories are known to speak of this distribution's packages: never a reason for silence.
    """
    return next(iter(advisory_ecosystems(distro)), None)


def advisory_ecosystems(distro: Distro) -> tuple[str, ...]:
    """Return every OSV ecosystem whose advisories speak of this distribution's packages, the main one first.

    Derivatives that rebuild a parent's packages under the parent's versions get the parent's; all others get none, whatever their
    ID_LIKE says. Amazon's and Oracle's are not defined by OSV, but written in its manner: whether a database has them is for the
    caller to ask. Red Hat's is the product without minor release and repository. Channels beside a release are matching's affair.
    """
    key = _key(distro)
    facts = _known().get(key)
    if key in ("sles", "sled"):
        return _suse(distro)
    if facts is None or not facts.osv:
        return _openeuler(distro) if key == "openeuler" else ()
    if facts.parts == 0:
        return facts.osv
    if key == "alpine" and ("_alpha" in distro.version or distro.name.endswith(" edge")):
        return ("Alpine:edge",)
    release = _release(distro.version, facts.parts)
    if not release or (facts.parts == 2 and "." not in release):
        return ()
    if key == "ubuntu":
        year, _, month = release.partition(".")
        release += ":LTS" if month == "04" and int(year) % 2 == 0 else ""
    if key == "amzn" and 2000 < int(release) < 2022:
        release = "1"  # which was numbered by year and month
    return tuple(template.replace("{}", release) for template in facts.osv)


@cache
def _known() -> dict[str, _Facts]:
    import tomllib  # noqa: PLC0415 - only images of a distribution need it

    return msgspec.convert(tomllib.loads(_FACTS.read_text("utf-8")), dict[str, _Facts])


def _key(distro: Distro) -> str:
    return "centos-stream" if distro.id == "centos" and "stream" in distro.name.lower() else distro.id


def _release(version: str, parts: int) -> str:
    """Return the first `parts` numbers of a version: 3.20.3 -> 3.20."""
    found = _NUMBER.match(version)
    return ".".join(found[0].split(".")[:parts]) if found else ""


def _eol(distro: Distro) -> str:
    facts = _known().get(_key(distro))
    if facts is None or "_alpha" in distro.version:
        return ""
    return str(facts.eol.get(_release(distro.version, facts.parts), ""))


def _suse(distro: Distro) -> tuple[str, ...]:
    """SUSE's ecosystems are named as PRETTY_NAME names the product: SUSE Linux Enterprise Server 15 SP5."""
    major, _, pack = _release(distro.version, 2).partition(".")
    if not major:
        return ()
    kind = "Server" if distro.id == "sles" else "Desktop"
    if int(major) >= 16:
        return (f"SUSE:Linux Enterprise {kind} {major}.{pack or 0}",)
    return (f"SUSE:Linux Enterprise {kind} {major}" + (f" SP{pack}" if pack and pack != "0" else ""),)


def _openeuler(distro: Distro) -> tuple[str, ...]:
    release, kind = _release(distro.version, 2), _OPENEULER.search(distro.name)
    return (f"openEuler:{release}" + (f"-{kind[1]}" if kind else ""),) if release else ()
