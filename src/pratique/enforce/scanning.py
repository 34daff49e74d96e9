"""An image to be scanned in, its verdict out, by a process of its own: bounded in time, memory and number, ended with the gate.

The process is this module run as a program; what parses the image's bytes is confined once more within it, as in every scan. A
job goes to its standard input, an outcome comes from its standard output, each one JSON document.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pratique.store.verdicts import KeptVerdict

if TYPE_CHECKING:
    import asyncio

    from pratique.image.reference import ImageName
    from pratique.pipeline import ScanOptions

Stage = Literal["dev", "ci", "registry", "deploy", "runtime"]
# Scans at once, whoever asks: each takes a core while it reads an image. Names are looked up beside them, which takes a moment.
MAX_SCANS, MAX_LOOKUPS = 3, 4
# Images of one index that are scanned: the largest official ones have some twelve platforms.
MAX_IMAGES = 32
# Bytes of an outcome: a verdict with its reasons has some KiB.
MAX_OUTCOME = 4 << 20
# Address space of a scan, as the advisory database is mapped into it, and seconds of its processor.
_MEMORY = 8 << 30
_NICE = 10  # what is being served goes before what is being scanned


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to scan and by what; with `resolve` only which digest a name has now. `offline` fetches no advisories.

    Of an index all images are scanned, or those of `platforms`.
    """

    target: str
    platforms: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    stage: Literal["", "dev", "ci", "registry", "deploy", "runtime"] = ""
    team: str = ""
    environment: str = ""
    offline: bool = False
    mirror: str = ""
    insecure: tuple[str, ...] = ()
    seconds: float = 600.0
    resolve: bool = False
    username: str = ""
    password: str = ""
    vex: tuple[str, ...] = ()
    vex_keys: tuple[str, ...] = ()
    vex_authors: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    attestation_keys: tuple[str, ...] = ()
    image_checks: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts, the last on what was asked about; or a digest where that was asked for; or why there is neither."""

    verdicts: tuple[KeptVerdict, ...] = ()
    digest: str = ""
    error: str = ""


class Scanner:
    """Runs scans. `engine` is the socket of the engine that holds `docker:` images, where that is not the usual one.

    With a `username` and `password` registries are asked as that user.
    """

    def __init__(self, engine: Path | None = None, *, at_once: int = MAX_SCANS, username: str = "", password: str = "") -> None:
        self._engine = engine
        self._login = (username, password)
        self._at_once = at_once
        self._turn: asyncio.Semaphore | None = None
        self._lookup: asyncio.Semaphore | None = None

    async def run(self, job: Job, seconds: float) -> Outcome:
        """Run a job, waiting for its turn. `seconds` bound it from then on. Never raises, cancellation aside."""
        import asyncio

        if self._login[0]:
            job = msgspec.structs.replace(job, username=self._login[0], password=self._login[1])
        if self._turn is None or self._lookup is None:
            self._turn, self._lookup = asyncio.Semaphore(self._at_once), asyncio.Semaphore(MAX_LOOKUPS)
        async with self._lookup if job.resolve else self._turn:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    __name__,
                    str(os.getpid()),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=self._environment(),
                    start_new_session=True,
                    limit=MAX_OUTCOME,
                )
            except OSError as error:
                return Outcome(error=f"no process can be made: {error.strerror}")
            try:
                async with asyncio.timeout(seconds):
                    said = await _talk(process, msgspec.json.encode(job))
                return msgspec.json.decode(said, type=Outcome)
            except TimeoutError:
                return Outcome(error=f"it took more than {seconds:g} s")
            except (msgspec.MsgspecError, OSError):
                return Outcome(error="the scan ended without a verdict")
            finally:
                await _end(process)

    def _environment(self) -> dict[str, str]:
        """Return what a scan may know: where things lie, and nothing else of the gate's."""
        kept = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "SSL_CERT_FILE", "DOCKER_HOST")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        if self._engine is not None:
            found["DOCKER_HOST"] = f"unix://{self._engine}"
        return found


async def _talk(process: Any, message: bytes) -> bytes:
    process.stdin.write(message)
    process.stdin.write_eof()
    parts = bytearray()
    while data := await process.stdout.read(64 << 10):
        parts += data
        if len(parts) > MAX_OUTCOME:
            raise OSError("the outcome is too large")
    return bytes(parts)


async def _end(process: Any) -> None:
    """End the process with all that it started, and wait until it is gone."""
    import contextlib  # noqa: PLC0415 - beside its one use
    import signal  # noqa: PLC0415 - as above

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def perform(job: Job) -> Outcome:
    """Do a job in this process. Never raises."""
    from pratique.model.errors import PratiqueError  # noqa: PLC0415 - in the child alone

    try:
        if job.resolve:
            from pratique.granting.images import by_digest  # noqa: PLC0415 - as above

            named = by_digest(job.target, offline=job.offline, insecure=job.insecure)
            return Outcome(digest=named.rpartition("@")[2])
        return Outcome(verdicts=_verdicts(job))
    except PratiqueError as error:
        return Outcome(error=error.message[:500])
    except Exception as error:  # noqa: BLE001 - the gate is told, whatever it is
        return Outcome(error=f"a defect of pratique: {type(error).__name__}: {error}"[:500])


def _verdicts(job: Job) -> tuple[KeptVerdict, ...]:
    """Scan what is asked about; of an index, each image by its own digest, so that it does not matter which one a node takes."""
    from pratique.enforce.verdicts import Heard, index_rules, rules_digest, verdict_of_index  # noqa: PLC0415 - in the child alone
    from pratique.image.reference import parse_name  # noqa: PLC0415

    how = _options(job)
    heard = Heard(job.vex, job.vex_keys, job.vex_authors, job.attestations, job.attestation_keys, job.image_checks)
    rules = rules_digest(how.rules, how.fail_on, heard)
    scheme, _, value = job.target.partition(":")
    if scheme != "registry":
        found, digests = _verdict(job.target, how, rules)
        if value not in digests or value in (found.digest, *found.names):
            return (found,)
        # An engine that keeps images as registries do calls one by the digest of its index: that vouches for this platform alone.
        platform = "/".join(found.platform.split("/")[:2])
        return (found, verdict_of_index(value, found.reference, index_rules(rules, (platform,)), (found,)))
    name = parse_name(value)
    digest, children = _children(name, how, job.platforms)
    place = f"{name.registry}/{name.repository}"
    if not children:
        return (_verdict(f"registry:{place}@{digest}", how, rules)[0],)
    images = [_verdict(f"registry:{place}@{child}", how, rules)[0] for child in children]
    return (*images, verdict_of_index(digest, str(name), index_rules(rules, job.platforms), images))


def _children(name: ImageName, how: ScanOptions, platforms: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the digest of what a name leads to and, where that is an index, the images that it has for these platforms."""
    from pratique.image import oci  # noqa: PLC0415 - in the child alone
    from pratique.image.endpoint import Clients  # noqa: PLC0415
    from pratique.image.manifest import Index  # noqa: PLC0415
    from pratique.image.sources.registry import Remote  # noqa: PLC0415
    from pratique.model.errors import TargetError  # noqa: PLC0415

    sources = msgspec.structs.replace(how.sources, offline=False)
    clients = Clients(sources)
    try:
        remote = Remote(name, clients, sources)
        top, digest = remote.top()
        if not isinstance(top, Index):
            return digest, ()
        found = oci.candidates(top, remote.read, str(name))
    finally:
        clients.close()
    wanted = [one for one in found if not platforms or one.platform is None or _is_one_of(str(one.platform), platforms)]
    children = tuple(dict.fromkeys(one.descriptor.digest for one in wanted))
    if not children:
        raise TargetError(f"{name} has no image for {' or '.join(platforms) or 'any platform'}")
    if len(children) > MAX_IMAGES:
        raise TargetError(f"{name} has {len(children)} images; at most {MAX_IMAGES} are scanned: name platforms in the policy")
    return digest, children


def _is_one_of(platform: str, platforms: tuple[str, ...]) -> bool:
    """Say whether a platform is one of those, or a variant of one."""
    return any(platform == one or platform.startswith(one + "/") for one in platforms)


def _verdict(target: str, how: ScanOptions, rules: str) -> tuple[KeptVerdict, tuple[str, ...]]:
    """Return the verdict on an image, and the digests that it, or an index that leads to it, is known by."""
    from pratique.enforce.verdicts import verdict_of  # noqa: PLC0415 - in the child alone
    from pratique.image.reference import parse_target  # noqa: PLC0415
    from pratique.pipeline import scan  # noqa: PLC0415

    report = scan(parse_target(target), how, msgspec.structs.replace(how.sources, offline=False))
    return verdict_of(report, rules), report.target.digests


def _options(job: Job) -> ScanOptions:
    import datetime as dt  # noqa: PLC0415 - in the child alone

    from pratique._kit.folders import default_cache_dir  # noqa: PLC0415
    from pratique.image.options import SourceOptions  # noqa: PLC0415
    from pratique.pipeline import ScanOptions  # noqa: PLC0415
    from pratique.policy.facts import Context  # noqa: PLC0415
    from pratique.policy.judge import parse_fail_on  # noqa: PLC0415
    from pratique.policyfiles import Rules, load_policies, load_waivers  # noqa: PLC0415
    from pratique.vexsources.load import VexSources  # noqa: PLC0415
    from pratique.vexsources.statements import AttestationSources  # noqa: PLC0415

    policies = load_policies(job.policies)
    waivers = tuple(load_waivers([Path(name) for name in job.waivers], policies))
    context = Context(stage=job.stage, team=job.team, environment=job.environment)
    sources = SourceOptions(
        cache_dir=default_cache_dir(), offline=job.offline, insecure=job.insecure, username=job.username, password=job.password
    )
    fetching = msgspec.structs.replace(sources, offline=False)
    asks = bool(job.attestations or job.attestation_keys)
    return ScanOptions(
        sources=sources,
        mirror=job.mirror,
        seconds=job.seconds,
        fail_on=parse_fail_on(job.fail_on),
        rules=Rules(policies, waivers, context) if policies or waivers else None,
        vex=VexSources(job.vex, job.vex_keys, job.vex_authors, fetching) if job.vex else None,
        attestations=AttestationSources(job.attestations, job.attestation_keys, fetching) if asks else None,
        image_checks=job.image_checks,
        now=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def main() -> None:
    """Read a job, do it, write its outcome."""
    import resource  # noqa: PLC0415 - in the child alone

    from pratique._kit.sandbox import die_with_parent  # noqa: PLC0415

    die_with_parent(int(sys.argv[1]))
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    job = msgspec.json.decode(sys.stdin.buffer.read(MAX_OUTCOME), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(perform(job)))


if __name__ == "__main__":
    main()
