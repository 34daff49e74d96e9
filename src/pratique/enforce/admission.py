"""An image that is about to run, or to be pulled, in; whether its verdict lets it, and why not, out. One for all gates.

    admission = Admission(place, load_admission(path))  # once, in the gate's process
    judgement = await admission.judge(Image("reg.example/app:1", (image_id, *repo_digests), "docker:" + image_id), "docker")
    if not judgement.allowed: ...  # judgement.reason is the sentence, judgement.privilege the way out

How gates use it
- `Image.digests` is every digest that is known to be this very image: the engine's id of it, the manifest's digest. Never what a
  tag means by guess. `Image.target` is how to scan it where nobody has yet (`docker:ID`, `registry:NAME@DIGEST`), "" where
  the gate cannot say; a daemon's own image is read through the engine's real socket (`engine`), not through the gate.
- `judge` never raises and never blocks the loop. It answers within `deadline` (the policy's own, where none is given): a known
  image in well under a millisecond, a stranger as soon as its scan ends. A scan that takes longer goes on, so that whoever
  asks again finds the verdict. All who ask for one image at once share one scan. Scans wait in line by `subject`
  (`fairness`): who asks for a hundred strangers keeps nobody else waiting.
- A refused image is not the end: `judgement.privilege` is `run.image:NAME@DIGEST`. A gate adds it to what the request needs
  (`Request.extra`) and decides as ever; a grant of it, where a policy entitles anybody to one, lets the image run for a
  task, and every denial carries the command that asks for it. "" where the admission policy says `grants: false`.
- Docker: judge at containers/create and start by the image's id. A pull by tag can only be judged by what the tag means now
  (`resolve`), and the engine resolves it anew: refusing there spares a download, what counts is the judgement at create.
  `pulls: digest` refuses pulls by tag altogether.
- Kubernetes: judge every container of a pod, init and ephemeral ones included, by `NAME@DIGEST`; a tag is resolved first, and the
  pod gets the digest in its place, or is refused where it cannot be.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only gates import this module
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pratique._kit.references import repository
from pratique.enforce.admissionfile import AdmissionSpec, Stale, load_admission
from pratique.enforce.fairness import FullError, Line, Ticket
from pratique.enforce.scanning import Job, Scanner, Stage
from pratique.enforce.verdicts import Heard, index_rules, record, rules_digest
from pratique.granting.desk import Desk
from pratique.model.errors import PratiqueError
from pratique.model.privilege import Point
from pratique.policy.facts import Context
from pratique.policyfiles import Rules, check_context, load_policies, load_waivers
from pratique.store.place import Place
from pratique.store.verdicts import DIGEST, KeptVerdict, Verdicts

STAGES: dict[Point, Stage] = {
    "docker": "runtime", "podman": "runtime", "runtime": "runtime", "kubernetes": "deploy", "registry": "registry", "ci": "ci",
    "prompt": "dev",
}  # fmt: skip
# Scans that failed and are remembered, so that nobody fills the memory by names.
_MAX_FAILED = 200
# A scan that failed is not tried again for so many seconds: a broken image must not keep the machine busy.
RETRY = 30.0
# Seconds between looks whether the files of rules have changed.
_LOOK = 2.0
_CHANGED = "its rules changed while it was scanned: ask again"
_MAX_SENTENCE = 600
# Seconds that a verdict is kept which nobody renews: it is stale long before, but says what was decided when.
KEEP = 90 * 86_400.0
_CLEAN_EVERY = 86_400.0

Source = Literal["store", "scan", "unknown", "exempt"]


class Image(NamedTuple):
    """An image as a gate knows it: named, known by these digests, to be scanned as `target`."""

    reference: str
    digests: tuple[str, ...] = ()
    target: str = ""


class Judgement(NamedTuple):
    """Whether an image may go on. `reason` is a sentence for people, `privilege` what a grant would have to give ("": none can).

    `digest` is what was judged, `stale` says that the verdict is old and was taken all the same.
    """

    allowed: bool
    source: Source
    reason: str = ""
    digest: str = ""
    verdict: KeptVerdict | None = None
    privilege: str = ""
    stale: bool = False


class _Loaded(NamedTuple):
    """The rules as their files were: `names` are all that were read, `digests` are by stage."""

    names: tuple[str, ...]
    seen: tuple[tuple[str, int, int], ...]
    rules: dict[Stage, Rules | None]
    digests: dict[Stage, str]


class Admission:
    """The images of one gate. To be used by one loop; reads of the store take it some tens of microseconds."""

    def __init__(self, place: Place, spec: AdmissionSpec, *, scanner: Scanner | None = None, engine: Path | None = None) -> None:
        """`engine` is the real socket of the engine whose images are scanned. Raises StoreError, PolicyError."""
        self.spec = spec
        self._desk = Desk(place)
        self._verdicts = Verdicts(place, gate=True)
        self._scanner = scanner or Scanner(engine)
        self._thread = ThreadPoolExecutor(1, "admission")  # one writer: the ledger is another's, too
        self._line = Line()
        self._running: dict[str, tuple[asyncio.Task[KeptVerdict | str], Ticket]] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._cleaned = 0.0
        self._looked = time.monotonic()
        self._loaded = self._load()

    async def judge(
        self, image: Image, point: Point, *, stage: Stage | None = None, deadline: float | None = None, subject: str = ""
    ) -> Judgement:
        """Say whether an image may run, or be pulled. Never raises: what goes wrong is a refusal that says so.

        `deadline` is in seconds; 0 looks into the store and no further. `subject` is who asks, and waits in their own line where
        there has to be a scan.
        """
        try:
            found = self._known(image, stage or STAGES[point])
            if isinstance(found, Judgement):
                return found
            return await self._stranger(image, stage or STAGES[point], point, found, deadline, subject)
        except PratiqueError as error:
            return self._refused(image, "unknown", f"its verdict cannot be read: {error.message}")
        except Exception as error:  # noqa: BLE001 - a gate that cannot decide refuses, and says so
            return self._refused(image, "unknown", f"the gate failed: {type(error).__name__}")

    def known(self, image: Image, point: Point, *, stage: Stage | None = None) -> Judgement | None:
        """Say what the store says, None where a scan would be needed. Raises StoreError, PolicyError."""
        found = self._known(image, stage or STAGES[point])
        return found if isinstance(found, Judgement) else None

    def begin(self, image: Image, point: Point, *, subject: str = "") -> None:
        """Have a stranger scanned in time, before anybody waits for it; nothing where that cannot be."""
        stage = STAGES[point]
        try:
            if not isinstance(self._known(image, stage), Judgement) and self.spec.unknown == "scan":
                self._scan(image, stage, point, subject)
        except PratiqueError:
            return  # whoever asks for the image is told

    async def resolve(self, reference: str, deadline: float | None = None) -> str:
        """Return the digest that a name with a tag means in its registry at this moment, "" where nobody can tell in time."""
        wait = float(self.spec.deadline) if deadline is None else deadline
        job = Job(target=reference, resolve=True, offline=self.spec.offline, insecure=self.spec.insecure_registries, seconds=wait)
        outcome = await self._scanner.run(job, wait)
        return outcome.digest if DIGEST.fullmatch(outcome.digest) else ""

    async def close(self) -> None:
        """End all scans, and let go of the store."""
        running = [task for task, _ in self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._thread.shutdown()
        self._verdicts.close()
        self._desk.close()

    # -- what is known ---------------------------------------------------------------------------------------------------------

    def _known(self, image: Image, stage: Stage) -> Judgement | KeptVerdict | None:
        """Return a judgement; or the verdict that is too old to count, or None, where there has to be a scan."""
        if self._exempt(image):
            return Judgement(allowed=True, source="exempt", digest=next(iter(image.digests), ""))
        found = self._verdicts.find(image.digests)
        now, rules = time.time(), self._current().digests[stage]
        of_index = index_rules(rules, self.spec.platforms)
        ours = [one for one in found if one.rules == (of_index if one.index else rules)]
        fresh = _worst([one for one in ours if not self._is_stale(one, now)])
        if fresh is not None:
            return self._judged(image, fresh, "store")
        old = _worst(ours) or (found[0] if found else None)
        if old is None:
            if self.spec.unknown == "allow":
                return Judgement(allowed=True, source="unknown", digest=next(iter(image.digests), ""))
            if self.spec.unknown == "deny":
                return self._refused(image, "unknown", "nobody has scanned this image")
            return None
        if self.spec.stale.then == "scan":
            return old
        if self.spec.stale.then == "allow" and old in ours:
            return self._judged(image, old, "store", stale=True)
        return self._refused(
            image, "store", f"its verdict is {self._why_stale(old, now) if old in ours else 'by other rules'}", old
        )

    def _is_stale(self, verdict: KeptVerdict, now: float) -> bool:
        return bool(self._why_stale(verdict, now))

    def _why_stale(self, verdict: KeptVerdict, now: float) -> str:
        """Say why a verdict no longer counts, "" where it does. One from the future is none."""
        stale = self.spec.stale
        if verdict.at > now + 60:
            return "from the future: see to the clock"
        if now - verdict.at > stale.after:
            return f"{_lasts(now - verdict.at)} old"
        if verdict.until and now >= verdict.until:
            return "resting on a waiver that has ended"
        if stale.database is not None and now - verdict.database_at > stale.database:
            return f"reached with advisories that are {_lasts(now - verdict.database_at)} old"
        return ""

    def _judged(self, image: Image, verdict: KeptVerdict, source: Source, *, stale: bool = False) -> Judgement:
        if verdict.decision in ("allow", "warn"):
            return Judgement(True, source, "", verdict.digest, verdict, stale=stale)  # noqa: FBT003 - its one meaning
        if verdict.decision == "unknown" and self.spec.unjudged == "allow":
            return Judgement(True, source, "", verdict.digest, verdict, stale=stale)  # noqa: FBT003 - as above
        why = "; ".join(reason.message for reason in verdict.reasons) or "no reason is known"
        words = "its verdict is deny" if verdict.decision == "deny" else "nobody could tell what is in it"
        by = f" (policy {verdict.policy})" if verdict.policy else ""
        return self._refused(image, source, f"{words}{by}: {why}", verdict)._replace(stale=stale)

    def _refused(self, image: Image, source: Source, why: str, verdict: KeptVerdict | None = None) -> Judgement:
        digest = verdict.digest if verdict is not None else next(iter(image.digests), "")
        own = next((one for one in image.digests if DIGEST.fullmatch(one)), "")
        name = repository(image.reference) if image.reference and not image.reference.startswith("sha256:") else ""
        privilege = f"run.image:{name}@{own}" if name else f"run.image:{own}"
        called = image.reference if "@" in image.reference or not own else f"{image.reference or 'the image'} ({own[:19]})"
        return Judgement(
            allowed=False,
            source=source,
            reason=f"{called}: {why}"[:_MAX_SENTENCE],
            digest=digest,
            verdict=verdict,
            privilege=privilege if own and self.spec.grants else "",
        )

    def _exempt(self, image: Image) -> bool:
        names = [*image.digests, *(f"{repository(image.reference)}@{digest}" for digest in image.digests if image.reference)]
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.spec.exempt)

    # -- strangers -------------------------------------------------------------------------------------------------------------

    async def _stranger(
        self, image: Image, stage: Stage, point: Point, old: KeptVerdict | None, deadline: float | None, subject: str
    ) -> Judgement:
        wait = float(self.spec.deadline) if deadline is None else deadline
        task = self._scan(image, stage, point, subject)
        if isinstance(task, str):
            return self._refused(image, "unknown", task, old)
        done, _ = await asyncio.wait({task}, timeout=wait)
        if not done:
            words = "it is being scanned: ask again" if old is None else "its verdict is old, and it is being scanned: ask again"
            return self._refused(image, "unknown", words, old)
        outcome = task.result()
        if isinstance(outcome, str):
            return self._refused(image, "unknown", outcome, old)
        return self._judged(image, outcome, "scan")

    def _scan(self, image: Image, stage: Stage, point: Point, subject: str) -> asyncio.Task[KeptVerdict | str] | str:
        """Return the scan of an image, which may be running already; or why there is none."""
        if not image.target or not image.digests:
            return "nobody has scanned this image, and it has no digest by which it could be"
        loaded = self._current()
        name = "\n".join((loaded.digests[stage], *image.digests))
        if (running := self._running.get(name)) is not None:
            task, ticket = running
            self._line.join(ticket, subject)
            return task
        at, why = self._failed.get(name, (0.0, ""))
        if why and time.monotonic() - at < RETRY:
            return why
        try:
            ticket = self._line.enter(subject)
        except FullError as error:
            return error.message
        task = asyncio.get_running_loop().create_task(self._in_turn(ticket, image, stage, point, loaded.digests[stage]))
        self._running[name] = task, ticket
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: str, task: asyncio.Task[KeptVerdict | str]) -> None:
        self._running.pop(name, None)
        self._failed.pop(name, None)
        if not task.cancelled() and task.exception() is None and isinstance(why := task.result(), str):
            self._failed[name] = (time.monotonic(), why)
            while len(self._failed) > _MAX_FAILED:
                self._failed.pop(next(iter(self._failed)))

    async def _in_turn(self, ticket: Ticket, image: Image, stage: Stage, point: Point, rules: str) -> KeptVerdict | str:
        async with self._line.turn(ticket):
            return await self._scanned(image, stage, point, rules)

    async def _scanned(self, image: Image, stage: Stage, point: Point, rules: str) -> KeptVerdict | str:
        """Have an image scanned and its verdict put on record; return that, or why there is none."""
        spec = self.spec
        job = Job(
            target=image.target, platforms=spec.platforms, policies=spec.policies, waivers=spec.waivers, fail_on=spec.fail_on,
            stage=stage, team=spec.team, environment=spec.environment, offline=spec.offline, mirror=spec.mirror,
            insecure=spec.insecure_registries, seconds=float(spec.scan), vex=spec.vex, vex_keys=spec.vex_keys,
            vex_authors=spec.vex_authors, attestations=spec.attestations, attestation_keys=spec.attestation_keys,
            image_checks=spec.image_checks,
        )  # fmt: skip
        outcome = await self._scanner.run(job, float(spec.scan))
        if not outcome.verdicts:
            return f"it could not be scanned: {outcome.error}"
        if {one.rules for one in outcome.verdicts if not one.index} != {rules}:
            with contextlib.suppress(PratiqueError):  # those that cannot be read leave the last good ones
                self._loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
            return _CHANGED
        asked = outcome.verdicts[-1]
        if not {asked.digest, *asked.names} & set(image.digests):
            return f"another image ({asked.digest[:19]}) was found in its place"
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._record, outcome.verdicts, image.reference, point)
        except PratiqueError as error:
            return f"its verdict cannot be put on record: {error.message}"

    def _record(self, verdicts: Sequence[KeptVerdict], reference: str, point: Point) -> KeptVerdict:
        """Put verdicts on record, each under the name by which the image was asked for; return the last."""
        for verdict in verdicts:
            named = msgspec.structs.replace(verdict, reference=reference or verdict.reference)
            kept = record(self._desk, self._verdicts, named, point=point)
        if kept.at - self._cleaned > _CLEAN_EVERY:
            self._cleaned = kept.at
            self._verdicts.forget(kept.at - KEEP)
        return kept

    # -- rules -----------------------------------------------------------------------------------------------------------------

    def _current(self) -> _Loaded:
        """Return the rules, read again where their files have changed; those that cannot be read leave the last good ones."""
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._looked = now
            if _seen(self._loaded.names) != self._loaded.seen:
                try:
                    self._loaded = self._load()
                except PratiqueError:
                    return self._loaded  # a scan by the broken file would fail, and say so
        return self._loaded

    def _load(self) -> _Loaded:
        from pratique.policy.judge import parse_fail_on  # noqa: PLC0415 - beside its one use

        spec = self.spec
        fail_on = parse_fail_on(spec.fail_on)
        heard = Heard(spec.vex, spec.vex_keys, spec.vex_authors, spec.attestations, spec.attestation_keys, spec.image_checks)
        own = (*spec.policies, *spec.waivers, *spec.vex, *spec.vex_keys, *spec.attestations, *spec.attestation_keys)
        before = _seen(own)  # what changes while it is read is read again
        policies = load_policies(spec.policies)
        check_context(policies, Context(team=spec.team, environment=spec.environment))
        names = tuple(dict.fromkeys((*own, *(rule.text.name for policy in policies for rule in policy.rules))))
        seen = _seen(names) if _seen(own) == before else ()
        waivers = tuple(load_waivers([Path(name) for name in spec.waivers], policies))
        rules: dict[Stage, Rules | None] = {
            stage: Rules(policies, waivers, Context(stage=stage, team=spec.team, environment=spec.environment))
            if policies or waivers
            else None
            for stage in dict.fromkeys(STAGES.values())
        }
        return _Loaded(names, seen, rules, {stage: rules_digest(one, fail_on, heard) for stage, one in rules.items()})


def _seen(names: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Return what tells whether files are those that were read; rule sets that are shipped are none."""
    found = []
    for name in names:
        try:
            status = Path(name).stat()
        except OSError:  # no file, or one that is gone: reading it says so
            continue
        found.append((name, status.st_mtime_ns, status.st_ino))
    return tuple(found)


_ORDER = {"allow": 0, "warn": 1, "unknown": 2, "deny": 3}


def _worst(verdicts: Sequence[KeptVerdict]) -> KeptVerdict | None:
    """Return the one that counts of several: an image that is known by several digests is as bad as the worst of them."""
    return max(verdicts, key=lambda one: (_ORDER[one.decision], one.at), default=None)


def _lasts(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


__all__ = ["Admission", "AdmissionSpec", "Image", "Judgement", "Stale", "load_admission"]
