"""The text of one file in, everything that its checks see in it out: what reports, fixes and editors are made from. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from pratique._kit.yamltree import Node, documents
from pratique.lint import ignores, patches
from pratique.lint.build import Build, take_apart
from pratique.lint.checks import cluster, composed, containers, exposure, languages, origins, packages, podsecurity, rbac, users
from pratique.lint.hit import Hit
from pratique.lint.regions import Lines, Region, of_build, of_yaml
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import Gap
from pratique.workload import compose, kubernetes
from pratique.workload.dockerfile.instructions import Dockerfile
from pratique.workload.dockerfile.parse import KNOWN, parse
from pratique.workload.place import Place
from pratique.workload.spec import Spec

MAX_FINDINGS = 20_000  # of one file; whoever has more reads none of them

Found = tuple[str, Hit]  # the id of a check, and what it found


class Inline(NamedTuple):
    """A Dockerfile that stands in a Compose file: at the line `first` and indented, or somewhere at `place` (`first` is 0)."""

    build: Build
    place: Place
    first: int
    indent: int

    def at(self, place: Place) -> Place:
        """Return where something in it stands in the Compose file."""
        return Place(self.first + place.line, self.indent + place.column) if self.first else self.place


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One file, checked. `hits` are sorted by place; `build` is there for a Dockerfile, `nodes` for YAML, `inline` of Compose."""

    kind: Literal["dockerfile", "compose", "kubernetes", ""]
    text: str
    hits: tuple[Found, ...] = ()
    covered: tuple[ignores.Ignore, ...] = ()
    gaps: tuple[Gap, ...] = ()
    build: Build | None = None
    nodes: tuple[Node, ...] = ()
    inline: tuple[Inline, ...] = ()

    def regions(self) -> dict[Hit, Region]:
        """Return where each hit stands, in offsets; what has no known end goes to the end of its line."""
        places = [hit.place for _, hit in self.hits]
        found = of_build(self.text, self.build, places) if self.build is not None else of_yaml(self.text, self.nodes, places)
        lines = Lines(self.text)
        regions: dict[Hit, Region] = {}
        for _, hit in self.hits:
            region = found.get(hit.place)
            if region is None:
                start = lines.at(hit.place)
                end = self.text.find("\n", start)
                region = Region(start, start + len(self.text[start : end if end >= 0 else None].rstrip()))
            regions[hit] = region
        return regions

    def ignore(self, name: str, hit: Hit) -> ignores.Ignore | None:
        """Return the comment that covers a hit of a check."""
        line = hit.place.line
        return next((item for item in self.covered if name in item.ids and item.first <= line <= item.last), None)


def check_dockerfile(path: str, text: str, now: dt.datetime) -> Checked:
    """Check a Dockerfile. Raises ParseError, BudgetExceededError."""
    found = parse(text)
    gaps = [
        Gap(code="lint.unreadable", message=f"line {problem.place.line}: {problem.message}", path=path)
        for problem in found.problems
    ]
    unknown = [item for item in found.instructions if item.name not in KNOWN]
    if len(unknown) == len(found.instructions) and not gaps:
        raise ParseError("no instruction that a builder knows")
    gaps += [
        Gap(code="lint.unreadable", message=f"line {item.place.line}: {item.name[:40]} is no instruction", path=path)
        for item in unknown[:20]
    ]
    build = take_apart(found)
    if not build.stages:
        gaps.append(Gap(code="lint.unreadable", message="no FROM: no builder takes it", path=path))
    covered, own = ignores.read(_covered(found), now)
    hits = in_order([*_build_hits(build), *own])
    return Checked(kind="dockerfile", text=text, hits=hits, covered=tuple(covered), gaps=tuple(gaps), build=build)


def _build_hits(build: Build) -> Iterator[Found]:
    for module in (users, exposure, origins, packages, languages):
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


def check_yaml(path: str, text: str, now: dt.datetime, version: podsecurity.Version) -> Checked:
    """Check a Compose file or manifests; the kind is "" for any other YAML. Raises ParseError, BudgetExceededError."""
    nodes = documents(text)
    services = [node for node in nodes if compose.is_compose(node)]
    objects = [item for node in nodes for item in kubernetes.objects(node)]
    if not services and not objects:
        return Checked(kind="", text=text)
    hits: list[Found] = []
    gaps: list[Gap] = []
    inline = [one for node in services for one in _inline(text, node, gaps, path)]
    for one in inline:
        hits += [(name, hit._replace(place=one.at(hit.place))) for name, hit in _build_hits(one.build)]
        _bound(hits)
    for node in services:
        hits += [(name, hit) for name, check in composed.FILES.items() for hit in check(node)]
        _bound(hits)
        built = compose.built(node)
        for spec in compose.extract(node):
            found = _spec_hits(spec, {**containers.BOTH, **containers.COMPOSE})
            hits += [item for item in found if spec.image not in built or item[0] not in containers.OF_IMAGES]
        gaps += [
            Gap(code="lint.unresolved", message=f"line {place.line}: {what}: it was not read", path=path)
            for place, what in compose.unresolved(node)
        ]
    pods = kubernetes.pods(objects)
    partial = {container.node.place for pod in pods if patches.is_patch(pod) for container in pod.containers()}
    for spec in kubernetes.extract(objects):
        found = _spec_hits(spec, containers.BOTH)
        hits += patches.of_spec(spec, found) if spec.place in partial else found
        _bound(hits)
    for pod in pods:
        found = _pod_hits(pod, version)
        hits += patches.of_pod(pod, found) if patches.is_patch(pod) else found
        _bound(hits)
    objects_checks = {**cluster.OBJECTS, **rbac.OBJECTS}
    hits += [(name, hit) for item in objects for name, check in objects_checks.items() for hit in check(item)]
    covered, own = ignores.read(ignores.yaml_comments(text), now)
    return Checked(
        kind="compose" if services else "kubernetes",
        text=text,
        hits=in_order([*hits, *own]),
        covered=tuple(covered),
        gaps=tuple(gaps),
        nodes=tuple(nodes),
        inline=tuple(inline),
    )


def _inline(text: str, document: Node, gaps: list[Gap], path: str) -> Iterator[Inline]:
    """Yield the Dockerfiles that stand in a Compose file itself; what cannot be read is a gap."""
    lines = text.split("\n")
    for _, service in document.get("services").members():
        inline = service.get("build", "dockerfile_inline")
        if inline.kind != "text" or not inline.text.strip():
            continue
        first, indent = _block(lines, inline)
        try:
            build = take_apart(parse(inline.text))
        except ParseError as error:
            gaps.append(Gap(code="lint.unreadable", message=f"line {inline.place.line}: {error.message}", path=path))
            continue
        yield Inline(build, inline.place, first, indent)


def _block(lines: Sequence[str], node: Node) -> tuple[int, int]:
    """Return the line before the text of a literal block, and how far it is indented; (0, 0) for text of any other style."""
    head = lines[node.place.line - 1][node.place.column - 1 :] if node.place.line <= len(lines) else ""
    if not head.startswith("|"):
        return 0, 0
    number, own = next(((at, line) for at, line in enumerate(node.text.split("\n")) if line.strip()), (0, ""))
    at = node.place.line + number
    shown = lines[at].rstrip("\r") if at < len(lines) else ""
    return (node.place.line, len(shown) - len(own)) if own and shown.endswith(own) else (0, 0)


def in_order(hits: Iterable[Found]) -> tuple[Found, ...]:
    """Return hits by place, each once."""
    return tuple(sorted(set(hits), key=lambda item: (item[1].place, item[0], item[1].message)))


def _bound(hits: list[Found]) -> None:
    if len(hits) > MAX_FINDINGS:
        raise BudgetExceededError(f"more than {MAX_FINDINGS} findings in one file")


def _spec_hits(spec: Spec, checks: dict[str, containers.Check]) -> list[Found]:
    return [(name, hit) for name, check in checks.items() for hit in check(spec)]


def _pod_hits(pod: kubernetes.Pod, version: podsecurity.Version) -> list[Found]:
    standards = {**podsecurity.BASELINE, **podsecurity.RESTRICTED}
    found = [(name, hit) for name, check in standards.items() for hit in check(pod, version)]
    return found + [(name, hit) for name, check in cluster.PODS.items() for hit in check(pod)]
