"""`pratique harden`: an image and a manifest in, a patch with the least privileges and what could not be told out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from pratique._kit.folders import default_cache_dir
from pratique.cli.harden_prove import ENGINES, How, prove
from pratique.cli.lintfix import patch
from pratique.cli.options import setting
from pratique.cli.outputs import replaced
from pratique.cli.target import HELP, given_as, registry_mirrors
from pratique.model.errors import TargetError, TargetNotFoundError, UsageError
from pratique.report.text import plural, safe

if TYPE_CHECKING:
    from pratique.image.options import SourceOptions
    from pratique.lint.harden.facts import ImageFacts
    from pratique.lint.harden.manifest import Container
    from pratique.lint.harden.proposal import Proposal
    from pratique.model.image import Platform

MAX_MANIFEST = 8 << 20  # bytes, as for lint
FORMATS = ("patch", "json")


@click.command(short_help="Propose the least privileges that an image runs with.", context_settings=HELP)
@click.argument("image", metavar="IMAGE")
@click.argument("manifest", metavar="[MANIFEST]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--container", metavar="NAME", help="Which container of the manifest is meant (default: the one of this image).")
@click.option("--attempt", is_flag=True, help="Propose what only running it can show, too; try the result.")
@click.option("--prove", metavar="ENGINE", help="Start the image with and without the flags on docker or podman, and compare.")
@click.option("--prove-check", metavar="COMMAND", default="", help="What has to succeed in the container, for --prove.")
@click.option("--prove-seconds", type=click.FloatRange(1, 600), default=15.0, help="How long to watch each start (15).")
@click.option("--write", is_flag=True, help="Rewrite the manifest instead of printing a patch.")
@setting("-f", "--format", metavar="FORMAT", default="patch", help="patch (default), or json: the proposal and its reasons.")
@setting("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image with several: pick this platform.")
@setting("--offline", is_flag=True, help="Make no connection at all.")
@setting("--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep what is downloaded here.")
@setting(
    "--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP, or show any certificate."
)
@setting("--registry-mirror", multiple=True, metavar="REGISTRY=MIRROR", help="Ask MIRROR before REGISTRY.")
@setting("-q", "--quiet", is_flag=True, help="Print nothing but the patch and errors.")
@setting("--debug", is_flag=True, help="Show where an error came from.")
def command(  # noqa: PLR0913 - as many as there are options
    image: str,
    manifest: Path | None,
    container: str | None,
    *,
    attempt: bool,
    prove: str | None,
    prove_check: str,
    prove_seconds: float,
    write: bool,
    **given: object,
) -> int:
    """Propose the smallest set of privileges that IMAGE runs with: account, capabilities, no-new-privileges, read-only root.

    It goes by what files show: USER, owners and modes of files, programs that give rights, ports, volumes, the entrypoint and its
    script. With MANIFEST (Kubernetes, Compose, or a script with docker run lines) it prints a patch for `patch -p1` or
    `git apply`; without one, flags for docker run. Each line has its reason; what no file tells is listed, never guessed.

    --prove runs the image on an engine that has it: without a network, as it is and with the flags, and says whether it holds,
    what it says that it did not say before, and which flags are to blame if it does not.

    Exit codes: 0 done, 1 what was tried does not hold, 2 bad usage, 3 the image or the manifest could not be read, or trying
    it showed nothing.
    """
    from pratique.image.manifest import parse_platform  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.options import SourceOptions  # noqa: PLC0415 - as above

    options = given_as(_Options, given)
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: not one of {', '.join(FORMATS)}")
    if write and manifest is None:
        raise UsageError("--write needs a manifest")
    _refuse_proof(prove, prove_check, manifest, options.format)
    text = _read(manifest) if manifest is not None else None
    sources = SourceOptions(
        cache_dir=options.cache_dir or default_cache_dir(),
        offline=options.offline,
        insecure=options.insecure_registry,
        mirrors=registry_mirrors(options.registry_mirror),
    )
    opened = _facts(image, parse_platform(options.platform) if options.platform else None, sources, text)
    chosen: Sequence[Container | None] = _chosen(text, str(manifest), container, opened.names) if text is not None else (None,)
    results = [_result(item, opened.facts, attempt=attempt) for item in chosen]
    if options.format == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode([_told(result) for result in results]), indent=2) + b"\n")
        return 0
    if manifest is None or text is None:
        _flags(results[0], quiet=options.quiet)
        return _proven(prove, opened, results[0].proposal, How(prove_seconds, prove_check)) if prove is not None else 0
    after, missed = _together(text, results)
    if write:
        _write(manifest, text, after)
    out = _Lines(results, missed, quiet=options.quiet)
    if write:
        sys.stderr.write("".join(out))
    else:
        sys.stdout.write("".join(out) + patch(str(manifest), text.encode(), after.encode()))
    return 0


def _refuse_proof(engine: str | None, check: str, manifest: Path | None, form: str) -> None:
    if engine is None:
        if check:
            raise UsageError("--prove-check needs --prove ENGINE")
        return
    if engine not in ENGINES:
        raise UsageError(f"--prove {engine}: not one of {', '.join(ENGINES)}")
    if manifest is not None or form != "patch":
        raise UsageError("--prove tries flags: leave the manifest and --format out")


def _proven(engine: str, opened: _Opened, proposal: Proposal, how: How) -> int:
    """Try the flags, and say what became of it."""
    from pratique.lint.harden.runline import flags  # noqa: PLC0415 - start-up stays lazy

    tried = prove(engine, opened.called, opened.digests, flags(proposal), how)
    sys.stderr.write(f"#   tried with {engine}:\n" + "".join(f"#   - {line}\n" for line in tried.lines(how)))
    return {True: 0, False: 1, None: 3}[tried.holds]


class _Options(msgspec.Struct, kw_only=True):
    format: str
    platform: str | None
    offline: bool
    cache_dir: Path | None
    insecure_registry: tuple[str, ...]
    registry_mirror: tuple[str, ...]
    quiet: bool
    debug: bool


class _Opened(NamedTuple):
    facts: ImageFacts
    names: tuple[str, ...]
    digests: tuple[str, ...]
    called: str


class _Result(NamedTuple):
    container: Container | None
    proposal: Proposal


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST + 1)
    except FileNotFoundError:
        raise TargetNotFoundError(f"{path}: there is no such file") from None
    if len(content) > MAX_MANIFEST:
        raise UsageError(f"{path}: larger than {MAX_MANIFEST} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8") from None


def _facts(given: str, platform: Platform | None, sources: SourceOptions, text: str | None) -> _Opened:
    """Read an image. Raises TargetError, IntegrityError, RegistryError, UsageError."""
    from pratique.image.open import open_target  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.reference import parse_target  # noqa: PLC0415 - as above
    from pratique.image.rootfs import read_rootfs  # noqa: PLC0415 - as above
    from pratique.lint.harden.facts import ImageFacts  # noqa: PLC0415 - as above
    from pratique.lint.harden.proposal import programs  # noqa: PLC0415 - as above
    from pratique.workload.rootfs import Rootfs  # noqa: PLC0415 - as above

    said = [item.start for item in _containers(text)] if text is not None else []
    words = [word for start in said for part in (start.entrypoint, start.command) for word in part or ()]
    with open_target(parse_target(given), platform, sources) as image:
        if (os := image.config.get("os")) not in (None, "", "linux"):
            raise TargetError(f"{given}: an image for {str(os)[:40]}; these privileges are those of Linux")
        inner = image.config.get("config")
        config = inner if isinstance(inner, dict) else {}
        names = ImageFacts(config, Rootfs({})).wanted_names() | {word.rsplit("/", 1)[-1] for word in words if 0 < len(word) < 200}
        names |= programs().keys()
        known = (given, image.reference, *image.tags)
        called = image.tags[0] if image.tags else image.reference
        return _Opened(ImageFacts(config, read_rootfs(image, names)), known, (image.digest, *image.known_as), called)


def _containers(text: str) -> list[Container]:
    from pratique.lint.harden.manifest import containers  # noqa: PLC0415 - start-up stays lazy

    return containers(text)


def _chosen(text: str, path: str, wanted: str | None, names: Sequence[str]) -> list[Container]:
    """Return the containers that are meant. Raises UsageError where that cannot be told."""
    found = _containers(text)
    known = ", ".join(f"{item.name} ({item.image or 'no image'})" for item in found[:20])
    if not found:
        raise UsageError(f"{path}: no container in it", hint="give Kubernetes manifests, a Compose file or docker run lines")
    if wanted is not None:
        chosen = [item for item in found if item.name == wanted or item.name.rpartition("/")[2] == wanted]
        if not chosen:
            raise UsageError(f"{path}: there is no container {wanted}", hint=f"there are: {known}")
        return chosen
    of_image = [item for item in found if item.image and _repository(item.image) in {_repository(name) for name in names}]
    if of_image or len(found) == 1:
        return of_image or found
    raise UsageError(f"{path}: none of its {len(found)} containers names this image", hint=f"say --container NAME: {known}")


def _repository(image: str) -> str:
    """Return the name of an image without scheme, registry of Docker Hub, tag and digest."""
    name = image.partition("@")[0]
    for scheme in ("registry:", "docker:", "podman:", "containerd:"):
        name = name.removeprefix(scheme)
    head, slash, tail = name.rpartition("/")
    name = f"{head}{slash}{tail.partition(':')[0]}"
    return name.removeprefix("docker.io/").removeprefix("library/")


def _result(item: Container | None, facts: ImageFacts, *, attempt: bool) -> _Result:
    from pratique.lint.harden.infer import infer  # noqa: PLC0415 - start-up stays lazy
    from pratique.lint.harden.proposal import Start  # noqa: PLC0415 - as above
    from pratique.workload.place import Place  # noqa: PLC0415 - as above
    from pratique.workload.spec import Spec  # noqa: PLC0415 - as above

    nothing = Start(format="docker", spec=Spec(format="docker-create", subject="docker run", place=Place(1, 1)))
    return _Result(item, infer(facts, item.start if item is not None else nothing, attempt=attempt))


def _together(text: str, results: Sequence[_Result]) -> tuple[str, list[str]]:
    """Write every proposal into the manifest; return it, and what could not be written."""
    from pratique.lint.harden.manifest import hardened  # noqa: PLC0415 - start-up stays lazy

    missed = []
    for result in results:
        if result.container is not None:
            text, left = hardened(text, result.container.name, result.proposal)
            missed += [f"{result.container.name}: {what}" for what in left]
    return text, missed


def _write(path: Path, before: str, after: str) -> None:
    if after != before:
        with replaced(path) as out:
            if path.read_bytes() != before.encode():
                raise UsageError(f"{path}: was changed meanwhile; it is left as it is")
            out.write(after.encode())


def _flags(result: _Result, *, quiet: bool) -> None:
    from pratique.lint.harden.runline import flags  # noqa: PLC0415 - start-up stays lazy

    if not quiet:
        sys.stderr.write("".join(_Lines([result], [], quiet=False)))
    sys.stdout.write(" ".join(flags(result.proposal)) + "\n")


class _Lines:
    """What goes before a patch: remarks that `patch` and `git apply` pass over."""

    def __init__(self, results: Sequence[_Result], missed: Sequence[str], *, quiet: bool) -> None:
        self._results = results if not quiet else ()
        self._missed = missed

    def __iter__(self) -> Iterator[str]:
        for result in self._results:
            yield f"# {safe(result.container.name)}\n" if result.container is not None else "# for docker run\n"
            for title, lines in _parts(result.proposal):
                if lines:
                    yield f"#   {title}:\n"
                    yield from (f"#   - {safe(line)}\n" for line in lines)
        if self._missed:
            yield f"# {plural(len(self._missed), 'setting')} could not be written here, because they are said elsewhere:\n"
            yield from (f"#   - {safe(line)}\n" for line in self._missed)


def _parts(proposal: Proposal) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "by what the files show", proposal.because
    yield "on trial: run it and see", proposal.attempts
    yield "what no file tells", proposal.open


def _told(result: _Result) -> dict[str, object]:
    name = result.container.name if result.container is not None else ""
    return {"container": name, **msgspec.to_builtins(result.proposal)}
