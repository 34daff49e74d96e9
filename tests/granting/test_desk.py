"""Requests, approvals, uses and broken glass, put together: nothing is given that the ledger does not have."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import storing
from pratique.grant.lifecycle import Approve, Complete, Deny, Review, Revoke
from pratique.grant.request import Target
from pratique.granting.alert import Alarm, AlertError
from pratique.granting.desk import Desk
from pratique.granting.rules import LAST_GOOD, Rules
from pratique.model.errors import GrantError, LedgerError, PolicyError, UsageError
from pratique.model.privilege import Asked, Moment, Scope, Subject, Task
from pratique.store.line import Entry
from pratique.store.reading import Filter, lines
from pratique.store.verify import verify
from storing import beside, entry, place_in

BOOT = "b-1"
ALICE = Subject(id="alice", provider="unix", groups=("devs",), strength=1)
ONCALL = Subject(id="olga", provider="oidc", groups=("oncall",), strength=2)
SRE = Subject(id="sam", provider="oidc", groups=("sre",), strength=3)
POLICY = b"""
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: team-a}
spec:
  entitlements:
  - id: debug-root
    privileges: [exec.root]
    maxTTL: 30m
    maxUses: 2
    approvals: {count: 1, from: [group:oncall]}
  - id: look
    privileges: [attach]
    approvals: {count: 0}
  breakGlass: {groups: [sre], maxTTL: 30m, review: 24h}
"""


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.boot = 1_800_000_000.0, 1000.0

    def __call__(self) -> Moment:
        return Moment(self.wall, self.boot, BOOT)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    with Desk(place_in(tmp_path), clock=clock, node="n1") as at:
        at.set_policy("p.yaml", POLICY, ONCALL)
        yield at


def wanted(*privileges: str, by: Subject = ALICE, lifetime: float = 600.0, uses: int = 1) -> Asked:
    task = Task(id="T-1", purpose="to see why")
    return Asked(subject=by, task=task, privileges=privileges or ("exec.root",), scope=Scope(), lifetime=lifetime, uses=uses)


def events(desk: Desk) -> list[str]:
    return [line.event for line in lines(desk.place)]


def broken(path: Path) -> Callable[[], None]:
    """Make the ledger unwritable; return what mends it."""
    aside = path.with_name("aside")
    path.rename(aside)

    def mend() -> None:
        aside.rename(path)

    return mend


def test_from_request_to_the_last_use(desk: Desk) -> None:
    """A grant is asked for, approved, used by sessions, and used up; the ledger has it all."""
    grant = desk.request(wanted(uses=2))
    assert grant.state == "requested"
    grant = desk.approve(grant.id, ONCALL, "go ahead")
    assert grant.state == "active"
    seen = entry(point="docker", needed=("exec.root",), effective="sha256:" + "e" * 64)
    assert not desk.use(grant.id, "s1", seen).again
    assert desk.use(grant.id, "s1", seen).again
    assert desk.use(grant.id, "s2", seen).grant.state == "exhausted"
    assert desk.use(grant.id, "s2", seen).again
    with pytest.raises(GrantError, match="exhausted"):
        desk.use(grant.id, "s3", seen)
    assert events(desk) == ["policy", "request", "approve", "activate", "use", "use-again", "use", "exhaust", "use-again"]
    used = next(line for line in lines(desk.place, Filter(events=("use",))))
    assert (used.session, used.point, used.task, used.grant) == ("s1", "docker", "T-1", grant.id)
    assert verify(desk.place).problems == []


def test_the_last_session_of_a_grant_can_be_ended(desk: Desk) -> None:
    """A grant whose one use is spent lives on in the session that spent it, so it can be revoked, and given back."""
    seen = entry(point="docker", needed=("exec.root",))
    for end in (Revoke(ONCALL, "enough"), Complete(ALICE)):
        grant = desk.approve(desk.request(wanted(uses=1)).id, ONCALL)
        assert desk.use(grant.id, "s1", seen).grant.state == "exhausted"
        assert desk.act(grant.id, end).state in ("revoked", "completed")
        with pytest.raises(GrantError, match=r"revoked|completed"):
            desk.use(grant.id, "s1", seen)


def test_who_asks_does_not_approve_and_that_is_on_record(desk: Desk) -> None:
    """A refused approval is an entry, too."""
    grant = desk.request(wanted())
    with pytest.raises(GrantError):
        desk.approve(grant.id, ALICE)
    refused = next(lines(desk.place, Filter(events=("refused",))))
    assert (refused.by and refused.by.id, refused.decision, refused.detail) == ("alice", "deny", {"what": "approve"})


def test_what_needs_no_approval_is_given_at_once(desk: Desk) -> None:
    """An entitlement without approvals starts its clock with the request."""
    assert desk.request(wanted("attach")).state == "active"
    assert events(desk)[-2:] == ["request", "activate"]


def test_what_is_not_granted_is_not_asked_for(desk: Desk) -> None:
    """What nothing entitles to is refused and recorded."""
    with pytest.raises(GrantError, match="entitles"):
        desk.request(wanted("run.privileged"))
    assert events(desk)[-1] == "refused"
    assert desk.store.find() == []


def test_an_approval_of_what_was_seen(desk: Desk) -> None:
    """Who approves a request as it was seen does not approve another."""
    grant = desk.request(wanted())
    with pytest.raises(GrantError, match="not what"):
        desk.approve(grant.id, ONCALL, request_seen="sha256:" + "0" * 64)


def test_a_grant_that_was_edited_in_the_store(desk: Desk) -> None:
    """Who widens a request in the database gets neither approval nor use."""
    grant = desk.approve(desk.request(wanted()).id, ONCALL)
    kept = desk.store.get(grant.id)
    asked = msgspec.structs.replace(grant.asked, uses=1000, lifetime=1e6)
    desk.store.replace(msgspec.structs.replace(kept.grant, asked=asked), kept.version)
    with pytest.raises(GrantError, match="changed in the store"):
        desk.use(grant.id, "s", entry())


def test_no_ledger_no_privilege(desk: Desk) -> None:
    """Where the ledger cannot be written, nothing is asked for, approved or used; the store is as it was."""
    active = desk.approve(desk.request(wanted()).id, ONCALL)
    waiting = desk.request(wanted())
    mend = broken(desk.place.ledger)
    for call in (
        lambda: desk.request(wanted()),
        lambda: desk.approve(waiting.id, ONCALL),
        lambda: desk.use(active.id, "s", entry()),
        lambda: desk.record(entry()),
    ):
        with pytest.raises(LedgerError):
            call()
    mend()
    assert desk.store.get(waiting.id).grant.state == "requested"
    assert desk.store.get(active.id).grant.used == 0
    assert len(desk.store.find()) == 2
    assert not desk.use(active.id, "s", entry()).again


def test_what_takes_away_needs_no_ledger(desk: Desk, clock: Clock) -> None:
    """A revocation works at once; the ledger is told when it can be written again."""
    active, done, late = (desk.approve(desk.request(wanted()).id, ONCALL) for _ in range(3))
    denied = desk.request(wanted())
    mend = broken(desk.place.ledger)
    assert desk.act(active.id, Revoke(ONCALL, "no more")).state == "revoked"
    assert desk.act(done.id, Complete(ALICE)).state == "completed"
    assert desk.act(denied.id, Deny(ONCALL)).state == "denied"
    clock.pass_(601)
    assert [grant.id for grant in desk.sweep()] == [late.id]
    mend()
    desk.sweep()
    assert events(desk)[-4:] == ["revoke", "complete", "deny", "expire"]
    assert desk.facts.unsaid() == []
    assert verify(desk.place).problems == []


FULL = """
import sys
from pathlib import Path
from pratique.grant.lifecycle import Revoke
from pratique.granting.desk import Desk
from pratique.model.errors import PratiqueError
from pratique.model.privilege import Subject
from pratique.store.place import open_place
from pratique.store.verify import verify
from storing import asked
folder = Path(sys.argv[1])
desk = Desk(open_place(folder / "store"))
grant = desk.approve(desk.request(asked()).id, Subject(id="bob"))
with (folder / "fill").open("wb", buffering=0) as fill:
    try:
        while fill.write(b"x" * 4096):
            pass
    except OSError as error:
        print(error.strerror)
try:
    for _ in range(100):
        desk.request(asked())
except PratiqueError:
    print("nothing is asked for")
print(desk.act(grant.id, Revoke(Subject(id="bob"), "now")).state)
(folder / "fill").unlink()
desk.sweep()
print(verify(desk.place).problems)
"""


@pytest.mark.needs("unshare", "mount")
def test_on_a_full_disk_grants_can_be_ended(tmp_path: Path) -> None:
    """On a disk without a byte left nothing is given, and a grant can be revoked."""
    mounted = f"mount -t tmpfs -o size=3m,mode=0700 tmpfs {tmp_path}"
    if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted], check=False).returncode:
        pytest.skip("needs a mount of its own, which is not permitted here")
    script = Path(tmp_path.parent, f"{tmp_path.name}.py")
    script.write_text(FULL)
    run = f"{mounted} && exec {sys.executable} {script} {tmp_path}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", run]
    environment = {"PYTHONPATH": storing.PATHS, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["No space left on device", "nothing is asked for", "revoked", "[]"]


APPROVE = """
import sys, time
from pathlib import Path
from pratique.granting.desk import Desk
from pratique.model.errors import GrantError
from pratique.model.privilege import Subject
from pratique.store.place import open_place
desk = Desk(open_place(Path(sys.argv[1])))
by = Subject(id=sys.argv[3], provider="oidc", groups=("oncall",), strength=2)
time.sleep(max(0.0, float(sys.argv[4]) - time.time()))
try:
    print(desk.approve(sys.argv[2], by).state)
except GrantError:
    print("refused")
"""


def test_approvals_at_once(tmp_path: Path) -> None:
    """Six people approve at once what needs three: three count, and it becomes active once."""
    with Desk(place_in(tmp_path)) as desk:
        desk.set_policy("p.yaml", POLICY.replace(b"count: 1", b"count: 3"), ONCALL)
        grant = desk.request(wanted())
        at = time.time() + 0.9
        running = [beside(APPROVE, desk.place.folder, grant.id, f"user{number}", at) for number in range(6)]
        said = sorted(process.communicate()[0].strip() for process in running)
        assert said == ["active", "refused", "refused", "refused", "requested", "requested"]
        kept = desk.store.get(grant.id).grant
        assert len({approval.by.id for approval in kept.approvals}) == 3
        assert events(desk).count("activate") == 1


def test_it_can_be_looked_at_while_it_cannot_be_written(desk: Desk, clock: Clock) -> None:
    """What time has ended is shown as ended, before that could be kept."""
    grant = desk.approve(desk.request(wanted()).id, ONCALL)
    clock.pass_(601)
    assert desk.store.get(grant.id).grant.state == "active"
    assert desk.as_of_now(grant).state == "expired"


WORK = """
import sys
from pathlib import Path
from pratique.granting.desk import Desk
from pratique.model.privilege import Subject
from pratique.store.place import open_place
from storing import asked, entry
desk = Desk(open_place(Path(sys.argv[1])))
for number in range(10_000):
    grant = desk.approve(desk.request(asked(uses=2)).id, Subject(id="bob"))
    desk.use(grant.id, "s", entry())
    print(grant.id, flush=True)
"""


def test_killed_processes_leave_nothing_given_that_is_not_on_record(tmp_path: Path) -> None:
    """Processes killed while they request, approve and use: the ledger has every grant that is active, and every use."""
    place = place_in(tmp_path)
    answered: set[str] = set()
    for turn in range(4):
        running = [beside(WORK, place.folder) for _ in range(2)]
        for process in running:
            assert process.stdout is not None
            answered.update(process.stdout.readline().strip() for _ in range(3 + 5 * turn))
        for process in running:
            process.kill()
            out, err = process.communicate()
            assert err == ""
            answered.update(out.split())
    with Desk(place) as desk:
        desk.record(entry())
        kept = {one.grant.id: one.grant for one in desk.store.find()}
    assert verify(place).problems == []
    said: dict[str, set[str]] = {}
    for line in lines(place):
        said.setdefault(line.grant, set()).add(line.event)
    assert answered <= set(kept)
    for name, grant in kept.items():
        assert grant.state == "requested" or {"request", "approve", "activate"} <= said[name]
        assert not grant.used or "use" in said[name]
        assert name not in answered or grant.used == 1


def test_time_ends_grants(desk: Desk, clock: Clock) -> None:
    """What nobody approves lapses, what is over expires; both are on record."""
    active, waiting = desk.approve(desk.request(wanted()).id, ONCALL), desk.request(wanted())
    clock.pass_(601)
    with pytest.raises(GrantError, match="expired"):
        desk.use(active.id, "s", entry())
    clock.pass_(24 * 3600)
    assert {grant.state for grant in desk.sweep()} == {"expired", "lapsed"}
    assert set(events(desk)[-2:]) == {"expire", "lapse"}
    assert waiting.state == "requested"


def test_a_session_ends_with_its_grant(desk: Desk, clock: Clock) -> None:
    """Who has used a grant goes on only while its time lasts, and never after it was revoked."""
    one, two = (desk.approve(desk.request(wanted()).id, ONCALL) for _ in range(2))
    desk.use(one.id, "s", entry())
    desk.use(two.id, "s", entry())
    clock.pass_(601)
    with pytest.raises(GrantError, match="no longer holds"):
        desk.use(one.id, "s", entry())


def test_a_clock_that_goes_back_begins_nothing(desk: Desk, clock: Clock) -> None:
    """The first request or approval after it is refused and recorded; grants that were active are over."""
    active, waiting = desk.approve(desk.request(wanted()).id, ONCALL), desk.request(wanted())
    clock.wall -= 3600
    with pytest.raises(GrantError, match="clock went back"):
        desk.approve(waiting.id, ONCALL)
    assert "clock" in events(desk)
    with pytest.raises(GrantError):
        desk.use(active.id, "s", entry())


def test_an_exchanged_ledger_is_noticed(desk: Desk, tmp_path: Path, clock: Clock) -> None:
    """A ledger that is whole, but not that of these grants, allows nothing."""
    place = desk.place
    for name in ("ledger", "keys"):
        (place.folder / name).rename(tmp_path / name)
    place.head.rename(tmp_path / "head")
    with Desk(place, clock=clock) as other, pytest.raises(LedgerError, match="not the ledger"):
        other.record(entry())


def test_break_glass(desk: Desk, tmp_path: Path, clock: Clock) -> None:
    """The alert goes out first, then it works; without review nothing more is given; with one it is."""
    heard = tmp_path / "heard"
    desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "tee", str(heard))), SRE)
    grant = desk.break_glass(wanted("run.privileged", by=SRE))
    assert grant.state == "active"
    assert json.loads(heard.read_text())["grant"] == grant.id
    assert events(desk)[-2:] == ["break-glass", "activate"]
    clock.pass_(25 * 3600)
    with pytest.raises(GrantError, match="reviewed it in time"):
        desk.request(wanted(by=SRE))
    with pytest.raises(GrantError):
        desk.act(grant.id, Review(SRE, "fine"))
    desk.act(grant.id, Review(ONCALL, "read the recording"))
    assert desk.request(wanted(by=SRE)).state == "requested"


def test_who_the_glass_is_not_for_is_told_so(desk: Desk) -> None:
    """It is not said that no policy has it where one has, for others."""
    desk.set_policy("p.yaml", POLICY.replace(b"spec:\n", b"spec:\n  subjects: {groups: [sre]}\n"), SRE)
    with pytest.raises(GrantError, match="lets others break the glass: it is not for alice"):
        desk.break_glass(wanted("run.privileged"))
    desk.set_policy("p.yaml", POLICY[: POLICY.index(b"  breakGlass")], SRE)
    with pytest.raises(GrantError, match="no policy lets anybody"):
        desk.break_glass(wanted("run.privileged"))


def test_requests_made_before_freeze_with_the_rest(desk: Desk, tmp_path: Path, clock: Clock) -> None:
    """What was asked for before is not approved while a review is missing."""
    desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "true")), SRE)
    desk.break_glass(wanted("run.privileged", by=SRE))
    clock.pass_(23.9 * 3600)
    waiting = desk.request(wanted(by=SRE))
    clock.pass_(3600)
    with pytest.raises(GrantError, match="reviewed it in time"):
        desk.act(waiting.id, Approve(ONCALL, waiting.request))


def test_what_was_given_before_is_not_used_while_a_review_is_missing(desk: Desk, clock: Clock) -> None:
    """A grant that lives on rests until somebody has looked at the broken glass, under whichever name it was broken."""
    desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "true")), SRE)
    as_unix = msgspec.structs.replace(SRE, provider="unix")
    glass = desk.break_glass(wanted("run.privileged", by=as_unix))
    clock.pass_(24 * 3600 - 60)
    first, second = (desk.request(wanted("attach", by=SRE)) for _ in range(2))
    assert not desk.use(first.id, "s1", entry()).again
    clock.pass_(120)
    with pytest.raises(GrantError, match="reviewed it in time"):
        desk.use(second.id, "s2", entry())
    desk.act(glass.id, Review(ONCALL, "read the recording"))
    assert not desk.use(second.id, "s2", entry()).again


def test_a_claimed_name_reviews_nothing(desk: Desk) -> None:
    """Whoever may write the store could claim any name; a review is by somebody who is known."""
    desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "true")), SRE)
    glass = desk.break_glass(wanted("run.privileged", by=SRE))
    with pytest.raises(GrantError, match="only claimed"):
        desk.act(glass.id, Review(Subject(id="olga"), "fine"))


@pytest.mark.parametrize("alarm", [Alarm("command", ("/nowhere/pager",)), Alarm("command", ("/usr/bin/env", "false"))])
def test_no_alert_no_glass(desk: Desk, alarm: Alarm) -> None:
    """Where the alert does not go out, nothing is given, and that is on record; the code is not spent."""
    codes = desk.seal_codes(1, SRE)
    desk.facts.put("alarm", msgspec.json.encode(alarm).decode())
    with pytest.raises(AlertError):
        desk.break_glass(wanted("run.privileged"), codes[0])
    assert desk.store.find() == []
    assert events(desk)[-1] == "alert-failed"
    desk.facts.put("alarm", msgspec.json.encode(Alarm("command", ("/usr/bin/env", "true"))).decode())
    assert desk.break_glass(wanted("run.privileged"), codes[0]).state == "active"


def test_alerts_by_syslog(desk: Desk, tmp_path: Path) -> None:
    """An alert is a message to the system's log; where nobody listens it does not count as sent."""
    with pytest.raises(AlertError):
        desk.send_alerts_to(Alarm("syslog", (str(tmp_path / "none"),)), SRE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        desk.send_alerts_to(Alarm("syslog", (str(tmp_path / "log"),)), SRE)
        assert log.recv(4096).startswith(b"<105>pratique: {")
        desk.break_glass(wanted(by=SRE))
        assert b'"event": "break-glass"' in log.recv(4096)


@pytest.mark.loopback
@pytest.mark.parametrize("status", [204, 500])
def test_alerts_by_webhook(desk: Desk, status: int) -> None:
    """An alert is posted as JSON; what is not answered with a 2xx does not count as sent."""
    heard: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        alarm = Alarm("webhook", (f"http://127.0.0.1:{server.server_port}/secret-token",))
        if status == 204:
            desk.send_alerts_to(alarm, SRE)
        else:
            with pytest.raises(AlertError, match="500") as error:
                desk.send_alerts_to(alarm, SRE)
            assert "secret-token" not in str(error.value)
    assert json.loads(heard[0])["event"] == "alert-test"
    assert all("secret-token" not in str(line.detail) for line in lines(desk.place))


def test_places_for_alerts_that_are_none(desk: Desk) -> None:
    """A program without its path and an address in clear text are refused."""
    for alarm in (Alarm("command", ("pager",)), Alarm("webhook", ("http://pager.example/x",)), Alarm("webhook", ("nonsense",))):
        with pytest.raises(UsageError):
            desk.send_alerts_to(alarm, SRE)
    assert desk.alerts() == Alarm("syslog")


def test_glass_takes_a_second_factor_or_a_code(desk: Desk) -> None:
    """Neither a group nor a guess is enough."""
    desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "true")), SRE)
    weak = msgspec.structs.replace(SRE, strength=2)
    for by, code in ((weak, ""), (ALICE, ""), (ALICE, "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA-A")):
        with pytest.raises(GrantError):
            desk.break_glass(wanted(by=by), code)
    assert events(desk)[-3:] == ["refused"] * 3


SPEND = """
import sys, time
from pathlib import Path
from pratique.granting.desk import Desk
from pratique.model.errors import GrantError
from pratique.model.privilege import Asked, Scope, Subject, Task
from pratique.store.place import open_place
desk = Desk(open_place(Path(sys.argv[1])))
subject = Subject(id="user" + sys.argv[3], provider="unix", strength=1)
asked = Asked(subject=subject, task=Task(id="T", purpose="fire"), privileges=("exec.root",), scope=Scope(), lifetime=60.0)
try:
    print(desk.break_glass(asked, sys.argv[2]).state)
except GrantError as error:
    print("refused")
"""


def test_a_code_opens_once(desk: Desk) -> None:
    """A code raced by several processes opens for one of them; only hashes are kept."""
    desk.facts.put("alarm", msgspec.json.encode(Alarm("command", ("/bin/true",))).decode())
    desk.facts.put("clock", "0")
    (code,) = desk.seal_codes(1, SRE)
    assert code.encode() not in desk.place.database.read_bytes()
    running = [beside(SPEND, desk.place.folder, code, number) for number in range(4)]
    assert sorted(process.communicate()[0].strip() for process in running) == ["active"] + ["refused"] * 3


def test_policies_count_up_and_are_kept(desk: Desk) -> None:
    """The policy that was set last holds; a wrong one changes nothing."""
    assert desk.standing().policy.name == "team-a"
    with pytest.raises(PolicyError):
        desk.set_policy("p.yaml", b"kind: Nonsense", ONCALL)
    assert desk.set_policy("p.yaml", POLICY.replace(b"team-a", b"team-b"), ONCALL).version == 2
    assert desk.standing().policy.name == "team-b"
    assert desk.standing().state == "set"


def test_a_store_without_policy_has_built_in_limits(tmp_path: Path) -> None:
    """Where none was set, requests are taken under the limits that are built in."""
    with Desk(place_in(tmp_path)) as at:
        assert at.standing().state == "built-in"


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM policies",
        "UPDATE policies SET body = CAST(replace(CAST(body AS TEXT), 'oncall', 'devs') AS BLOB) WHERE version = 2",
        "DELETE FROM policies WHERE version = 2",
        "UPDATE facts SET value = replace(value, '2 ', '1 ') WHERE name = 'policy'",
        "DELETE FROM facts WHERE name = 'policy'",
        "UPDATE policies SET version = version + 10",
    ],
)
def test_a_policy_that_was_tampered_with(desk: Desk, clock: Clock, attack: str) -> None:
    """A policy that is missing, changed or rolled back: the last good one for a day, then the baseline alone."""
    desk.set_policy("p.yaml", POLICY.replace(b"team-a", b"team-b"), ONCALL)
    desk.standing()
    fresh = Rules(desk.facts)
    with desk.store.writing() as connection:
        connection.execute(attack)
    for rules, names in ((desk.rules, {"team-b"}), (fresh, {"team-b", ""})):
        seen = rules.current(clock())
        assert seen.state in ("last-good", "baseline-only", "set")
        assert seen.policy.name in names
        if seen.state == "set":  # a running process does not read again what the number says is the same
            assert rules is desk.rules
    clock.pass_(LAST_GOOD + 1)
    later = Rules(desk.facts).current(clock())
    assert later.state == "baseline-only"
    assert later.why
    assert later.policy.entitlements(ALICE, Target()) == []


def test_a_policy_was_good_as_long_as_it_was_in_use(desk: Desk, clock: Clock) -> None:
    """The day of a last good policy begins when it was last found good, not when it was set."""
    desk.standing()
    clock.pass_(40 * 3600)
    desk.standing()
    with desk.store.writing() as connection:
        connection.execute("UPDATE facts SET value = '1 x' WHERE name = 'policy'")
    clock.pass_(3600)
    assert Rules(desk.facts).current(clock()).state == "last-good"


def test_a_store_that_is_gone_keeps_its_policy_for_a_day(desk: Desk, clock: Clock) -> None:
    """A running gate goes on with the policy it has, for a day."""
    assert desk.standing().state == "set"
    desk.store._connection.execute("DROP TABLE facts")
    assert desk.standing().state == "last-good"
    clock.pass_(LAST_GOOD + 1)
    assert desk.standing().state == "baseline-only"


def test_what_a_gate_says_is_filled_in(desk: Desk) -> None:
    """A gate's own entry keeps its node, or gets the desk's."""
    desk.record(Entry(event="decision", decision="deny", node=""))
    assert next(lines(desk.place, Filter(events=("decision",)))).node == "n1"


def test_a_grant_for_whole_seconds_can_be_used(tmp_path: Path) -> None:
    """A lifetime that a program gives as a whole number makes the same request as one with a point."""
    with Desk(place_in(tmp_path)) as desk:
        desk.set_policy("policy.yaml", POLICY, ALICE)
        asked = Asked(
            subject=ALICE, task=Task(id="T-1", purpose="look"), privileges=("attach",), scope=Scope(), lifetime=60, idle=5
        )
        grant = desk.request(asked)
        assert desk.use(grant.id, "s-1", Entry(event="use")).grant.used == 1
