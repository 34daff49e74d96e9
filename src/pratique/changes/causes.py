"""A difference in, its cause out: derived from what both reports state, and `unknown` where that does not tell.

What is in one report and not in the other is explained in the same way whichever came first.
"""

from __future__ import annotations

from pratique.advisory.feeds import ENRICHMENT
from pratique.changes.facts import Facts, Half, feeds_of, records_of, would_hold
from pratique.model.change import Cause
from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Package

KEV, EPSS = ENRICHMENT
_FILTERED = "nothing that the reports state explains it; was one of them written with --severity or --only-fixed?"


def of_presence(facts: Facts, finding: Finding, has: Half, lacks: Half) -> Cause:
    """Say why only one report has a finding."""
    if finding.kind == "eol":
        return _of_end(facts, finding)
    about = finding.package
    if about is None:
        return of_content(facts, finding, (has, lacks))
    package = has.purls.get(about.purl)
    if package is None:  # written with packages left out
        return Cause(kind="unknown", message=f"{about.purl} is not among the packages of its own report")
    others = lacks.named.get((package.type, package.name), [])
    if not others:
        if facts.same_image:
            return of_inventory(facts)
        return _image(f"{package.name} {package.version} {_came(facts, has)}", package, has)
    twin = next((other for other in others if other.purl == package.purl), None)
    if twin is None:
        twin = next((other for other in others if other.version == package.version), None)
    if twin is not None:
        return _of_same_version(facts, finding, (package, twin), (has, lacks))
    return _of_other_version(facts, finding, others, has)


def _of_same_version(facts: Facts, finding: Finding, both: tuple[Package, Package], halves: tuple[Half, Half]) -> Cause:
    has, lacks = halves
    package, twin = both
    if not facts.same_image:
        if has.release != lacks.release and package.type in ("deb", "apk", "rpm"):
            return _image(f"the distribution changed: {_releases(facts)}", package, has)
        if package.owner != twin.owner or package.source != twin.source:
            return _image(f"{package.name} {package.version} belongs to another package", package, has)
        if (package.declared, package.role) != (twin.declared, twin.role):
            return _image(f"{package.name} {package.version} is there in another role", package, has)
    return of_knowledge(facts, _became(facts, has), finding)


def _of_other_version(facts: Facts, finding: Finding, others: list[Package], has: Half) -> Cause:
    assert finding.package is not None
    package = has.purls[finding.package.purl]
    versions = ", ".join(sorted({other.version for other in others}))
    pair = (versions, package.version) if has is facts.new else (package.version, versions)
    message = f"{package.name} {pair[0]}, then {pair[1]}"
    if facts.same_image:
        return of_inventory(facts)
    changed = facts.changed(feeds_of(finding))
    if not changed:
        return _image(message, package, has)
    answers = [would_hold(finding, other) for other in others]
    if has.release != facts.old.release or has.release != facts.new.release:
        answers = [None]  # ranges are those of one release
    if any(answers):  # it would have been found, had it been known
        return _advisory(facts, changed, _became(facts, has), finding)
    if all(answer is False for answer in answers):
        return _image(f"{message}, which is {'inside' if has is facts.new else 'outside'} the range", package, has)
    return Cause(kind="unknown", message=f"{message}, and {', '.join(changed)} changed as well: either explains it")


def _became(facts: Facts, has: Half) -> str:
    return "is new, or holds now" if has is facts.new else "was withdrawn, or holds no longer"


def of_knowledge(facts: Facts, became: str, *findings: Finding) -> Cause:
    """Say what explains another answer about the same version of a package; `became` says what a record then did."""
    feeds = feeds_of(*findings)
    changed = facts.changed(feeds)
    if changed:
        return _advisory(facts, changed, became, *findings)
    if facts.all_changed and not facts.same_database:
        names = ", ".join(facts.all_changed)
        if facts.same_scanner:
            return Cause(
                kind="advisory", message=f"its own sources are the same; changed: {names}", feeds=tuple(facts.all_changed)
            )
        message = f"its own sources are the same; {names} changed, and so did the program ({facts.versions}): either explains it"
        return Cause(kind="unknown", message=message)
    if not facts.same_database and facts.kinds_differ:
        return Cause(kind="advisory", message=facts.dates)
    if not facts.same_scanner:
        return Cause(kind="scanner", message=facts.versions)
    return Cause(kind="unknown", message=_FILTERED)


def _advisory(facts: Facts, changed: list[str], became: str, *findings: Finding) -> Cause:
    records = tuple(sorted({record for one in findings for record in records_of(one, changed)}))
    feeds = ", ".join(changed)
    said = f"{', '.join(records)} of {feeds} {became}" if records else feeds
    return Cause(kind="advisory", message=f"{said} ({facts.dates})", feeds=tuple(changed), records=records)


def of_content(facts: Facts, finding: Finding, halves: tuple[Half, Half]) -> Cause:
    """Say why what is wrong with a file, and not with a package, is in one report only."""
    has, lacks = halves
    more, less = set(has.report.examined), lacks.report.examined
    if finding.kind == "misconfiguration" and less and "configuration" in more.difference(less):
        what = "with image checks, or a policy that asks for them, in one report only"
        return Cause(kind="scope", message=f"the configuration of the image was looked at {what}")
    if facts.same_image:
        return of_inventory(facts)
    where = finding.location
    layer = where.layer if where is not None else ""
    what = where.path if where is not None and where.path else finding.id
    instruction = has.instructions.get(layer, where.instruction if where is not None else "")
    return Cause(kind="image", message=f"{what} is not the same in both", layer=layer, instruction=instruction)


def of_inventory(facts: Facts) -> Cause:
    """Say why two inspections of one image saw different things."""
    if not facts.same_scanner:
        return Cause(kind="scanner", message=facts.versions)
    gaps = {gap.code for half in (facts.old, facts.new) for gap in half.report.problems if not gap.code.startswith("advisories.")}
    if gaps:
        return Cause(kind="unknown", message=f"one image, inspected in part: {', '.join(sorted(gaps))}")
    return Cause(kind="unknown", message=_FILTERED)


def of_package(facts: Facts, package: Package, has: Half) -> Cause:
    """Say why a package, or this version of it, is in one report only."""
    return of_inventory(facts) if facts.same_image else _image(f"{package.name} {package.version}".strip(), package, has)


def _came(facts: Facts, has: Half) -> str:
    return "is new" if has is facts.new else "is gone"


def _image(message: str, package: Package, has: Half) -> Cause:
    layer = package.locations[0].layer if package.locations else ""
    return Cause(kind="image", message=message, layer=layer, instruction=has.instructions.get(layer, ""))


def _of_end(facts: Facts, finding: Finding) -> Cause:
    """Say why the end of a distribution's support is in one report only."""
    old, new = facts.old.report, facts.new.report
    if facts.old.release != facts.new.release:
        return Cause(kind="image", message=f"the distribution changed: {_releases(facts)}")
    ends = [report.target.distro.eol or "" if report.target.distro is not None else "" for report in (old, new)]
    if ends[0] != ends[1]:
        message = f"the date known for it was {ends[0] or 'none'}, then {ends[1] or 'none'}"
        return Cause(kind="unknown" if facts.same_scanner else "scanner", message=message)
    if ends[0] and (old.meta.scanned_at[:10] > ends[0]) != (new.meta.scanned_at[:10] > ends[0]):
        return Cause(kind="time", message=f"its support ended on {ends[0]}")
    return of_knowledge(facts, "changed", finding)


def _releases(facts: Facts) -> str:
    return ", then ".join(" ".join(half.release).strip() or "none" for half in (facts.old, facts.new))


def of_member(facts: Facts, name: str, old: Finding, new: Finding) -> Cause:
    """Say why one member of a finding is different."""
    if name == "version":
        return _of_version(facts, new)
    if name == "waiver":
        return of_waiver(old, new)
    if name == "status" and (vex := _of_statement(old, new)):
        return vex
    if name in ("kev", "epss"):
        feed = KEV if name == "kev" else EPSS
        if facts.changed([feed]):
            return Cause(kind="advisory", message=f"{feed}: {facts.dates}", feeds=(feed,), records=_cves(old, new))
    moved = old.package is not None and new.package is not None and old.package.version != new.package.version
    if (moved or facts.old.release != facts.new.release) and not facts.same_image and _reason(old) != _reason(new):
        changed = facts.changed(feeds_of(old, new))
        if not changed:
            return _of_version(facts, new) if moved else Cause(kind="image", message=f"the distribution: {_releases(facts)}")
        message = f"another version or release of the package, and {', '.join(changed)} changed as well: either explains it"
        return Cause(kind="unknown", message=message)
    return of_knowledge(facts, "changed", new, old)


def _cves(*findings: Finding) -> tuple[str, ...]:
    return tuple(sorted({name for one in findings for name in (one.id, *one.aliases) if name.startswith("CVE-")}))


def _reason(finding: Finding) -> tuple[str, str, str]:
    because = finding.because
    return (because.source, because.advisory, because.range) if because is not None else ("", "", "")


def _of_version(facts: Facts, new: Finding) -> Cause:
    package = facts.new.purls.get(new.package.purl) if new.package is not None else None
    if facts.same_image:
        return of_inventory(facts)
    if package is None:
        return Cause(kind="image", message="another version of the package")
    return _image(f"another version of {package.name}", package, facts.new)


def _of_statement(old: Finding, new: Finding) -> Cause | None:
    """Say which VEX statement explains another status."""
    if old.vex == new.vex:
        return None
    told = new.vex or old.vex
    assert told is not None
    said = f"{told.author}: {told.status.replace('_', ' ')}" if told.author else told.status.replace("_", " ")
    message = f"a VEX statement ({said}, {told.document}) {'holds' if new.vex is not None else 'holds no longer'}"
    return Cause(kind="vex", message=message)


def of_waiver(old: Finding, new: Finding) -> Cause:
    """Say what became of a waiver."""
    then, now = old.waiver or {}, new.waiver or {}
    name = str(now.get("id") or then.get("id") or "")
    if now.get("ended"):
        message = f"waiver {name} ended: {now['ended']}"
    elif then.get("ended") and not now.get("ended"):
        message = f"waiver {name} holds" if now else f"waiver {name}, which had ended, is gone"
    elif now and not then:
        message = f"waiver {name} of {now.get('owner') or 'nobody'} began"
    elif then and not now:
        message = f"waiver {name} of {then.get('owner') or 'nobody'} is gone"
    else:
        message = f"waiver {name} changed"
    return Cause(kind="waiver", message=message, waiver=name)


def of_gap(facts: Facts, gap: Gap, has: Half, lacks: Half) -> Cause:
    """Say why something could not be examined or known in one of the two only."""
    if gap.package and gap.package not in lacks.purls and not facts.same_image:
        return Cause(kind="image", message=f"{gap.package} {_came(facts, has)}")
    if not gap.code.startswith("advisories."):
        if facts.same_image:
            return of_inventory(facts)
        return Cause(kind="image", message=f"{gap.path or 'the image'} is not the same in both", layer=gap.layer)
    return _of_ignorance(facts, gap, has, lacks)


def _of_ignorance(facts: Facts, gap: Gap, has: Half, lacks: Half) -> Cause:
    if gap.source and gap.source in {**has.sources, **lacks.sources} and facts.changed([gap.source]):
        return Cause(kind="advisory", message=f"{gap.source}: {facts.dates}", feeds=(gap.source,))
    if gap.code == "advisories.stale" and has.report.meta.scanned_at != lacks.report.meta.scanned_at:
        return Cause(kind="time", message=f"{gap.source} grew old, or was fetched again")
    ecosystem = gap.source.partition(":")[0]
    asked = [any(package.ecosystem == ecosystem for package in half.report.packages) for half in (has, lacks)]
    if not facts.same_image and asked == [True, False]:
        return Cause(kind="image", message=f"what there is of {ecosystem} {_came(facts, has)}")
    if not facts.same_image and facts.old.release != facts.new.release:
        return Cause(kind="image", message=f"the distribution changed: {_releases(facts)}")
    if not facts.same_database:
        return Cause(kind="advisory", message=facts.dates, feeds=(gap.source,) if gap.source else ())
    if not facts.same_image:
        return Cause(kind="image", message="the packages are not the same")
    if not facts.same_scanner:
        return Cause(kind="scanner", message=facts.versions)
    return Cause(kind="unknown", message=_FILTERED)
