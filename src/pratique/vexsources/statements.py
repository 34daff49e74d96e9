"""What --attestations and --attestation-key say in, what is attested of an image out.

What cannot be had or read is a gap of the report; only what a person wrote down wrong is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.attest.limits import MAX_DOCUMENT
from pratique.attest.statements import Stated, read, read_signature
from pratique.model.attestation import Attestation
from pratique.model.errors import PratiqueError, UsageError
from pratique.model.inventory import Gap
from pratique.model.report import Target
from pratique.vexsources.collect import bounded, load_keys, why

if TYPE_CHECKING:
    from pratique.image.options import SourceOptions
    from pratique.image.referrers import Attachments

ATTACHED = "oci"
WITHIN = ("oci-dir", "oci-archive")  # which may hold what was attached beside the image
UNREACHABLE = "advisories.attestations-unreachable"
UNREADABLE = "advisories.attestations-unreadable"
MAX_FILES = 1_000  # of a folder: one image has dozens
MAX_STATEMENTS = 1_000  # of one image: whoever may attach them could else keep a scan busy with their signatures
MAX_GAPS = 50  # the rest is counted in the last
_SUFFIXES = (".json", ".jsonl", ".dsse", ".att", ".bundle", ".sigstore")
_REGISTRIES = ("registry", "docker", "podman", "containerd")


class AttestationSources:
    """Where attestations of an image are to be had: `oci`, files and folders; and the keys that are believed.

    Raises UsageError where a file or folder is not there, ConfigurationError for keys that are none.
    """

    def __init__(self, names: Sequence[str], keys: Sequence[str], options: SourceOptions) -> None:
        self._names = tuple(dict.fromkeys(names)) or (ATTACHED,)
        self._keys = load_keys("--attestation-key", keys)
        self._options = options
        for name in self._names:
            if name != ATTACHED and not Path(name).exists():
                raise UsageError(f"--attestations {name}: there is no such file or folder", hint=f"or {ATTACHED}, its registry")

    def load(self, target: Target) -> tuple[tuple[Attestation, ...], list[Gap]]:
        """Return what is attested of a target, sorted, and what could not be had."""
        digests = frozenset(digest for digest in (target.digest, *target.digests) if digest)
        found: set[Attestation] = set()
        gaps: list[Gap] = []
        for name in self._names:
            try:
                parts: Iterable[Stated] = (
                    self._attached(target, digests) if name == ATTACHED else self._local(Path(name), digests)
                )
            except PratiqueError as error:
                gaps.append(Gap(code=UNREACHABLE, message=f"attestations of {target.reference}: {error.message}", source=name))
                continue
            except OSError as error:
                gaps.append(Gap(code=UNREADABLE, message=f"{name}: {why(error)}", source=name))
                continue
            for part in parts:
                if len(found) > MAX_STATEMENTS:
                    gaps.append(Gap(code=UNREADABLE, message=f"{name}: more than {MAX_STATEMENTS:,} attestations", source=name))
                    break
                found.update(part.attestations)
                gaps += [Gap(code=UNREADABLE, message=failure, source=name) for failure in part.failures]
        gaps = sorted(set(gaps))
        if len(gaps) > MAX_GAPS:
            message = f"{len(gaps) - MAX_GAPS:,} more problems with attestations are not listed"
            gaps = [*gaps[:MAX_GAPS], Gap(code=UNREADABLE, message=message)]
        return tuple(sorted(found)), gaps

    def _attached(self, target: Target, digests: frozenset[str]) -> Iterable[Stated]:
        from pratique.image.referrers import attached  # noqa: PLC0415 - only where they are asked for

        if target.scheme in WITHIN:
            from pratique.image.within import attached_within  # noqa: PLC0415 - as above

            return self._stated(attached_within(target.scheme, target.reference, self._options, every=True), digests)
        plain = [digest for digest in (target.digest, *target.digests) if digest.startswith("sha256:")]
        if target.scheme not in _REGISTRIES or not plain:
            raise UsageError(f"a registry or an OCI layout has them; this target is {target.scheme}:{target.reference}")
        return self._stated(attached(target.reference, plain, self._options, every=True), digests)

    def _stated(self, attachments: Attachments, digests: frozenset[str]) -> Iterator[Stated]:
        yield Stated(failures=tuple(attachments.failures))
        for one in attachments.found:
            origin = f"{ATTACHED}:{one.digest}"
            if one.signature:
                yield read_signature(one.data, one.signature, origin, (self._keys, digests))
            else:
                yield read(one.data, origin, self._keys, digests)

    def _local(self, path: Path, digests: frozenset[str]) -> list[Stated]:
        files = [path]
        parts = []
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(_SUFFIXES))
            if len(files) > MAX_FILES:
                parts.append(Stated(failures=(f"{path}: more than {MAX_FILES:,} files; the rest was not read",)))
        return parts + [read(bounded(file, MAX_DOCUMENT), str(file), self._keys, digests) for file in files[:MAX_FILES]]
