"""Reports in, verdicts in the store out: `scan --record`, so that gates need not scan what was scanned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pratique.model.errors import UsageError
from pratique.model.image import ImageRef
from pratique.model.report import Report

if TYPE_CHECKING:
    from pratique.pipeline import ScanOptions

# What has no digest of an image: a folder, or what somebody else wrote about one.
_NO_DIGEST = frozenset(("dir", "rootfs", "sbom"))
Keep = Callable[[Sequence[Report]], None]


class _Chosen(Protocol):
    record: bool
    store: str | None
    now: str | None
    as_of: str | None
    baseline: str | None
    policy: tuple[str, ...]
    fail_on: tuple[str, ...]
    output: tuple[str, ...]
    vex: tuple[str, ...]
    vex_key: tuple[str, ...]
    vex_author: tuple[str, ...]
    attestations: tuple[str, ...]
    attestation_key: tuple[str, ...]


@contextlib.contextmanager
def recording(options: _Chosen, how: ScanOptions, *targets: ImageRef) -> Iterator[Keep]:
    """Open the store before the scan, where a verdict is to be kept; what is yielded keeps it. Raises UsageError, StoreError."""
    if not options.record:
        yield lambda _: None
        return
    for given, name, why in (
        (options.now, "--now", "a verdict on record is of the moment it was reached"),
        (options.as_of, "--as-of", "a verdict on record is of the moment it was reached"),
        (options.baseline, "--baseline", "what is new in an image is not all that is wrong with it"),
    ):
        if given:
            raise UsageError(f"--record does not go with {name}: {why}")
    if not (options.policy or options.fail_on):
        raise UsageError("--record keeps a verdict, and nothing is judged", hint="--policy NAME|FILE, or --fail-on RULE")
    for target in targets:
        if target.scheme in _NO_DIGEST:
            raise UsageError(f"--record: {target.given or target} has no digest by which a gate could look it up")
    from pratique.enforce.verdicts import Heard, record, rules_digest, verdict_of  # noqa: PLC0415 - only where it is asked for
    from pratique.granting.desk import Desk  # noqa: PLC0415
    from pratique.granting.who import this_user  # noqa: PLC0415
    from pratique.store.place import open_place  # noqa: PLC0415
    from pratique.store.verdicts import Verdicts  # noqa: PLC0415

    heard = Heard(
        options.vex, options.vex_key, options.vex_author, options.attestations, options.attestation_key, how.image_checks
    )
    digest = rules_digest(how.rules, how.fail_on, heard)
    files = [name.partition("=")[2] for name in options.output if name.startswith("json=")]
    kept_as = str(Path(files[0]).absolute()) if files else ""
    place = open_place(options.store)
    with Desk(place) as desk, contextlib.closing(Verdicts(place)) as verdicts:

        def keep(reports: Sequence[Report]) -> None:
            for report in reports:
                kept = record(desk, verdicts, verdict_of(report, digest, kept_as=kept_as, by=this_user()))
                if how.say is not None:
                    how.say(f"on record: {kept.decision} for {kept.digest} by the rules {kept.rules[:19]}")

        yield keep
