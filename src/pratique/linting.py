"""Paths in, the report on the files that they name out: where files meet the pure checks.

Files are opened for reading only, links in folders are not followed, and nothing that a file names is opened.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec

from pratique._version import __version__
from pratique.lint.run import Result, kind_by_name, lint, lint_config
from pratique.model.errors import TargetNotFoundError
from pratique.model.finding import Finding
from pratique.model.inventory import Gap
from pratique.model.report import DatabaseInfo, Meta, Reason, Report, Target, Verdict
from pratique.policy.judge import judge

if TYPE_CHECKING:
    from pratique.grant.forecast import Forecast
    from pratique.image.options import SourceOptions
    from pratique.model.image import Platform
    from pratique.policyfiles import Rules

SCHEMA = "urn:pratique:schema:scan-1"
MAX_FILE = 8 << 20  # bytes; the largest rendered charts that people commit have some 5 MB
MAX_FILES = 20_000  # in folders; the largest repositories of manifests have some thousands
STANDARD_INPUT = "-"

_IMAGES = frozenset(("docker-archive", "oci-archive", "oci-dir", "docker", "podman", "containerd", "registry"))
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip and zstd, in which archives of images are kept

# Folders that hold other people's files, or no files of a project at all.
_PASSED_OVER = frozenset((".git", ".hg", ".svn", "node_modules", ".venv", ".tox", "__pycache__"))
# One of these keys stands in every file in YAML or JSON that is looked for; the others of a folder are not worth parsing.
_KEYS = re.compile(rb"""["']?apiVersion["']?[ \t]*:|(?:^|[{,])[ \t]*["']?services["']?[ \t]*:""", re.MULTILINE)


class LintOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to lint: `now` as RFC 3339, `fail_on` as `parse_fail_on` returns it, `version` of the cluster (major, minor).

    `rules` are policies and waivers, None where there are neither. `skip_unknown` passes over named files that are of no known
    kind, and allows where there is no other. `registries` are those that are trusted, all where there are none. `platform` and
    `sources` are for images. `privileges` adds what a gate would deny.
    """

    now: str
    fail_on: tuple[str, ...] = ()
    rules: Rules | None = None
    skip_unknown: bool = False
    platform: Platform | None = None
    sources: SourceOptions | None = None
    privileges: Forecast | None = None
    version: tuple[int, int]
    registries: tuple[str, ...] = ()


def lint_paths(paths: Sequence[str], how: LintOptions, stdin: BinaryIO) -> Report:
    """Lint files, folders and `-` (standard input). Raises TargetNotFoundError for a path that is not there.

    A file that is named is always looked at; in folders only those that are Dockerfiles, Compose files or manifests by name and
    content. Where there is none of these at all, the decision is `unknown`.
    """
    now = dt.datetime.fromisoformat(how.now)
    results: dict[str, Result] = {}
    gaps: list[Gap] = []
    for given in paths:
        if is_image(given):
            results[given] = _image(given, how)
            continue
        for name, content, named in _contents(given, stdin, gaps):
            if name not in results and (named or _worth_reading(name, content)):
                results[name] = _forecast(lint(name, content, now, how.version, how.registries), name, content, how)
                unknown = not results[name].kind and not results[name].gaps
                if named and unknown and not how.skip_unknown:
                    message = "neither a Dockerfile nor a Compose file nor a manifest of Kubernetes"
                    gaps.append(Gap(code="lint.unknown", message=message, path=name))
    return _report(paths, results, gaps, how)


def _forecast(result: Result, name: str, content: bytes, how: LintOptions) -> Result:
    """Add what a gate would deny about a file."""
    if how.privileges is None or not result.kind:
        return result
    both = (*result.findings, *how.privileges.file(name, content))
    by_line = sorted(both, key=lambda one: one.location.line if one.location else 0)
    return msgspec.structs.replace(result, findings=tuple(by_line))


def is_image(given: str) -> bool:
    """Say whether a path is an image: one said so by its scheme, an archive, or an OCI layout."""
    if given.partition(":")[0] in _IMAGES and ":" in given:
        return True
    path = Path(given)
    if path.is_dir():
        return (path / "oci-layout").is_file()
    try:
        with path.open("rb") as file:
            head = file.read(262)
    except OSError:
        return False  # it is said where it is read
    return head.startswith(_PACKED) or head[257:262] == b"ustar"


def _image(given: str, how: LintOptions) -> Result:
    """Check the configuration of an image; no layer is fetched. Raises TargetError, IntegrityError, RegistryError, UsageError."""
    from pratique._kit.folders import default_cache_dir  # noqa: PLC0415 - only where there is an image
    from pratique.image.open import open_target  # noqa: PLC0415 - as above
    from pratique.image.options import SourceOptions  # noqa: PLC0415 - as above
    from pratique.image.reference import parse_target  # noqa: PLC0415 - as above

    sources = how.sources or SourceOptions(cache_dir=default_cache_dir())
    with open_target(parse_target(given), how.platform, sources) as image:
        result = lint_config(given, image.config)
        if how.privileges is None:
            return result
        more = how.privileges.image(image.config, image.reference, image.digest)
        return msgspec.structs.replace(result, findings=(*result.findings, *more))


class Rewrite(NamedTuple):
    """A file as it is and as its fixes make it; `done` are their titles, with the lines of the file as it was."""

    path: str
    before: bytes
    after: bytes
    done: tuple[tuple[int, str, str], ...]


def rewrites(paths: Sequence[str], how: LintOptions, *, unsafe: bool) -> Iterator[Rewrite]:
    """Work out what the safe fixes (or all) make of each file that `lint_paths` would check; nothing is written.

    Raises TargetNotFoundError. What cannot be checked is passed over: the report says so.
    """
    from pratique.lint.fixes.mend import mend  # noqa: PLC0415 - only where something is to be mended
    from pratique.lint.run import UnreadError  # noqa: PLC0415 - as above

    now = dt.datetime.fromisoformat(how.now)
    seen: set[str] = set()
    for given in paths:
        for name, content, named in _contents(given, io.BytesIO(), []) if not is_image(given) else ():
            if name in seen or not (named or _worth_reading(name, content)):
                continue
            seen.add(name)
            try:
                text = content.decode("utf-8-sig")
                mended = mend(name, text, now, how.version, unsafe=unsafe)
            except (UnreadError, UnicodeDecodeError):
                continue
            if mended.done:
                mark = content[: len(content) - len(text.encode())]  # of the byte order, which stays
                done = tuple((fix.hit.place.line, fix.id, fix.title) for fix in mended.done)
                yield Rewrite(name, content, mark + mended.text.encode(), done)


def _report(paths: Sequence[str], results: dict[str, Result], gaps: list[Gap], how: LintOptions) -> Report:
    found = [finding for name in sorted(results) for finding in results[name].findings]
    problems = tuple(sorted([*gaps, *(gap for result in results.values() for gap in result.gaps)]))
    target = Target(reference=" ".join(paths), scheme="files", digest="", platform="", distro=None, layers=())
    kinds = {"configuration" if result.kind == "image" else result.kind for result in results.values()} - {""}
    examined = tuple(sorted(kinds))
    verdict, found = _judge(target, found, problems, how, examined)
    if how.privileges is not None:
        verdict = how.privileges.ruled(verdict, found)
    nothing_there = not how.skip_unknown and not any(result.kind for result in results.values())
    if verdict.decision in ("allow", "warn") and nothing_there:
        nothing = Reason("nothing-to-lint", "there is no file that can be checked")
        verdict = Verdict(decision="unknown", policy=verdict.policy, reasons=(nothing, *verdict.reasons))
    return Report(
        schema=SCHEMA,
        complete=not problems,
        meta=Meta(version=__version__, scanned_at=how.now, database=DatabaseInfo(built_at="", digest="", kind="none")),
        target=target,
        packages=(),
        findings=tuple(found),
        problems=problems,
        verdict=verdict,
        examined=examined,
    )


def _judge(
    target: Target, findings: list[Finding], problems: tuple[Gap, ...], how: LintOptions, examined: tuple[str, ...]
) -> tuple[Verdict, list[Finding]]:
    """Decide as a scan does. Findings come back with the waivers that cover them."""
    if how.rules is None:
        return judge(findings, problems, how.fail_on), findings
    from pratique.policy.engine import decide  # noqa: PLC0415 - only where there are rules
    from pratique.policy.facts import Subject  # noqa: PLC0415 - as above

    subject = Subject(
        findings=tuple(findings), gaps=problems, target=target, examined=examined, context=how.rules.context, now=how.now
    )
    judgement = decide(subject, how.rules.policies, how.rules.waivers, how.fail_on)
    return judgement.verdict, list(judgement.findings)


def _contents(given: str, stdin: BinaryIO, gaps: list[Gap]) -> Iterator[tuple[str, bytes, bool]]:
    """Yield path, content, and whether the file was named itself. What cannot be read is added to `gaps`."""
    if given == STANDARD_INPUT:
        content = stdin.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            gaps.append(_too_large(given))
        else:
            yield given, content, True
        return
    path = Path(given)
    if not path.exists():
        raise TargetNotFoundError(f"{given}: there is no such file or folder")
    if not path.is_dir():
        content_or_none = _read(path, gaps)
        if content_or_none is not None:
            yield given, content_or_none, True
        return
    for number, name in enumerate(_files(given, gaps)):
        if number == MAX_FILES:
            gaps.append(Gap(code="lint.too-many", message=f"more than {MAX_FILES} files; the others were not read", path=given))
            return
        content_or_none = _read(Path(name), gaps, named=False)
        if content_or_none is not None:
            yield name, content_or_none, False


def _files(folder: str, gaps: list[Gap]) -> Iterator[str]:
    """Yield the files of a folder that are worth opening by their names, in the order of their paths."""

    def unreadable(error: OSError) -> None:
        gaps.append(Gap(code="lint.unreadable", message=error.strerror or "cannot be read", path=str(error.filename)))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER)
        for name in sorted(names):
            path = str(Path(here) / name)
            if kind_by_name(name) and _is_regular(path, gaps):
                yield path


def _is_regular(path: str, gaps: list[Gap]) -> bool:
    """A link may lead out of the folder, and a pipe would be waited for."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError as error:
        gaps.append(Gap(code="lint.unreadable", message=error.strerror or "cannot be read", path=path))
        return False


def _read(path: Path, gaps: list[Gap], *, named: bool = True) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        gaps.append(Gap(code="lint.unreadable", message=error.strerror or "cannot be read", path=str(path)))
        return None
    if len(content) > MAX_FILE:
        if named or _worth_reading(str(path), content):
            gaps.append(_too_large(str(path)))
        return None
    return content


def _too_large(path: str) -> Gap:
    return Gap(code="lint.too-large", message=f"larger than {MAX_FILE} bytes", path=path)


def _worth_reading(name: str, content: bytes) -> bool:
    return kind_by_name(name) == "dockerfile" or _KEYS.search(content) is not None
