"""Verdicts on record, and what gates make of them: known images at once, strangers by one scan, the rest as the policy says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

import imagebuilder
import registrysim
from pratique._kit.written import Duration
from pratique.cli.main import run
from pratique.enforce import admission as module
from pratique.enforce.admission import Admission, AdmissionSpec, Image, Judgement, Stale, load_admission
from pratique.enforce.scanning import Job, Outcome, Scanner
from pratique.enforce.verdicts import record, rules_digest
from pratique.granting.desk import Desk
from pratique.model.errors import LedgerError, StoreError
from pratique.model.report import Reason
from pratique.policy.facts import Context
from pratique.policyfiles import Rules, load_policies
from pratique.store.formats import sentence
from pratique.store.place import Place
from pratique.store.reading import Filter, lines
from pratique.store.verdicts import MAX_REASONS, KeptVerdict, Verdicts
from storing import PATHS, place_in

IMAGE, INDEX, CONFIG = ("sha256:" + letter * 64 for letter in "abc")
KEV = rules_digest(None, ("kev",))
SPEC = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(30))


def verdict(decision: Any = "allow", **more: Any) -> KeptVerdict:
    given: dict[str, Any] = {"digest": IMAGE, "decision": decision, "rules": KEV, "at": time.time(), "names": (CONFIG,)}
    return KeptVerdict(**{**given, **more})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def keep(place: Place, *found: KeptVerdict) -> None:
    with Desk(place) as desk:
        verdicts = Verdicts(place)
        for one in found:
            record(desk, verdicts, one)
        verdicts.close()


class Scans(Scanner):
    """Scans that say what the test says, and count."""

    def __init__(self, outcome: Callable[[Job], Outcome], seconds: float = 0.0, *, held: bool = False) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        self.go = asyncio.Event()
        if not held:
            self.go.set()
        self._outcome, self._seconds = outcome, seconds

    async def run(self, job: Job, seconds: float) -> Outcome:
        self.jobs.append(job)
        await asyncio.sleep(self._seconds)
        await self.go.wait()
        return self._outcome(job)


def judging(
    place: Place, spec: AdmissionSpec, act: Callable[[Admission], Coroutine[Any, Any, Any]], scans: Scanner | None = None
) -> Any:
    """Do something with an admission in a loop of its own."""

    async def main() -> Any:
        admission = Admission(place, spec, scanner=scans or Scans(lambda _: Outcome(error="nothing is scanned here")))
        try:
            return await act(admission)
        finally:
            await admission.close()

    return asyncio.run(main())


def judged(place: Place, spec: AdmissionSpec = SPEC, image: Image | None = None, scans: Scanner | None = None) -> Judgement:
    asked = image or Image("reg.example/app:1", (CONFIG, IMAGE), "docker:" + CONFIG)
    found: Judgement = judging(place, spec, lambda admission: admission.judge(asked, "docker"), scans)
    return found


@pytest.mark.parametrize(("decision", "allowed"), [("allow", True), ("warn", True), ("deny", False), ("unknown", False)])
def test_a_known_image_is_answered_from_the_store(place: Place, decision: str, *, allowed: bool) -> None:
    """By its manifest's digest or its configuration's; the refusal has the reasons, and the privilege that would let it run."""
    keep(place, verdict(decision, reasons=(Reason("kev", "1 finding known to be exploited"),)))
    for digest in (IMAGE, CONFIG):
        found = judged(place, image=Image("reg.example/app:1", (digest,)))
        assert (found.allowed, found.source) == (allowed, "store")
        assert allowed or "known to be exploited" in found.reason
        assert found.privilege == ("" if allowed else f"run.image:reg.example/app@{digest}")


def test_a_look_into_the_store_takes_less_than_a_millisecond(place: Place) -> None:
    """With thousands of others in it, every digest marked and checked."""
    with Desk(place) as desk:
        verdicts = Verdicts(place)
        record(desk, verdicts, verdict())
        for number in range(2000):
            verdicts.put(verdict(digest=f"sha256:{number:064x}", names=()), lambda _: None)
        verdicts.close()

    async def timed(admission: Admission) -> float:
        image = Image("reg.example/app:1", (CONFIG,))
        await admission.judge(image, "docker")
        took = []
        for _ in range(300):
            began = time.perf_counter()
            await admission.judge(image, "docker")
            took.append(time.perf_counter() - began)
        return sorted(took)[30]  # other work on the machine makes some take longer, and none shorter

    assert judging(place, SPEC, timed) < 0.001


def test_what_nobody_scanned_is_as_the_policy_says(place: Place) -> None:
    """Refused, let through, or scanned."""
    image = Image("reg.example/app:1", (CONFIG, IMAGE), "docker:" + CONFIG)
    assert not judged(place, msgspec.structs.replace(SPEC, unknown="deny"), image).allowed
    assert judged(place, msgspec.structs.replace(SPEC, unknown="allow"), image).allowed
    scans = Scans(lambda _: Outcome(verdicts=(verdict("deny", reasons=(Reason("kev", "exploited"),)),)))
    found = judged(place, SPEC, image, scans)
    assert (found.allowed, found.source) == (False, "scan")
    assert [job.target for job in scans.jobs] == ["docker:" + CONFIG]
    again = judged(place, SPEC, image)
    assert (again.allowed, again.source) == (False, "store")


def test_all_who_ask_at_once_share_one_scan(place: Place) -> None:
    """A hundred requests for one stranger are one scan; another image is another."""
    scans = Scans(lambda job: Outcome(verdicts=(verdict(digest=job.target[7:], names=()),)), 0.2)

    async def crowd(admission: Admission) -> list[Judgement]:
        images = [Image("app", (digest,), "docker:" + digest) for digest in (IMAGE, INDEX)]
        return await asyncio.gather(*(admission.judge(images[number % 2], "docker") for number in range(100)))

    found = judging(place, SPEC, crowd, scans)
    assert all(one.allowed for one in found)
    assert len(scans.jobs) == 2


def test_a_late_scan_refuses_and_goes_on(place: Place) -> None:
    """Who asks gets an answer in time; who asks again finds the verdict. The loop is never held up."""
    scans = Scans(lambda _: Outcome(verdicts=(verdict(),)), held=True)
    image = Image("app", (IMAGE,), "docker:" + IMAGE)

    async def twice(admission: Admission) -> tuple[Judgement, Judgement]:
        first = await admission.judge(image, "docker", deadline=0.05)
        scans.go.set()  # not before the first has its answer
        return first, await admission.judge(image, "docker", deadline=60)

    first, second = judging(place, SPEC, twice, scans)
    assert not first.allowed
    assert "ask again" in first.reason
    assert second.allowed
    assert len(scans.jobs) == 1


def test_a_scan_that_fails_is_said_and_not_repeated_at_once(place: Place) -> None:
    """The reason is the refusal's; a broken image does not keep the machine busy."""
    scans = Scans(lambda _: Outcome(error="manifest unknown"))
    image = Image("app", (IMAGE,), "docker:" + IMAGE)

    async def thrice(admission: Admission) -> list[Judgement]:
        return [await admission.judge(image, "docker") for _ in range(3)]

    found = judging(place, SPEC, thrice, scans)
    assert all(not one.allowed and "manifest unknown" in one.reason for one in found)
    assert len(scans.jobs) == 1


def test_another_image_in_its_place_is_not_taken(place: Place) -> None:
    """What was scanned must be what was asked about: a name that leads elsewhere vouches for nothing."""
    scans = Scans(lambda _: Outcome(verdicts=(verdict(digest=INDEX, names=()),)))
    found = judged(place, SPEC, Image("app", (IMAGE,), "registry:reg.example/app:1"), scans)
    assert not found.allowed
    assert "another image" in found.reason
    assert judged(place, msgspec.structs.replace(SPEC, unknown="deny"), Image("app", (INDEX,))).source == "unknown"


def test_strangers_without_a_digest_or_a_way_are_refused(place: Place) -> None:
    """Nothing is scanned by a name alone."""
    for image in (Image("app"), Image("app", (IMAGE,)), Image("app", (), "docker:app")):
        assert not judged(place, SPEC, image).allowed


@pytest.mark.parametrize(
    ("old", "why"),
    [
        ({"at": time.time() - 3 * 86_400}, "3 days old"),
        ({"until": time.time() - 10}, "waiver that has ended"),
        ({"database_at": time.time() - 30 * 86_400}, "advisories that are 30 days old"),
        ({"rules": rules_digest(None, ("critical",))}, "by other rules"),
        ({"at": time.time() + 86_400}, "from the future"),
    ],
)
def test_old_verdicts_are_stale(place: Place, old: dict[str, Any], why: str) -> None:
    """By age, by a waiver's end, by the advisories' age, by other rules, by a clock that was wrong: each said, then as told."""
    keep(place, verdict("allow", **{"database_at": time.time(), **old}))
    strict = msgspec.structs.replace(SPEC, stale=Stale(database=Duration(7 * 86_400), then="deny"))
    found = judged(place, strict)
    assert not found.allowed
    assert why in found.reason
    scans = Scans(lambda _: Outcome(verdicts=(verdict("allow", database_at=time.time()),)))
    anew = judged(place, msgspec.structs.replace(strict, stale=Stale(database=Duration(7 * 86_400), then="scan")), scans=scans)
    assert (anew.allowed, anew.source) == (True, "scan") or "from the future" in why
    assert len(scans.jobs) == 1


def test_a_stale_verdict_that_is_let_through_stays_what_it_was(place: Place) -> None:
    """`then: allow` takes an old verdict as it is: a denial stays one; one by other rules counts for nothing."""
    lax = msgspec.structs.replace(SPEC, stale=Stale(then="allow"))
    keep(place, verdict("allow", at=time.time() - 3 * 86_400))
    assert judged(place, lax).stale
    assert judged(place, lax).allowed
    keep(place, verdict("deny", at=time.time() - 2 * 86_400))
    assert not judged(place, lax).allowed
    keep(place, verdict("allow", rules=rules_digest(None, ("low",))))
    assert not judged(place, lax).allowed


def _two(registry: registrysim.Registry) -> tuple[str, str, str]:
    """Push an index of two images: amd64 with a vulnerability that is exploited, arm64 without; return the three digests."""
    made = []
    for architecture, version in (("amd64", "2.36-9"), ("arm64", "99")):
        status = f"Package: glibc\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: {version}\n"
        files = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status}
        made.append(imagebuilder.image([imagebuilder.layer(files)], platform=("linux", architecture, "")))
    index = registry.add_index("app", made, "1")
    return index, made[0].digest, made[1].digest


@pytest.mark.loopback
def test_an_index_is_as_bad_as_the_worst_of_its_images(place: Place) -> None:
    """Each image of it is scanned by its own digest; which of them a node takes does not matter, unless platforms are named."""
    with registrysim.running(registrysim.Registry()) as registry:
        index, bad, good = _two(registry)
        host = registry.address.removeprefix("http://")

        def about(digest: str, spec: AdmissionSpec = SPEC) -> Judgement:
            return judged(place, spec, Image(f"{host}/app@{digest}", (digest,), f"registry:{host}/app@{digest}"), Scanner())

        assert not about(index).allowed
        assert "linux/amd64" in about(index).reason
        assert [about(one).allowed for one in (bad, good)] == [False, True]
        assert about(bad).source == "store"
        only = msgspec.structs.replace(SPEC, platforms=("linux/arm64",))
        assert about(index, only).allowed
        assert not about(bad, only).allowed
        assert not about(index).allowed  # the verdict on some of its platforms is none on all of them
        none = about(index, msgspec.structs.replace(SPEC, platforms=("linux/s390x",)))
        assert "no image for linux/s390x" in none.reason


@pytest.mark.loopback
def test_a_verdict_on_one_image_vouches_for_no_other_of_its_index(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has the harmless platform of an index scanned and recorded gets nothing for the other, nor for the index."""
    with registrysim.running(registrysim.Registry()) as registry:
        index, bad, good = _two(registry)
        host = registry.address.removeprefix("http://")
        arguments = ["--fail-on", "kev", "--record", "--store", str(place.folder), "--platform", "linux/arm64", "-q"]
        run(["scan", f"registry:{host}/app:1", "--mirror", "file:///nowhere", *arguments])
        capsys.readouterr()
    strict = msgspec.structs.replace(SPEC, unknown="deny")
    assert judged(place, strict, Image("app", (good,))).allowed
    assert not judged(place, strict, Image("app", (index,))).allowed
    assert not judged(place, strict, Image("app", (index, bad))).allowed


def test_what_is_exempt_is_so_by_digest(place: Place) -> None:
    """A pause image by its digest needs no verdict; the same name with another digest does."""
    spec = msgspec.structs.replace(SPEC, exempt=(f"reg.example/pause@{IMAGE}",), unknown="deny")
    assert judged(place, spec, Image("reg.example/pause:3", (IMAGE,))).source == "exempt"
    assert not judged(place, spec, Image("reg.example/pause:3", (INDEX,))).allowed
    assert not judged(place, spec, Image("reg.example/other:3", (IMAGE,))).allowed


def test_what_somebody_wrote_into_the_file_is_unknown(place: Place, tmp_path: Path) -> None:
    """Edited, copied from another store, or moved to another digest: none of it is believed."""
    keep(place, verdict("deny"))
    file = place.folder / "verdicts.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        (body,) = connection.execute("SELECT body FROM verdicts").fetchone()
        connection.execute("UPDATE verdicts SET body = ?", (body.replace(b'"deny"', b'"allow"'),))
    connection.close()
    strict = msgspec.structs.replace(SPEC, unknown="deny")
    assert judged(place, strict).source == "unknown"
    keep(place, verdict("allow"))
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE names SET name = ?", (INDEX,))
        connection.execute("UPDATE verdicts SET digest = ?", (INDEX,))
    connection.close()
    assert judged(place, strict, Image("app", (INDEX,))).source == "unknown"
    other = place_in(tmp_path / "other")
    keep(other, verdict("deny", digest=INDEX, names=()))
    (other.folder / "verdicts.sqlite").write_bytes(_whole(place))
    assert judged(other, strict, Image("app", (IMAGE,))).source == "unknown"


def _whole(place: Place) -> bytes:
    with contextlib.closing(sqlite3.connect(place.folder / "verdicts.sqlite")) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return (place.folder / "verdicts.sqlite").read_bytes()


def test_a_store_that_others_may_write_holds_no_verdicts(place: Place) -> None:
    """The file's mode is looked at, as that of the grants is."""
    keep(place, verdict())
    (place.folder / "verdicts.sqlite").chmod(0o666)
    with pytest.raises(StoreError, match="others may write"):
        Verdicts(place)


def test_a_change_of_verdict_is_in_the_ledger_first(place: Place) -> None:
    """New and changed verdicts are entries, the same again is none; where the ledger cannot be written nothing is kept."""
    keep(place, verdict("allow"), verdict("allow"), verdict("deny", reasons=(Reason("kev", "exploited"),)))
    said = [(line.decision, line.detail.get("was", "")) for line in lines(place, Filter()) if line.event == "verdict"]
    assert said == [("allow", ""), ("deny", "allow")]
    with Desk(place) as desk:
        verdicts = Verdicts(place)

        def unwritable(_: KeptVerdict | None) -> None:
            raise LedgerError("the disk is full")

        with pytest.raises(LedgerError):
            verdicts.put(verdict("allow", at=time.time() + 1), unwritable)
        assert [one.decision for one in verdicts.find([IMAGE])] == ["deny"]
        assert desk is not None
        verdicts.close()


def test_the_younger_of_two_scans_counts(place: Place) -> None:
    """Scans end in another order than they began: an older verdict does not replace a younger one."""
    keep(place, verdict("deny", at=1000.0), verdict("allow", at=900.0))
    verdicts = Verdicts(place)
    assert [one.decision for one in verdicts.find([IMAGE])] == ["deny"]
    assert verdicts.forget(before=2000.0) == 1
    assert verdicts.find([IMAGE, CONFIG]) == []
    verdicts.close()


def test_a_hostile_images_verdict_is_bounded(place: Place) -> None:
    """Thousands of reasons and names do not fill the store."""
    many = tuple(Reason("r" * 5000, "m" * 5000) for _ in range(1000))
    keep(place, verdict("deny", reasons=many, names=tuple(f"sha256:{n:064x}" for n in range(5000)), reference="x" * 9999))
    verdicts = Verdicts(place)
    (found,) = verdicts.find([IMAGE])
    assert len(found.reasons) == MAX_REASONS
    assert len(msgspec.json.encode(found)) < 100_000
    verdicts.close()


def test_rules_are_told_apart_by_what_they_decide(tmp_path: Path) -> None:
    """A stage counts only where a rule asks for it; waivers and another policy always do."""
    bound = tmp_path / "bound.yaml"
    head = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: a}\nspec:\n  rules:\n"
    bound.write_text(head + "  - {id: r, when: finding.kev, effect: deny, stages: [deploy]}\n")
    free = tmp_path / "free.yaml"
    free.write_text(head + "  - {id: r, when: finding.kev, effect: deny}\n")
    asks = tmp_path / "asks.yaml"
    asks.write_text(head + "  - {id: r, when: \"finding.kev && context.stage == 'ci'\", effect: deny}\n")

    def digest(file: Path, stage: Any) -> str:
        return rules_digest(Rules(load_policies([str(file)]), (), Context(stage=stage)))

    assert digest(free, "ci") == digest(free, "deploy")
    assert digest(bound, "ci") != digest(bound, "deploy")
    assert digest(asks, "ci") != digest(asks, "deploy")
    assert len({digest(file, "ci") for file in (free, bound, asks)}) == 3


def test_rules_that_change_are_read_again(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that runs for weeks decides by its files as they are; one that breaks leaves the last good ones."""
    file = tmp_path / "policy.yaml"
    head = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: a}\nspec:\n  rules:\n"
    file.write_text(head + "  - {id: r, when: finding.kev, effect: deny}\n")
    monkeypatch.setattr(module, "_LOOK", -1.0)
    spec = msgspec.structs.replace(SPEC, policies=(str(file),), fail_on=(), stale=Stale(then="deny"))

    async def changing(admission: Admission) -> list[bool]:
        def allowed() -> bool:
            found = admission.known(Image("app", (IMAGE,)), "docker")
            return found is not None and found.allowed

        keep(place, verdict("allow", rules=rules_digest(Rules(load_policies([str(file)]), (), Context(stage="runtime")))))
        seen = [allowed()]
        file.write_text("nonsense: [")
        seen.append(allowed())
        file.write_text(head + "  - {id: r, when: 'true', effect: deny}\n")
        return [*seen, allowed()]

    assert judging(place, spec, changing) == [True, True, False]


def test_what_a_policy_imports_counts_as_it_is(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is imported is tightened: verdicts by the old rules are stale at once."""
    head = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: a}\nspec:\n"
    (tmp_path / "base.yaml").write_text(head + "  rules:\n  - {id: r, when: finding.kev, effect: deny}\n")
    file = tmp_path / "policy.yaml"
    file.write_text(head + "  import: [./base.yaml]\n")
    monkeypatch.setattr(module, "_LOOK", -1.0)
    spec = msgspec.structs.replace(SPEC, policies=(str(file),), fail_on=(), stale=Stale(then="deny"))

    async def changing(admission: Admission) -> list[bool]:
        def allowed() -> bool:
            found = admission.known(Image("app", (IMAGE,)), "docker")
            return found is not None and found.allowed

        keep(place, verdict("allow", rules=rules_digest(Rules(load_policies([str(file)]), (), Context(stage="runtime")))))
        seen = [allowed()]
        (tmp_path / "base.yaml").write_text(head + "  rules:\n  - {id: r, when: 'true', effect: deny}\n")
        return [*seen, allowed()]

    assert judging(place, spec, changing) == [True, False]


def test_rules_that_change_during_a_scan_are_read(place: Place) -> None:
    """The scan has judged by other rules than the gate knows: it reads them anew, and says that one should ask again."""
    scans = Scans(lambda _: Outcome(verdicts=(verdict(rules="sha256:" + "0" * 64),)))
    found = judged(place, SPEC, Image("app", (IMAGE,), "docker:" + IMAGE), scans)
    assert not found.allowed
    assert "rules changed" in found.reason


def test_a_store_that_fails_refuses(place: Place) -> None:
    """A gate that cannot read its verdicts says so, and lets nothing through."""
    keep(place, verdict("allow"))

    async def broken(admission: Admission) -> Judgement:
        admission._verdicts.close()
        return await admission.judge(Image("app", (IMAGE,)), "docker")

    found = judging(place, SPEC, broken)
    assert not found.allowed
    assert "verdict" in found.reason or "failed" in found.reason


def _archive(folder: Path, version: str = "2.36-9") -> tuple[Path, str]:
    status = f"Package: glibc\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
    files = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status}
    folder.mkdir(exist_ok=True)
    path = folder / "image.tar"
    path.write_bytes(imagebuilder.docker_archive([imagebuilder.layer(files)]))
    return path, str(path)


def test_a_verdict_that_rests_on_a_grace_ends_with_it(tmp_path: Path) -> None:
    """Until when it holds is kept with it: what was let through for a time is not let through for longer."""
    path, _ = _archive(tmp_path / "image")
    (tmp_path / "waivers.yaml").write_text(
        "apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n- {id: w, vulnerability: CVE-2023-4911, owner: us, reason: soon,"
        " expires: 2099-01-01T00:00:00Z}\n"
    )
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: a}\nspec:\n  rules:\n"
        "  - {id: r, when: finding.kev, effect: deny}\n"
    )
    job = Job(
        target=f"docker-archive:{path}", policies=(str(tmp_path / "policy.yaml"),), waivers=(str(tmp_path / "waivers.yaml"),),
        offline=True,
    )  # fmt: skip
    (found,) = asyncio.run(Scanner().run(job, 60)).verdicts
    assert found.decision in ("allow", "warn")
    assert 0 < found.until <= dt.datetime(2099, 1, 1, tzinfo=dt.UTC).timestamp()


VEX = """{
  "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "us", "timestamp": "2026-01-01T00:00:00Z", "version": 1,
  "statements": [{"vulnerability": {"name": "CVE-2023-4911"}, "products": [{"@id": "pkg:deb/debian/glibc"}],
    "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}]
}"""


def test_what_others_say_counts_at_the_gate_as_at_the_prompt(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VEX named by the admission policy is applied; a verdict recorded with other statements is by other rules."""
    path, _ = _archive(tmp_path / "image")
    (tmp_path / "us.json").write_text(VEX)
    file = tmp_path / "admission.yaml"
    head = "apiVersion: pratique/v1\nkind: Admission\nmetadata: {name: here}\nspec:\n  failOn: [kev]\n  offline: true\n"
    file.write_text(head + "  vex: us.json\n")
    plain = asyncio.run(Scanner().run(Job(target=f"docker-archive:{path}", fail_on=("kev",), offline=True), 60)).verdicts[0]
    image = Image("app", (plain.digest,), f"docker-archive:{path}")
    spec = load_admission(file)
    assert judged(place, spec, image, Scanner()).allowed
    assert not judged(place, SPEC, image, Scanner()).allowed
    strict = msgspec.structs.replace(spec, unknown="deny", stale=Stale(then="deny"))
    arguments = [
        "scan",
        f"docker-archive:{path}",
        "--offline",
        "--fail-on",
        "kev",
        "--record",
        "--store",
        str(place.folder),
        "-q",
    ]
    other = tmp_path / "elsewhere.json"
    other.write_text(VEX)
    for folder, vex, allowed in (("a", [], False), ("b", ["--vex", str(other)], True)):
        recorded = place_in(tmp_path / folder)
        run([*arguments, "--store", str(recorded.folder), *vex])
        capsys.readouterr()
        assert judged(recorded, strict, image).allowed == allowed


def test_a_real_scan_in_a_process_of_its_own(place: Place, tmp_path: Path) -> None:
    """The verdict of a real image, reached by the real pipeline; the digest is what was asked about, or nothing counts."""
    path, _ = _archive(tmp_path / "image")
    outcome = asyncio.run(Scanner().run(Job(target=f"docker-archive:{path}", fail_on=("kev",), offline=True), 60))
    assert outcome.error == ""
    assert outcome.verdicts
    assert (outcome.verdicts[0].decision, outcome.verdicts[0].rules) == ("deny", KEV)
    image = Image("app", (outcome.verdicts[0].digest,), f"docker-archive:{path}")
    found = judged(place, SPEC, image, Scanner())
    assert (found.allowed, found.source) == (False, "scan")
    assert "known to be exploited" in found.reason
    keep(place, msgspec.structs.replace(outcome.verdicts[0], decision="allow", at=time.time() + 30, reasons=()))
    assert judged(place, SPEC, image).allowed


@pytest.mark.parametrize("target", ["docker-archive:/nowhere.tar", "no such thing", "registry:127.0.0.1:1/app:1", "dir:/nowhere"])
def test_a_scan_that_cannot_be_says_why(target: str) -> None:
    """One line, and no process is left."""
    outcome = asyncio.run(Scanner().run(Job(target=target, fail_on=("kev",), offline=True), 60))
    assert not outcome.verdicts
    assert outcome.error
    assert "\n" not in outcome.error


def test_a_scan_that_hangs_is_ended(tmp_path: Path) -> None:
    """Its time is bounded, and with it ends all that it started."""
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", str(fifo)], check=True)
    began = time.monotonic()
    outcome = asyncio.run(Scanner().run(Job(target=f"docker-archive:{fifo}", fail_on=("kev",), offline=True), 2.0))
    assert not outcome.verdicts
    assert time.monotonic() - began < 10


def test_scan_record_writes_what_gates_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`scan --record` and a gate with the same rules agree on the digest of the rules, and on the image."""
    path, _ = _archive(tmp_path / "image")
    store = tmp_path / "store"
    json = tmp_path / "report.json"
    words = ["scan", f"docker-archive:{path}", "--offline", "--fail-on", "kev", "--record", "--store", str(store), "-q"]
    assert run([*words, "-o", f"json={json}"]) == 1
    capsys.readouterr()
    place = Place(store)
    verdicts = Verdicts(place)
    (found,) = [one for name in _digests(store) for one in verdicts.find([name])]
    verdicts.close()
    assert (found.decision, found.report) == ("deny", str(json))
    judgement = judged(place, SPEC, Image("app", (found.digest,)))
    assert (judgement.allowed, judgement.source) == (False, "store")


def _digests(store: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(store / "verdicts.sqlite")) as connection, connection:
        found = [str(row[0]) for row in connection.execute("SELECT digest FROM verdicts")]
    connection.close()
    return found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "nothing is judged"),
        (["--fail-on", "kev", "--now", "2026-01-01"], "--now"),
        (["--fail-on", "kev", "--as-of", "2026-01-01"], "--as-of"),
    ],
)
def test_what_is_no_verdict_is_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    """Of another day, or on nothing: bad usage, before anything is scanned."""
    path, _ = _archive(tmp_path / "image")
    assert run(["scan", f"docker-archive:{path}", "--offline", "--record", "--store", str(tmp_path / "store"), *more]) == 2
    assert said in capsys.readouterr().err


def test_what_has_no_digest_is_not_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder is no image that a gate will meet: said before it is scanned."""
    assert run(["scan", f"dir:{tmp_path}", "--offline", "--fail-on", "kev", "--record", "--store", str(tmp_path / "store")]) == 2
    assert "has no digest" in capsys.readouterr().err


_RACER = """
import sys, time, storing
from pathlib import Path
from pratique.granting.desk import Desk
from pratique.enforce.verdicts import record
from pratique.store.verdicts import KeptVerdict, Verdicts
place = storing.place_in(Path(sys.argv[1]))
with Desk(place) as desk:
    verdicts = Verdicts(place)
    for number in range(20):
        digest = "sha256:" + f"{number:064x}"
        record(desk, verdicts, KeptVerdict(digest=digest, decision="deny", rules="r", at=float(sys.argv[2]) + number))
"""


def test_processes_record_at_once(tmp_path: Path) -> None:
    """Several writers lose nothing, and each change is one entry of the ledger."""
    place_in(tmp_path)
    racers = [
        subprocess.Popen([sys.executable, "-c", _RACER, str(tmp_path), str(number)], env={"PYTHONPATH": PATHS})
        for number in range(3)
    ]
    assert [racer.wait(120) for racer in racers] == [0, 0, 0]
    place = place_in(tmp_path)
    verdicts = Verdicts(place)
    assert all(len(verdicts.find([f"sha256:{number:064x}"])) == 1 for number in range(20))
    verdicts.close()
    assert len([line for line in lines(place, Filter()) if line.event == "verdict"]) == 20


def test_the_ledger_says_which_image(place: Place) -> None:
    """A person who reads the ledger sees what the verdict is on."""
    keep(place, verdict("deny", reference="reg.example/app@" + IMAGE))
    (said,) = [sentence(line) for line in lines(place, Filter()) if line.event == "verdict"]
    assert f"records a verdict on reg.example/app@{IMAGE} -> deny" in said


def test_who_asks_for_a_hundred_strangers_keeps_nobody_waiting(place: Place) -> None:
    """Eve's hundred scans never end; some are refused with the reason, and Alice's one stranger is judged."""
    forever = "docker:" + IMAGE

    class Slow(Scans):
        async def run(self, job: Job, seconds: float) -> Outcome:
            if job.target != forever:
                await asyncio.sleep(3600)
            return await super().run(job, seconds)

    async def crowd(admission: Admission) -> tuple[list[Judgement], Judgement]:
        strangers = [f"sha256:{number:064x}" for number in range(100)]
        eves = [
            asyncio.create_task(
                admission.judge(Image("app", (one,), "docker:" + one), "registry", deadline=0.5, subject="unix:eve")
            )
            for one in strangers
        ]
        await asyncio.sleep(0)
        alices = await admission.judge(Image("app", (IMAGE,), forever), "registry", deadline=30, subject="unix:alice")
        return await asyncio.gather(*eves), alices

    eves, alices = judging(place, SPEC, crowd, Slow(lambda _: Outcome(verdicts=(verdict(),))))
    assert alices.allowed
    assert not any(one.allowed for one in eves)
    reasons = Counter(one.reason.partition(": ")[2] for one in eves)
    assert reasons["20 images that you asked for wait to be scanned: ask again when they are done"] == 78
    assert reasons["it is being scanned: ask again"] == 22
