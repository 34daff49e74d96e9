"""A ring of keys in, the root metadata that names them out: made, renewed before it expires, rotated.

The root says which keys sign what. Each new root is signed by the old root's keys and by its own, so that a client follows from
any root that it trusts to the newest: https://theupdateframework.github.io/specification/latest/#key-management-and-migration
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pratique.advisory.repository.keys import ROLES, Ring
from pratique.model.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root

# More signers than a committee has: a threshold beyond this is a slip of the finger.
MAX_THRESHOLD = 16
# A root is renewed when less than a quarter of its time is left: three months of a year, in which keys can be fetched.
_RENEW_AT = 4


class Roots:
    """The roots of one repository. `current` is the newest; `chain` has all by version."""

    def __init__(self, ring: Ring, period: timedelta) -> None:
        self._ring = ring
        self._period = period
        self.chain = ring.roots()
        self.current: Metadata[Root] | None = self._newest()

    def _newest(self) -> Metadata[Root] | None:
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata

        if not self.chain:
            return None
        version = max(self.chain)
        try:
            newest: Metadata[Root] = Metadata.from_bytes(self.chain[version])
            newest.signed.verify_delegate("root", newest.signed_bytes, newest.signatures)
        except RepositoryError as error:
            raise VerificationError(f"{self._ring.folder}/roots/{version}.root.json does not verify: {error}") from error
        return newest

    def make(self, threshold: int, now: datetime) -> None:
        """Make the first root, and a key for each role. A threshold above 1 gives one root key more, so that one may be lost."""
        from tuf.api.metadata import Metadata, Root

        root = Root(version=1, consistent_snapshot=True, expires=now + self._period)
        for role in ROLES:
            for _ in range(_count(threshold) if role == "root" else 1):
                root.add_key(self._ring.make(role).public_key, role)
        root.roles["root"].threshold = threshold
        self._finish(Metadata(root), root.roles["root"].keyids, now)

    def rotate(self, roles: Collection[str], threshold: int | None, now: datetime) -> None:
        """Replace every key of `roles` in one new root. Raises UsageError where keys to sign it are not at hand."""
        root, before = self._next(now)
        gone: list[str] = []
        for role in roles:
            old = list(root.roles[role].keyids)
            held = len(old)
            if role == "root" and threshold is not None:
                root.roles["root"].threshold, held = threshold, _count(threshold)
            for _ in range(held):
                root.add_key(self._ring.make(role).public_key, role)
            for keyid in old:
                root.revoke_key(keyid, role)
            gone += old
        self._sign(root, before, now)
        for keyid in gone:
            self._ring.retire(keyid)

    def renew(self, now: datetime) -> bool:
        """Sign a new root with the same keys where the current one expires soon; say whether that was needed and could not be."""
        assert self.current is not None
        if self.current.signed.expires - now > self._period / _RENEW_AT:
            return False
        if len(self._at_hand(self.current.signed.roles["root"].keyids)) < self.current.signed.roles["root"].threshold:
            return True
        root, before = self._next(now)
        self._sign(root, before, now)
        return False

    def _next(self, now: datetime) -> tuple[Root, list[str]]:
        """Return a copy of the current root with the next version, and the keys that must sign it beside its own."""
        from tuf.api.metadata import Root

        assert self.current is not None
        current = self.current.signed
        before = list(current.roles["root"].keyids)
        if len(self._at_hand(before)) < current.roles["root"].threshold:
            raise UsageError(
                f"{len(self._at_hand(before))} of {current.roles['root'].threshold} root keys are in {self._ring.folder}",
                hint="put the others there; they may leave again afterwards",
            )
        root = Root.from_dict(current.to_dict())
        root.version += 1
        root.expires = now + self._period
        return root, before

    def _sign(self, root: Root, before: Iterable[str], now: datetime) -> None:
        from tuf.api.metadata import Metadata

        self._finish(Metadata(root), [*before, *root.roles["root"].keyids], now)

    def _finish(self, made: Metadata[Root], keyids: Iterable[str], now: datetime) -> None:
        made.signed.expires = (now + self._period).replace(microsecond=0)
        for keyid in self._at_hand(dict.fromkeys(keyids)):
            made.sign(self._ring.signers[keyid], append=True)
        made.signed.verify_delegate("root", made.signed_bytes, made.signatures)
        content = made.to_bytes()
        self._ring.keep_root(made.signed.version, content)
        self.chain[made.signed.version] = content
        self.current = made

    def _at_hand(self, keyids: Iterable[str]) -> list[str]:
        return [keyid for keyid in keyids if keyid in self._ring.signers]


def _count(threshold: int) -> int:
    return threshold + 1 if threshold > 1 else 1


def missing_signers(root: Root, held: Mapping[str, object]) -> list[str]:
    """Return the roles, beside the root's own, that cannot be signed for with the keys `held`."""
    return [role for role in ROLES[1:] if sum(keyid in held for keyid in root.roles[role].keyids) < root.roles[role].threshold]
