"""What people write about admission in, the settings of a gate out: by what images are judged, and what where they were not."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from pratique._kit.written import Duration, Written, read
from pratique.policyfiles import is_file_name, read_bounded

Then = Literal["scan", "deny", "allow"]


class Metadata(Written, kw_only=True):
    """Name and purpose."""

    name: str
    description: str = ""


class Stale(Written, kw_only=True):
    """When a verdict is too old: by its own age, or by that of the advisories it was reached with; and what comes of it then.

    A denial that is stale stays a denial until a new scan says otherwise.
    """

    after: Duration = Duration(86_400)
    database: Duration | None = None
    then: Then = "scan"


class AdmissionSpec(Written, kw_only=True):
    """By what images are judged, and what is done where there is no verdict.

    `vex`, `attestations` and their keys, and `image_checks`, are as the options of `scan`; files lie beside the policy.
    `unknown` is for images that nobody has scanned, `unjudged` for those whose scan could not tell. `deadline` is how long
    a request waits for a scan, `scan` how long a scan may take. `exempt` are globs over NAME@DIGEST or DIGEST: no tag is
    exempt, as tags move. Of an index every image must be fit to run, or those of `platforms` (linux/amd64). `pulls: digest`
    refuses pulls by tag. `offline` fetches no advisories; images are fetched all the same.
    """

    policies: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = msgspec.field(default=(), name="failOn")
    vex: tuple[str, ...] = ()
    vex_keys: tuple[str, ...] = msgspec.field(default=(), name="vexKeys")
    vex_authors: tuple[str, ...] = msgspec.field(default=(), name="vexAuthors")
    attestations: tuple[str, ...] = ()
    attestation_keys: tuple[str, ...] = msgspec.field(default=(), name="attestationKeys")
    image_checks: bool = msgspec.field(default=False, name="imageChecks")
    team: str = ""
    environment: str = ""
    unknown: Then = "scan"
    unjudged: Literal["deny", "allow"] = "deny"
    stale: Stale = msgspec.field(default_factory=Stale)
    deadline: Duration = Duration(30)
    scan: Duration = Duration(600)
    exempt: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    pulls: Literal["resolve", "digest"] = "resolve"
    grants: bool = True
    offline: bool = False
    mirror: str = ""
    insecure_registries: tuple[str, ...] = msgspec.field(default=(), name="insecureRegistries")


class AdmissionFile(Written, kw_only=True):
    """kind: Admission."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815 - as Kubernetes' users write it
    kind: Literal["Admission"]
    metadata: Metadata
    spec: AdmissionSpec


def load_admission(path: Path) -> AdmissionSpec:
    """Read an admission policy; the policies and waivers it names are found beside it. Raises PolicyError."""
    file, text = read(str(path), read_bounded(path), AdmissionFile)
    spec = file.spec
    if not spec.policies and not spec.fail_on:
        text.fail(spec.place(), "nothing is ever refused by this", "name policies, or failOn: [critical, kev]")
    for name in spec.exempt:
        if "sha256:" not in name:
            text.fail(spec.place("exempt"), f"{name[:80]!r} is no digest, and tags move", "write NAME@sha256:DIGEST")
    beside = path.parent
    return msgspec.structs.replace(
        spec,
        policies=tuple(_beside(beside, name) for name in spec.policies),
        waivers=tuple(str(beside / name) for name in spec.waivers),
        vex=tuple(_there(beside, name) for name in spec.vex),
        vex_keys=tuple(str(beside / name) for name in spec.vex_keys),
        attestations=tuple(_there(beside, name) for name in spec.attestations),
        attestation_keys=tuple(str(beside / name) for name in spec.attestation_keys),
    )


def _there(folder: Path, name: str) -> str:
    """Return a source of statements: a file or folder beside the policy, if there is one, else what it says."""
    return str(folder / name) if (folder / name).exists() else name


def _beside(folder: Path, name: str) -> str:
    return str(folder / name) if is_file_name(name) else name
