"""The path and content of one file in, findings and gaps out. Pure: `now` is an argument, nothing else is opened."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from pratique._kit.yamltree import documents
from pratique.lint import ignores
from pratique.lint.build import Build, take_apart
from pratique.lint.catalogue import catalogue
from pratique.lint.checks import cluster, containers, exposure, origins, packages, podsecurity, users
from pratique.lint.hit import Hit
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.finding import Finding, FindingLocation
from pratique.model.inventory import Gap
from pratique.workload import compose, kubernetes
from pratique.workload.dockerfile.instructions import Dockerfile
from pratique.workload.dockerfile.parse import KNOWN, parse
from pratique.workload.spec import Spec

MAX_FINDINGS = 20_000  # of one file; whoever has more reads none of them

Kind = Literal["dockerfile", "yaml", ""]
Found = tuple[str, Hit]  # the id of a check, and what it found

_DOCKERFILE = re.compile(r"(?:.*[._-])?(?:dockerfile|containerfile)(?:[._-].*)?", re.IGNORECASE)
_NOT_DOCKERFILE = re.compile(r".*\.(?:dockerignore|md|txt|ya?ml|json|py|go|js|ts|sh|html?|bak|orig|j2|tpl)", re.IGNORECASE)
_YAML = re.compile(r".*\.(?:ya?ml|json)", re.IGNORECASE)
_TEMPLATE = re.compile(r"\{\{[-\s]*(?:\.|if |range |include |with |end|template |toYaml |define |\$|/\*)")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one file; `kind` is "" for a file that is none of those that are known."""

    kind: Literal["dockerfile", "compose", "kubernetes", ""]
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()


def kind_by_name(path: str) -> Kind:
    """Say what a file should be by its name, "" where the name says nothing."""
    name = path.rsplit("/", 1)[-1]
    if _DOCKERFILE.fullmatch(name) and not _NOT_DOCKERFILE.fullmatch(name):
        return "dockerfile"
    return "yaml" if _YAML.fullmatch(name) else ""


def lint(path: str, content: bytes, now: dt.datetime, version: podsecurity.Version = podsecurity.LATEST) -> Result:
    """Check one file. What its name does not say is told from what is in it.

    `version` is that of the cluster whose Pod Security Standards hold. Faults of the file are gaps, nothing is raised.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _gap(path, "lint.unreadable", "not UTF-8")
    kind = kind_by_name(path) or _kind_by_content(text)
    try:
        if kind == "dockerfile":
            return _dockerfile(path, text, now)
        return _yaml(path, text, now, version) if kind == "yaml" else Result(kind="")
    except ParseError as error:
        if kind == "yaml" and _TEMPLATE.search(text):
            return _gap(path, "lint.template", "a template: lint what it renders to (helm template, kustomize build)")
        return _gap(path, "lint.unreadable", error.message)
    except BudgetExceededError as error:
        return _gap(path, "lint.too-large", error.message)


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


def _dockerfile(path: str, text: str, now: dt.datetime) -> Result:
    found = parse(text)
    gaps = [
        Gap(code="lint.unreadable", message=f"line {problem.place.line}: {problem.message}", path=path)
        for problem in found.problems
    ]
    unknown = [item for item in found.instructions if item.name not in KNOWN]
    if len(unknown) == len(found.instructions) and not gaps:
        return _gap(path, "lint.unreadable", "no instruction that a builder knows")
    gaps += [
        Gap(code="lint.unreadable", message=f"line {item.place.line}: {item.name[:40]} is no instruction", path=path)
        for item in unknown[:20]
    ]
    build = take_apart(found)
    comments = ignores.read(_covered(found), now)
    return Result(kind="dockerfile", findings=_findings(path, _build_hits(build), comments), gaps=tuple(gaps))


def _build_hits(build: Build) -> Iterator[Found]:
    for module in (users, exposure, origins, packages):
        for name, check in module.CHECKS.items():
            for number, hit in enumerate(check(build)):
                if number == MAX_FINDINGS:
                    raise BudgetExceededError(f"more than {MAX_FINDINGS} findings of {name} in one file")
                yield name, hit


def _covered(dockerfile: Dockerfile) -> Iterator[tuple[int, str, int, int]]:
    """Yield comments with the lines of the instruction that they stand before, or in."""
    instructions = iter(dockerfile.instructions)
    item = next(instructions, None)
    for comment in dockerfile.comments:
        while item is not None and item.end_line < comment.line:
            item = next(instructions, None)
        if item is not None:
            yield comment.line, comment.text, item.place.line, item.end_line


def _yaml(path: str, text: str, now: dt.datetime, version: podsecurity.Version) -> Result:
    nodes = documents(text)
    composed = [node for node in nodes if compose.is_compose(node)]
    objects = [item for node in nodes for item in kubernetes.objects(node)]
    if not composed and not objects:
        return Result(kind="")
    hits: list[Found] = []
    gaps = []
    for node in composed:
        for spec in compose.extract(node):
            hits += _spec_hits(spec, {**containers.BOTH, **containers.COMPOSE})
        gaps += [
            Gap(code="lint.unresolved", message=f"line {place.line}: {what}: it was not read", path=path)
            for place, what in compose.unresolved(node)
        ]
    for spec in kubernetes.extract(objects):
        hits += _spec_hits(spec, containers.BOTH)
        _bound(hits)
    for pod in kubernetes.pods(objects):
        hits += _pod_hits(pod, version)
        _bound(hits)
    hits += [(name, hit) for item in objects for name, check in cluster.OBJECTS.items() for hit in check(item)]
    comments = ignores.read(ignores.yaml_comments(text), now)
    return Result(kind="compose" if composed else "kubernetes", findings=_findings(path, hits, comments), gaps=tuple(gaps))


def _bound(hits: list[Found]) -> None:
    if len(hits) > MAX_FINDINGS:
        raise BudgetExceededError(f"more than {MAX_FINDINGS} findings in one file")


def _spec_hits(spec: Spec, checks: dict[str, containers.Check]) -> list[Found]:
    return [(name, hit) for name, check in checks.items() for hit in check(spec)]


def _pod_hits(pod: kubernetes.Pod, version: podsecurity.Version) -> list[Found]:
    standards = {**podsecurity.BASELINE, **podsecurity.RESTRICTED}
    found = [(name, hit) for name, check in standards.items() for hit in check(pod, version)]
    return found + [(name, hit) for name, check in cluster.PODS.items() for hit in check(pod)]


def _findings(path: str, hits: Iterable[Found], comments: tuple[list[ignores.Ignore], list[Found]]) -> tuple[Finding, ...]:
    covered, own = comments
    made = {(name, hit) for name, hit in (*hits, *own)}
    ordered = sorted(made, key=lambda item: (item[1].place, item[0], item[1].message))
    return tuple(_finding(path, name, hit, covered) for name, hit in ordered)


def _finding(path: str, name: str, hit: Hit, covered: list[ignores.Ignore]) -> Finding:
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
        location=FindingLocation(path=path, line=hit.place.line, instruction=hit.instruction),
        waiver=_waiver(name, hit, covered),
    )


def _waiver(name: str, hit: Hit, covered: list[ignores.Ignore]) -> dict[str, str] | None:
    for ignore in covered:
        if name in ignore.ids and ignore.first <= hit.place.line <= ignore.last:
            state = "ended" if ignore.ended else "active"
            return {"id": "comment", "state": state, "reason": ignore.reason, "expires": ignore.until}
    return None
