"""os-release and the older release files in, what they say about the distribution out.

https://www.freedesktop.org/software/systemd/man/latest/os-release.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.model.errors import ParseError
from pratique.model.inventory import DistroEvidence
from pratique.model.ports import File, Interest

# Who is believed first: os-release speaks for the distribution itself; the older files are often left over from the parent.
_RANKS = {
    "etc/os-release": 0,
    "usr/lib/os-release": 1,
    "etc/lsb-release": 10,
    "etc/oracle-release": 11,
    "etc/rocky-release": 12,
    "etc/almalinux-release": 13,
    "etc/centos-release": 14,
    "etc/fedora-release": 15,
    "etc/photon-release": 16,
    "etc/mariner-release": 17,
    "etc/azurelinux-release": 18,
    "etc/system-release": 19,
    "etc/redhat-release": 20,
    "etc/SuSE-release": 21,
    "etc/alpine-release": 30,
    "etc/debian_version": 31,
}
_IDS = (
    ("red hat enterprise linux", "rhel"),
    ("centos", "centos"),
    ("oracle linux", "ol"),
    ("rocky linux", "rocky"),
    ("almalinux", "almalinux"),
    ("fedora", "fedora"),
    ("amazon linux", "amzn"),
    ("vmware photon", "photon"),
    ("photon", "photon"),
    ("cbl-mariner", "mariner"),
    ("microsoft azure linux", "azurelinux"),
    ("suse linux enterprise server", "sles"),
    ("opensuse", "opensuse"),
    ("ubuntu", "ubuntu"),
    ("debian", "debian"),
)
_RELEASE = re.compile(r"(?P<name>[^\n]+?)(?: release)? v?(?P<version>\d[\w.]*)[^\n(]*(?:\((?P<codename>[^)\n]*)\))?")
_ESCAPE = re.compile(r'\\([\\"$`\'])')


class OsRelease:
    """Inspects the files that name the distribution."""

    name = "os_release"
    version = 1
    interest = Interest(paths=tuple(_RANKS), max_bytes=64 * 1024)  # a hundred times the longest seen

    def inspect(self, file: File) -> Iterator[DistroEvidence]:
        """Yield one DistroEvidence. Raises ParseError where the file names no distribution."""
        text = file.read().decode("utf-8", "replace").lstrip("\ufeff")
        rank, base = _RANKS[file.path], file.path.rpartition("/")[2]
        if base == "os-release":
            yield _os_release(_variables(text), rank)
        elif base == "lsb-release":
            yield _lsb_release(_variables(text), rank)
        elif base == "alpine-release":
            yield DistroEvidence(id="alpine", version=_line(text), rank=rank)
        elif base == "debian_version":
            yield _debian(_line(text), rank)
        else:
            yield _release(text, rank)


def _variables(text: str) -> dict[str, str]:
    """Read shell-like assignments; the last one of a name counts, as in a shell."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
            value = value[1:-1] if value[0] == "'" else _ESCAPE.sub(r"\1", value[1:-1])
        found[name] = value
    return found


def _os_release(facts: dict[str, str], rank: int) -> DistroEvidence:
    if not facts.get("ID"):
        raise ParseError("os-release names no distribution")
    return DistroEvidence(
        id=facts["ID"].lower(),
        version=facts.get("VERSION_ID", ""),
        like=tuple(facts.get("ID_LIKE", "").lower().split()),
        name=facts.get("PRETTY_NAME") or facts.get("NAME", ""),
        codename=facts.get("VERSION_CODENAME", ""),
        variant=facts.get("VARIANT_ID", ""),
        cpe=facts.get("CPE_NAME", ""),
        rank=rank,
    )


def _lsb_release(facts: dict[str, str], rank: int) -> DistroEvidence:
    name = facts.get("DISTRIB_ID", "")
    if not name:
        raise ParseError("lsb-release names no distribution")
    return DistroEvidence(
        id=_id(name),
        version=facts.get("DISTRIB_RELEASE", ""),
        name=facts.get("DISTRIB_DESCRIPTION", ""),
        codename=facts.get("DISTRIB_CODENAME", ""),
        rank=rank,
    )


def _debian(line: str, rank: int) -> DistroEvidence:
    """A number, or before a release `codename/sid`: testing and unstable are not told apart there."""
    if line[:1].isdigit():
        return DistroEvidence(id="debian", version=line, rank=rank)
    return DistroEvidence(id="debian", codename=line.partition("/")[0], rank=rank)


def _release(text: str, rank: int) -> DistroEvidence:
    line = text.partition("\n")[0].strip()
    found = _RELEASE.match(line)
    if found is None:
        raise ParseError("the release file names no distribution and release")
    codename = found["codename"] or ""
    return DistroEvidence(id=_id(found["name"]), version=found["version"], name=line, codename=codename, rank=rank)


def _line(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    if not line:
        raise ParseError("the release file is empty")
    return line


def _id(name: str) -> str:
    name = name.strip().lower()
    for start, known in _IDS:
        if name.startswith(start):
            return known
    return "-".join(name.split())


INSPECTOR = OsRelease()
