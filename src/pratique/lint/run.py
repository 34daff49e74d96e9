"""The path and content of one file in, findings and gaps out. Pure: `now` is an argument, nothing else is opened."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec

from pratique.lint.accounts import check_accounts
from pratique.lint.catalogue import catalogue
from pratique.lint.check import Checked, check_dockerfile, check_yaml
from pratique.lint.checks import podsecurity
from pratique.lint.hit import Hit
from pratique.lint.ignores import Ignore
from pratique.lint.image import MAX_SECRETS, Entry, Seen, check_config, check_files, check_secret, entries, is_config, written
from pratique.lint.regions import Lines, Region
from pratique.lint.registries import with_registries
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.finding import Finding, FindingLocation
from pratique.model.inventory import AccountFile, Gap, PrivilegedFile, SecretFile

Kind = Literal["dockerfile", "yaml", ""]

_DOCKERFILE = re.compile(r"(?:.*[._-])?(?:dockerfile|containerfile)[0-9]*(?:[._-].*)?", re.IGNORECASE)
_NOT_DOCKERFILE = re.compile(
    r".*\.(?:dockerignore|md|rst|adoc|txt|ya?ml|json|xml|toml|lock|py|go|rs|rb|js|ts|sh|bats|vim|lua|nanorc|tm[a-z]+|html?|svg|png"
    r"|patch|diff|sum|sig|asc|log|bak|orig|rej|swp|ejs|erb|j2|tpl|tmpl|mustache|tar|zip|[a-z]?gz|tgz|bz2|xz|zst)|.*~",
    re.IGNORECASE,
)
_YAML = re.compile(r".*\.(?:ya?ml|json)", re.IGNORECASE)
# The configuration of an image as a file: JSON with these members, in either order.
_CONFIG = re.compile(r'\A\s*\{(?=.{0,2000000}"rootfs"\s*:)(?=.{0,2000000}"diff_ids"\s*:)', re.DOTALL)
_TEMPLATE = re.compile(r"\{\{[-\s]*(?:\.|if |range |include |with |end|template |toYaml |define |\$|/\*)")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one file; `kind` is "" for a file that is none of those that are known."""

    kind: Literal["dockerfile", "compose", "kubernetes", "image", ""]
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()


def kind_by_name(path: str) -> Kind:
    """Say what a file should be by its name, "" where the name says nothing."""
    name = path.rsplit("/", 1)[-1]
    if _DOCKERFILE.fullmatch(name) and not _NOT_DOCKERFILE.fullmatch(name):
        return "dockerfile"
    return "yaml" if _YAML.fullmatch(name) else ""


def lint(
    path: str,
    content: bytes,
    now: dt.datetime,
    version: podsecurity.Version = podsecurity.LATEST,
    registries: Sequence[str] = (),
) -> Result:
    """Check one file. What its name does not say is told from what is in it.

    `version` is that of the cluster whose Pod Security Standards hold; where `registries` are given (as
    `parse_registries` returns them), images from others are found. Faults of the file are gaps, nothing is raised.
    """
    try:
        text = content.decode("utf-8-sig")
        if _CONFIG.search(text):
            return lint_config(path, _decoded(text))
        checked = with_registries(check(path, text, now, version), registries)
    except UnicodeDecodeError:
        return _gap(path, "lint.unreadable", "not UTF-8")
    except UnreadError as error:
        return _gap(path, error.code, error.message)
    except BudgetExceededError as error:
        return _gap(path, "lint.too-large", error.message)
    return Result(kind=checked.kind, findings=_findings(path, checked), gaps=checked.gaps)


def lint_config(path: str, config: Mapping[str, Any]) -> Result:
    """Check the configuration of a built image; `path` is what locations call it. Faults are gaps, nothing is raised."""
    try:
        history = entries(config)
        found = check_config(config, history)
    except BudgetExceededError as error:
        return _gap(path, "lint.too-large", error.message)

    def location(seen: Seen) -> FindingLocation:
        layer = history[seen.entry].layer if 0 <= seen.entry < len(history) else ""
        return FindingLocation(path=path, layer=layer, instruction=seen.hit.instruction)

    ordered = sorted(found, key=lambda seen: (seen.entry, seen.id, seen.hit.message))
    return Result(kind="image", findings=tuple(finding(seen.id, seen.hit, location(seen)) for seen in ordered))


class Found(NamedTuple):
    """What a scan found in the layers of an image that checks speak of."""

    privileged: Sequence[PrivilegedFile] = ()
    accounts: Sequence[AccountFile] = ()
    secrets: Sequence[SecretFile] = ()


def lint_image(config: Mapping[str, Any], there: Found) -> Result:
    """Check an image of which the files are known, too. Locations of its configuration name layers, and no path.

    Where there is no configuration, as of a folder, nothing is said of one.
    """
    result = lint_config("", config) if config else Result(kind="image")
    created = {entry.layer: written(entry.text)[:200] for entry in _entries(config) if entry.layer}
    more = [
        finding("im-privileged-files", hit, FindingLocation(layer=layer, instruction=created.get(layer, "")))
        for hit, layer in check_files(there.privileged)
    ]
    for file in there.secrets[:MAX_SECRETS]:
        where = FindingLocation(path=file.path, layer=file.layer, instruction=created.get(file.layer, ""))
        more.append(finding("im-secret-file", check_secret(file), where))
    for seen in check_accounts(there.accounts):
        layer = seen.file.layer
        path, line = f"etc/{seen.file.file}", seen.hit.place.line
        where = FindingLocation(path=path, line=line, layer=layer, instruction=created.get(layer, ""))
        more.append(finding(seen.id, seen.hit, where))
    return msgspec.structs.replace(result, findings=(*result.findings, *more))


def _entries(config: Mapping[str, Any]) -> list[Entry]:
    try:
        return entries(config)
    except BudgetExceededError:  # it is a gap already
        return []


def _decoded(text: str) -> Mapping[str, Any]:
    """Read a configuration that stands in a file. Raises UnreadError."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadError("lint.unreadable", f"not JSON: {error}") from None
    if not is_config(found):
        raise UnreadError("lint.unreadable", "not the configuration of an image")
    return cast("Mapping[str, Any]", found)


class UnreadError(ParseError):
    """A file that cannot be checked; `code` is that of the gap."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check(path: str, text: str, now: dt.datetime, version: podsecurity.Version = podsecurity.LATEST) -> Checked:
    """Check a text. Raises UnreadError with the reason where that cannot be done."""
    kind = kind_by_name(path) or _kind_by_content(text)
    try:
        if kind == "dockerfile":
            return check_dockerfile(path, text, now)
        if kind != "yaml" or (text[:1] in ("{", "[") and _is_other_json(text)):
            return Checked(kind="", text=text)
        return check_yaml(path, text, now, version)
    except ParseError as error:
        if kind == "yaml" and _TEMPLATE.search(text):
            message = "a template: lint what it renders to (helm template, kustomize build)"
            raise UnreadError("lint.template", message) from None
        raise UnreadError("lint.unreadable", error.message) from None
    except BudgetExceededError as error:
        raise UnreadError("lint.too-large", error.message) from None


def _is_other_json(text: str) -> bool:
    """Say whether a text is JSON of another kind, which is told much faster than YAML is read. What is no JSON may be YAML."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return not isinstance(found, dict) or not ("apiVersion" in found or "services" in found)


def _gap(path: str, code: str, message: str) -> Result:
    return Result(kind="", gaps=(Gap(code=code, message=message, path=path),))


def _kind_by_content(text: str) -> Kind:
    for line in text.split("\n", 200)[:200]:
        word = line.split(None, 1)[0] if line.strip() else "#"
        if word.startswith("#"):
            continue
        if word.upper() in ("FROM", "ARG"):
            return "dockerfile"
        return "yaml" if word.endswith(":") or word in ("---", "{", "[", "-") or word.startswith(("{", "%YAML")) else ""
    return ""


def _findings(path: str, checked: Checked) -> tuple[Finding, ...]:
    regions, lines = checked.regions(), Lines(checked.text)
    return tuple(
        finding(name, hit, _location(path, hit, regions[hit], lines), _waiver(checked.ignore(name, hit)))
        for name, hit in checked.hits
    )


def _location(path: str, hit: Hit, region: Region, lines: Lines) -> FindingLocation:
    start, end = lines.point(region.start), lines.point(region.end)
    return FindingLocation(
        path=path, line=start.line, column=start.column, end_line=end.line, end_column=end.column, instruction=hit.instruction
    )


def finding(name: str, hit: Hit, location: FindingLocation, waiver: dict[str, str] | None = None) -> Finding:
    """Return the finding of a check, with what its catalogue says."""
    check = catalogue()[name]
    digest = hashlib.sha256(f"misconfiguration\0{name}\0{hit.content}".encode("utf-8", "surrogateescape"))
    return Finding(
        kind="misconfiguration",
        id=name,
        title=check.title,
        severity=check.severity,
        fingerprint=digest.hexdigest()[:32],
        message=f"{hit.message}. {check.remedy}",
        references=check.references,
        controls=check.benchmarks,
        location=location,
        waiver=waiver,
    )


def _waiver(ignore: Ignore | None) -> dict[str, str] | None:
    if ignore is None:
        return None
    return {"id": "comment", "state": "ended" if ignore.ended else "active", "reason": ignore.reason, "expires": ignore.until}
