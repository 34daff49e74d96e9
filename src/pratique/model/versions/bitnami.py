"""A Bitnami version in, its key out: as SemVer, but a number alone after the hyphen is a later build of the same release.

https://github.com/bitnami/go-version#version-revision

Bitnami calls "4" in 1.2.3-4 a revision: newer than 1.2.3, which is revision 0. Its advisories also name pre-releases
("2.6.0-rc1"); anything but one number is therefore ordered as SemVer does, before the release.
"""

from __future__ import annotations

from pratique.model.versions import _keys, semver


class Bitnami:
    """Versions of Bitnami's packages."""

    name = "bitnami"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what SemVer's reader refuses."""
        numbers, pre, _build = semver.split(version, self.name)
        revision = pre if pre.isdigit() else ""
        order = semver.precedence(numbers, "" if revision else pre)
        return (order + _keys.number(revision)).encode("ascii")


SCHEME = Bitnami()
