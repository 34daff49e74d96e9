"""Reports in, verdicts on record out: what `scan --record` and the gates keep, and the digest of what they judged by."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pratique.granting.desk import Desk
from pratique.granting.who import this_user
from pratique.model.errors import PolicyError
from pratique.model.privilege import Point, Subject
from pratique.model.report import Reason, Report, Target
from pratique.policy.document import Waiver
from pratique.policyfiles import Rules, read_bounded
from pratique.store.line import Entry, Who
from pratique.store.verdicts import KeptVerdict, Verdicts

_ENGINES = frozenset(("docker", "podman", "containerd"))
_PLACES = frozenset(("places", "nodes"))  # where something stands in its file decides nothing


class Heard(NamedTuple):
    """Who is listened to, beside policies: sources of VEX statements and of attestations, and whose keys are believed.

    With `checks` the image's configuration and history are looked at, too.
    """

    vex: tuple[str, ...] = ()
    vex_keys: tuple[str, ...] = ()
    vex_authors: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    attestation_keys: tuple[str, ...] = ()
    checks: bool = False


def rules_digest(rules: Rules | None, fail_on: Sequence[str] = (), heard: Heard = Heard()) -> str:  # noqa: B008 - immutable
    """Return the digest of all that an image is judged by: equal digests judge equally, the advisories aside.

    A file counts by its content, wherever it lies. A context (stage, team, environment) counts only as far as a rule or a
    waiver asks for it: what is decided alike in ci and at the cluster need not be scanned twice.
    """
    said: dict[str, Any] = {"fail_on": sorted(fail_on)}
    for name, value in heard._asdict().items():
        if value:
            said[name] = value if value is True else sorted(map(_content, value))
    if rules is not None:
        said["policies"] = sorted(
            [policy.digest, sorted(rule.rule.id for rule in policy.rules if rule.applies(rules.context))]
            for policy in rules.policies
        )
        said["waivers"] = sorted(_waiver(waiver) for waiver in rules.waivers)
        if _asks_for_context(rules):
            said["context"] = msgspec.to_builtins(rules.context)
    return "sha256:" + hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def _content(name: str) -> str:
    """Return a file's digest; other sources are told by their names."""
    try:
        return "sha256:" + hashlib.sha256(read_bounded(Path(name))).hexdigest() if Path(name).is_file() else name
    except (PolicyError, OSError):
        return name


def _waiver(waiver: Waiver) -> str:
    names = [name for name in waiver.__struct_fields__ if name not in _PLACES]
    return msgspec.json.encode({name: getattr(waiver, name) for name in names}, enc_hook=str, order="deterministic").decode()


def _asks_for_context(rules: Rules) -> bool:
    return any(waiver.environment for waiver in rules.waivers) or any(
        "context" in rule.rule.when for policy in rules.policies for rule in policy.rules
    )


def same_image(target: Target) -> tuple[str, ...]:
    """Return the other digests of a target that are surely of the very same image, which is that of its configuration.

    A target names the digests of indexes on the way to it among them, unmarked: only where there is a single one is it known that
    it is no index's. What an engine calls an image in registries may be an index, too.
    """
    return target.digests if len(target.digests) == 1 and target.scheme not in _ENGINES else ()


def verdict_of(
    report: Report, rules: str, *, names: tuple[str, ...] | None = None, kept_as: str = "", by: Subject | None = None
) -> KeptVerdict:
    """Return what is kept of a report that was judged by the rules of that digest.

    `names` are other digests of the very same image, by default those that surely are; `kept_as` is where the whole report is.
    """
    target, verdict, database = report.target, report.verdict, report.meta.database
    return KeptVerdict(
        digest=target.digest,
        names=same_image(target) if names is None else names,
        reference=target.reference,
        platform=target.platform,
        decision=verdict.decision,
        reasons=verdict.reasons,
        rules=rules,
        policy=verdict.policy.name if verdict.policy is not None else "",
        database=database.digest,
        database_at=_seconds(database.built_at),
        complete=report.complete,
        at=_seconds(report.meta.scanned_at),
        until=_seconds(report.verdict.until),
        report=kept_as,
        by=f"{by.provider}:{by.id}" if by is not None else "",
    )


_ORDER = ("allow", "warn", "unknown", "deny")


def verdict_of_index(digest: str, reference: str, rules: str, images: Sequence[KeptVerdict]) -> KeptVerdict:
    """Return the verdict on an index: the worst of those on its images, as any of them may be what somebody runs by its name."""
    worst = max(images, key=lambda one: _ORDER.index(one.decision))
    reasons = tuple(
        Reason(reason.rule, f"{one.platform or one.digest[:19]}: {reason.message}") for one in images for reason in one.reasons
    )
    return msgspec.structs.replace(
        worst,
        digest=digest,
        names=(),
        reference=reference,
        platform="",
        index=True,
        reasons=reasons,
        rules=rules,
        complete=all(one.complete for one in images),
        at=min(one.at for one in images),
        until=min((one.until for one in images if one.until), default=0.0),
        database_at=min(one.database_at for one in images),
    )


def index_rules(rules: str, platforms: Sequence[str]) -> str:
    """Return the digest of the rules by which an index is judged where only some platforms of it count."""
    if not platforms:
        return rules
    return "sha256:" + hashlib.sha256("\n".join((rules, *sorted(platforms))).encode()).hexdigest()


def _seconds(text: str) -> float:
    """Return a moment in seconds since the epoch; 0 where there is none."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)).timestamp()


def record(desk: Desk, verdicts: Verdicts, verdict: KeptVerdict, *, point: Point = "prompt") -> KeptVerdict:
    """Keep a verdict, and say so in the ledger where it is another than before; return what is kept now.

    The ledger has it first: where that cannot be written, nothing is kept. Raises StoreError, LedgerError.
    """

    def before(was: KeptVerdict | None) -> None:
        if was is not None and (was.decision, was.reasons) == (verdict.decision, verdict.reasons):
            return
        said = {
            "digest": verdict.digest, "reference": verdict.reference[:300], "platform": verdict.platform, "rules": verdict.rules,
            "database": verdict.database, "was": was.decision if was is not None else "",
        }  # fmt: skip
        desk.record(
            Entry(
                event="verdict",
                by=Who.of(this_user()),
                decision=verdict.decision,
                policy=verdict.rules,
                point=point,
                node=os.uname().nodename,
                rule=verdict.reasons[0].rule[:200] if verdict.reasons else "",
                reason="; ".join(reason.message for reason in verdict.reasons)[:1000],
                detail={name: value for name, value in said.items() if value},
            )
        )

    return verdicts.put(verdict, before)
