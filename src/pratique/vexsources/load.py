"""What --vex, --vex-key and --vex-author say in, what is said about a target out.

What cannot be had or believed is a gap of the report; only what a person wrote down wrong is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pratique.attest import hub
from pratique.attest.limits import MAX_DOCUMENT
from pratique.attest.vexfile import UNREADABLE, Trust
from pratique.model.errors import CouldNotError, ParseError, PratiqueError, UsageError
from pratique.model.inventory import Inventory
from pratique.model.report import Target
from pratique.vexsources.collect import (
    MAX_BYTES,
    UNREACHABLE,
    Collected,
    Loaded,
    bounded,
    is_address,
    is_loopback,
    load_keys,
    read_tree,
    why,
)

if TYPE_CHECKING:
    from pratique.attest.cyclonedx import Bom
    from pratique.image.options import SourceOptions

ATTACHED = "oci"
WITHIN = ("oci-dir", "oci-archive")
STDIN = "-"
REPOSITORY = "repo:"


class VexSources:
    """What --vex, --vex-key and --vex-author say. Local files are read once, whatever the number of targets.

    Raises UsageError where a file or folder that is named is not there, ConfigurationError for keys that are none.
    """

    def __init__(self, names: Sequence[str], keys: Sequence[str], authors: Sequence[str], options: SourceOptions) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._options = options
        self.trust = Trust(load_keys("--vex-key", keys), tuple(authors))
        self._kept: dict[str, Collected] = {}
        for name in self._names:
            _check(name)

    def load(self, target: Target, inventory: Inventory) -> Loaded:
        """Return what is said about a target."""
        collected = Collected(self.trust)
        for name in self._names:
            self._one(name, target, inventory, collected)
        return collected.close(_own_bom(target))

    def _one(self, name: str, target: Target, inventory: Inventory, collected: Collected) -> None:
        if name == ATTACHED:
            self._attached(target, collected)
        elif name.startswith(REPOSITORY) or _is_repository(name):
            from pratique.vexsources.repository import documents  # noqa: PLC0415 - only where there is one

            try:
                documents(name.removeprefix(REPOSITORY), (target, inventory), self._options, collected)
            except (ParseError, OSError) as error:
                collected.fail(UNREADABLE, f"{name}: {why(error)}", name)
            except PratiqueError as error:
                collected.fail(UNREACHABLE, f"{name}: {error.message}", name)
        else:
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = Collected(self.trust)
                self._local(name, kept)
            collected.join(kept)

    def _local(self, name: str, collected: Collected) -> None:
        """Read a file, a folder, standard input or an address."""
        try:
            if name == STDIN:
                collected.take(sys.stdin.buffer.read(MAX_DOCUMENT + 1), "standard input", None)
            elif is_address(name):
                from pratique.vexsources.repository import fetch  # noqa: PLC0415 - only where there is one

                data = fetch(name, MAX_DOCUMENT, self._options)
                collected.take(data, name, self._beside(name))
            else:
                read_tree(Path(name), collected)
        except PratiqueError as error:
            collected.fail(UNREACHABLE, f"{name}: {error.message}", name)
        except OSError as error:
            collected.fail(UNREADABLE, f"{name}: {why(error)}", name)

    def _beside(self, address: str) -> bytes | None:
        """Fetch the signature that stands beside a document, where keys ask for one."""
        if not self.trust.keys:
            return None
        from pratique.vexsources.repository import fetch  # noqa: PLC0415 - only where there is one

        try:
            return fetch(f"{address}.sig", MAX_DOCUMENT >> 6, self._options)
        except CouldNotError:
            return None

    def _attached(self, target: Target, collected: Collected) -> None:
        digests = [digest for digest in (target.digest, *target.digests) if digest.startswith("sha256:")]
        within = target.scheme in WITHIN
        if not (within or target.scheme in ("registry", "docker", "podman", "containerd")) or not digests:
            message = f"attestations are read from a registry or an OCI layout; this target is {target.scheme}:{target.reference}"
            collected.fail(UNREACHABLE, message, ATTACHED)
            return
        from pratique.image.referrers import attached  # noqa: PLC0415 - only where they are asked for
        from pratique.image.within import attached_within  # noqa: PLC0415 - as above

        try:
            if within:
                found, failures = attached_within(target.scheme, target.reference, self._options)
            else:
                found, failures = attached(target.reference, digests, self._options)
        except PratiqueError as error:
            collected.fail(UNREACHABLE, f"attestations of {target.reference}: {error.message}", ATTACHED)
            return
        for failure in failures:
            collected.fail(UNREACHABLE, f"attestations of {target.reference}: {failure}", ATTACHED)
        for one in found:
            collected.take(one.data, f"{ATTACHED}:{one.digest}", None)


def _check(name: str) -> None:
    """Find out before the scan what cannot work. Raises UsageError."""
    local = name.removeprefix(REPOSITORY)
    if name == ATTACHED or (name == STDIN and local == name):
        return
    if is_address(local):
        parts = urlsplit(local)
        if parts.username or parts.password:
            raise UsageError(f"--vex {parts.scheme}://{parts.hostname}: no login belongs in an address")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"--vex {name}: over plain HTTP anybody on the way can change it", hint="write https://")
        return
    if not Path(local).exists():
        raise UsageError(f"--vex {name}: there is no such file or folder")


def _is_repository(name: str) -> bool:
    """Say whether a folder is a repository: it has its index, with a packages member, or its manifest."""
    folder = Path(name)
    if is_address(name) or not folder.is_dir():
        return False
    if (folder / hub.MANIFEST).is_file():
        return True
    try:
        return b'"packages"' in bounded(folder / hub.INDEX, 4_096)[:4_096]
    except OSError:
        return False


def _own_bom(target: Target) -> Bom | None:
    """Return the BOM that was scanned, as far as others refer to it."""
    if target.scheme != "sbom":
        return None
    from pratique.attest.cyclonedx import bom_of  # noqa: PLC0415 - beside its one use

    try:
        return bom_of(bounded(Path(target.reference), MAX_BYTES))
    except (OSError, ParseError):  # the scan itself says what is wrong with its target
        return None
