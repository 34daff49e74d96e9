"""The desk's socket, with users of their own: each is who the kernel says, sees what is theirs, and cannot crowd others out."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pwd
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pratique.cli import store
from pratique.cli.main import run
from pratique.grant.asking import request_hash
from pratique.grant.lifecycle import Cancel, Complete, Deny, Review, Revoke
from pratique.granting import approvers, remote, sshsig, wire
from pratique.granting.alert import Alarm
from pratique.granting.approvers import Approvers, read_public
from pratique.granting.desk import Desk
from pratique.granting.remote import Key, RemoteDesk
from pratique.granting.who import this_user
from pratique.model.errors import GrantError, ParseError, StoreError, UsageError
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.reading import Filter, lines
from storing import PATHS, place_in

_NAMES = ("daemon", "games", "mail")  # every Debian has them
_KNOWN = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_name in _NAMES}
_KNOWN_ALL = {entry.pw_uid: entry for entry in pwd.getpwall()}
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: several users of one machine ask"),
    pytest.mark.skipif(len(_KNOWN) < len(_NAMES), reason=f"needs the users {', '.join(_NAMES)} of a Debian"),
    pytest.mark.needs("ssh-keygen", "ssh-agent"),
]

ALICE, BOB, EVE = (_KNOWN.get(name) or pwd.getpwuid(0) for name in _NAMES)
BOB_KNOWN = Subject(id=BOB.pw_name, provider="unix", strength=1)
ROOT = Subject(id="root", provider="unix", groups=("root",), strength=1)
POLICY = b"""
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: here}
spec:
  entitlements:
  - id: debug-root
    privileges: [exec.root]
    maxTTL: 30m
    maxUses: 2
    approvals: {count: 1, from: ["unix:games"]}
  - id: look
    privileges: [attach]
    approvals: {count: 0}
  breakGlass: {groups: [games], maxTTL: 30m, review: 24h}
"""
_SERVER = """
import asyncio, sys
from pathlib import Path
import storing
from pratique.enforce.desk import serve
from pratique.granting import alert, desk
from pratique.granting.desk import Desk
from pratique.enforce import desk as sockets
alert.SECONDS, desk.LATEST, sockets.DEADLINE = 200.0, 400.0, 400.0  # an alert waits as long as a test does
async def main():
    await serve(Desk(storing.place_in(Path(sys.argv[1]))), Path(sys.argv[2]))
    print("ready", flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""


class Served(NamedTuple):
    """A store, and the socket of its desk."""

    folder: Path
    socket: Path

    @contextlib.contextmanager
    def desk(self) -> Iterator[Desk]:
        with Desk(place_in(self.folder)) as desk:
            yield desk


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve a desk from a process of root's."""
    with Desk(place_in(tmp_path)) as desk:
        desk.set_policy("policy.yaml", POLICY, ROOT)
    path = Path(f"/tmp/pratique-desk-{os.getpid()}.sock")  # pytest's own folders are closed to other users
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(tmp_path), str(path)], env={"PYTHONPATH": PATHS}, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Served(tmp_path, path)
    finally:
        process.kill()
        process.communicate()
        path.unlink(missing_ok=True)


def as_user(user: pwd.struct_passwd, act: Callable[[], Any]) -> Any:
    """Do something in a process of another user's; return what it returned, or raise what it raised."""
    return begun_by(user, act)()


def begun_by(user: pwd.struct_passwd, act: Callable[[], Any]) -> Callable[[], Any]:
    """Begin to do something in a process of another user's; what is returned waits for its end, as `as_user`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            try:
                said = {"value": act()}
            except (GrantError, StoreError, UsageError) as error:
                said = {"error": type(error).__name__, "message": error.message}
            os.write(writer, msgspec.msgpack.encode(said))
        except BaseException:  # noqa: BLE001 - a child that dies says by what
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    return partial(_end_of, child, reader)


def _end_of(child: int, reader: int) -> Any:
    with os.fdopen(reader, "rb") as stream:
        found = msgspec.msgpack.decode(stream.read())
    os.waitpid(child, 0)
    if "error" in found:
        kind = {"GrantError": GrantError, "UsageError": UsageError}.get(found["error"], StoreError)
        raise kind(found["message"])
    return found["value"]


def asked(*privileges: str, subject: Subject = ROOT) -> Asked:
    return Asked(
        subject=subject,
        task=Task(id="T-1", purpose="to see why"),
        privileges=privileges or ("exec.root",),
        scope=Scope(),
        lifetime=600.0,
    )


def test_whose_a_request_is_the_kernel_says(served: Served) -> None:
    """A document that claims to be root's is a request of whoever sent it, with strength 1."""
    name = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    with served.desk() as desk:
        grant = desk.store.get(name).grant
    subject = grant.asked.subject
    assert (subject.id, subject.provider, subject.strength) == ("daemon", "unix", 1)
    assert grant.state == "requested"


def test_a_user_whom_the_kernel_cannot_name_is_nobody(served: Served) -> None:
    """The number that stands for all users of other namespaces is no identity."""
    nobody = _KNOWN_ALL.get(65534)
    if nobody is None:
        pytest.skip("needs the user with the number that stands for nobody")
    with pytest.raises(GrantError, match="nobody can tell"):
        as_user(nobody, lambda: RemoteDesk(served.socket).request(asked()).id)


def test_nobody_sees_what_is_anothers(served: Served) -> None:
    """Others' grants are not there, whether by id, by the beginning of one, or in a list; approvers see what waits for them."""
    name = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    own = as_user(EVE, lambda: RemoteDesk(served.socket).request(asked("attach")).id)
    with pytest.raises(StoreError, match="no such grant of yours"):
        as_user(EVE, lambda: RemoteDesk(served.socket).store.get(name[:8]).grant.id)

    def listed() -> list[str]:
        return [kept.grant.id for kept in RemoteDesk(served.socket).store.find()]

    assert as_user(EVE, listed) == [own]
    assert as_user(BOB, listed) == [name]
    assert sorted(as_user(ALICE, listed)) == [name]
    assert sorted(listed()) == sorted([name, own])  # root


def test_a_user_name_alone_does_not_approve(served: Served) -> None:
    """An approver is known with strength 2: a user of the machine has 1, a registered key makes it 2."""
    name = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    with pytest.raises(GrantError, match="strength 2"):
        as_user(BOB, lambda: RemoteDesk(served.socket).approve(name, this_user()).id)
    with pytest.raises(GrantError):
        as_user(ALICE, lambda: RemoteDesk(served.socket).approve(name, this_user()).id)
    key = _key_of(served, "unix:games")
    grant = as_user(BOB, lambda: RemoteDesk(served.socket, key).approve(name, this_user()).state)
    assert grant == "active"
    with served.desk() as desk:
        approval = desk.store.get(name).grant.approvals[0]
        assert (approval.by.id, approval.by.strength) == ("games", 2)


def test_a_signature_is_of_one_person_one_act_one_request_and_now(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's key, another act, another grant, an old signature and none at all approve nothing."""
    name, other = (as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id) for _ in range(2))
    key = _key_of(served, "unix:games")
    with pytest.raises(StoreError, match="no such grant"):  # Eve may not even see it
        as_user(EVE, lambda: RemoteDesk(served.socket, key).approve(name, this_user()).id)
    stranger = _key(served.folder / "stranger")
    with pytest.raises(GrantError, match="not by the key"):
        as_user(BOB, lambda: RemoteDesk(served.socket, stranger).approve(name, this_user()).id)
    with served.desk() as desk:
        seen, wrong = desk.store.get(name).grant.request, desk.store.get(other).grant.request
    good = approvers.sign(key.path, approvers.Signed(act="approve", grant=name, request=seen, at=time.time()), key.passphrase)
    for bad in (
        msgspec.structs.replace(good, act="deny"),
        msgspec.structs.replace(good, grant=other),
        msgspec.structs.replace(good, request=wrong),
        msgspec.structs.replace(good, signature=""),
        msgspec.structs.replace(good, at=time.time() + 10),
    ):
        body = wire.Acted(request=bad.request, signed=bad)
        with pytest.raises((GrantError, UsageError)):
            as_user(BOB, partial(_sent, served, name, body))
    old = approvers.Signed(act="approve", grant=name, request=seen, at=time.time() - approvers.FRESH - 5)
    body = wire.Acted(request=seen, signed=approvers.sign(key.path, old, key.passphrase))
    with pytest.raises(GrantError, match="not of now"):
        as_user(BOB, lambda: RemoteDesk(served.socket)._ask("POST", f"/v1/grants/{name}/approve", dict, body))
    for nan in (float("nan"), float("inf")):
        body = wire.Acted(request=seen, signed=msgspec.structs.replace(good, at=nan))
        with pytest.raises((GrantError, UsageError)):
            as_user(BOB, partial(_sent, served, name, body))
    with served.desk() as desk:
        assert desk.store.get(name).grant.state == desk.store.get(other).grant.state == "requested"


def test_a_key_that_was_taken_away_signs_no_more(served: Served) -> None:
    """Adding and removing keys is on record, and counts at once."""
    name = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    key = _key_of(served, "unix:games")
    with served.desk() as desk:
        Approvers(desk).remove("unix:games", ROOT)
        assert Approvers(desk).all() == []
        events = [line.event for line in lines(desk.place, Filter())]
    assert events.count("approver-key") == events.count("approver-key-removed") == 1
    with pytest.raises(GrantError, match="has no key here"):
        as_user(BOB, lambda: RemoteDesk(served.socket, key).approve(name, this_user()).id)


def test_keys_in_an_agent_sign(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a public key stands for the private half in an agent, which ssh-keygen asks."""
    key = _key_of(served, "unix:root")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(served.folder / "agent")], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(served.folder / "agent"))
        until = time.monotonic() + 20
        while not (served.folder / "agent").exists() and time.monotonic() < until:
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(served.folder / "key")], check=True)
        (served.folder / "key").rename(served.folder / "away")
        public = served.folder / "key.pub"
        statement = approvers.Signed(act="approve", grant="g-1", request="r", at=time.time())
        signed = approvers.sign(public, statement, lambda: "")
        with served.desk() as desk:
            assert Approvers(desk).strengthened(ROOT, signed).strength == 2
            with pytest.raises(GrantError, match="not by the key"):
                Approvers(desk).strengthened(ROOT, msgspec.structs.replace(signed, grant="g-2"))
    finally:
        agent.kill()
        agent.wait()
    with pytest.raises(UsageError, match="did not sign"):
        approvers.sign(public, statement, lambda: "")
    assert key.path.exists()


class Authenticator:
    """A FIDO authenticator in software: what it signs is as OpenSSH's PROTOCOL.u2f has it."""

    def __init__(self, application: bytes = b"ssh:") -> None:
        self._private = Ed25519PrivateKey.generate()
        self._application = application

    def public(self) -> bytes:
        return _strings(b"sk-ssh-ed25519@openssh.com", self._private.public_key().public_bytes_raw(), self._application)

    def line(self) -> bytes:
        return b"sk-ssh-ed25519@openssh.com " + base64.b64encode(self.public()) + b" anna"

    def sign(self, message: bytes, *, flags: int = 1, namespace: bytes = b"pratique-approval") -> str:
        hashed = hashlib.sha512(message).digest()
        inner = b"SSHSIG" + _strings(namespace, b"", b"sha512", hashed)
        tail = bytes([flags]) + (7).to_bytes(4, "big")
        made = self._private.sign(hashlib.sha256(self._application).digest() + tail + hashlib.sha256(inner).digest())
        signature = _strings(b"sk-ssh-ed25519@openssh.com", made) + tail
        blob = b"SSHSIG" + (1).to_bytes(4, "big") + _strings(self.public(), namespace, b"", b"sha512", signature)
        return f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(blob).decode()}\n-----END SSH SIGNATURE-----\n"


def _strings(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def test_a_key_that_was_touched_is_a_second_factor(served: Served) -> None:
    """Hardware that somebody touched makes strength 3, which breaks a glass; untouched it is 2; another purpose is none."""
    device = Authenticator()
    (served.folder / "sk.pub").write_bytes(device.line())
    with served.desk() as desk:
        Approvers(desk).add("unix:games", read_public(served.folder / "sk.pub"), ROOT)
        desk.send_alerts_to(Alarm("command", ("/bin/true",)), ROOT)

    def broken(sign: Callable[[bytes], str]) -> str:
        wanted = asked()
        said = approvers.Signed(act="break-glass", grant="", request=request_hash(wanted), at=time.time())
        said = msgspec.structs.replace(said, signature=sign(said.statement()))
        return RemoteDesk(served.socket)._ask("POST", "/v1/break-glass", Grant, wire.Broken(asked=wanted, signed=said)).state

    assert as_user(BOB, lambda: broken(device.sign)) == "active"
    for sign, why in (
        (partial(device.sign, flags=0), "second factor"),
        (partial(device.sign, namespace=b"file"), "not by the key"),
        (Authenticator().sign, "not by the key"),
        (lambda statement: device.sign(statement + b"x"), "not by the key"),
    ):
        with pytest.raises(GrantError, match=why):
            as_user(BOB, partial(broken, sign))
    with pytest.raises(GrantError, match="has no key here"):
        as_user(EVE, lambda: broken(device.sign))


@given(st.data())
def test_no_byte_of_a_signature_can_be_changed(data: st.DataObject) -> None:
    """Whatever is shown verifies whole or is refused, never a defect."""
    device = Authenticator()
    text = device.sign(b"message")
    assert sshsig.verify(text, b"message").touched
    blob = bytearray(base64.b64decode("".join(text.splitlines()[1:-1])))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(blob), bytes(blob[:at]), data.draw(st.binary(max_size=200))):
        shown = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(changed).decode()}\n-----END SSH SIGNATURE-----"
        with pytest.raises(ParseError):
            sshsig.verify(shown, b"message")


def test_grants_are_ended_by_whoever_may(served: Served) -> None:
    """Holders cancel, approvers deny and revoke; a stranger does neither."""
    first = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    with pytest.raises(StoreError):
        as_user(EVE, lambda: RemoteDesk(served.socket).act(first, Revoke(this_user(), "mine")).state)
    assert as_user(ALICE, lambda: RemoteDesk(served.socket).act(first, Cancel(this_user())).state) == "cancelled"
    second = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked()).id)
    key = _key_of(served, "unix:games")
    assert as_user(BOB, lambda: RemoteDesk(served.socket, key).act(second, Deny(this_user(), "no")).state) == "denied"
    third = as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked("attach")).id)
    assert as_user(ALICE, lambda: RemoteDesk(served.socket).act(third, Revoke(this_user(), "done")).state) == "revoked"


def test_the_policy_is_told_and_not_set(served: Served) -> None:
    """A user reads the rules that hold; what only the store's owner does is refused before anything is sent."""
    assert as_user(EVE, lambda: RemoteDesk(served.socket).standing().policy.name) == "here"
    assert as_user(EVE, lambda: (RemoteDesk(served.socket).facts.former_policy() or [0])[0]) == 1
    for act in ("set_policy", "seal_codes", "send_alerts_to", "alerts"):
        with pytest.raises(UsageError, match="only the owner"):
            as_user(EVE, getattr(RemoteDesk(served.socket), act))
    with pytest.raises(UsageError, match="knows who you are"):
        RemoteDesk(served.socket).request(asked(subject=Subject(id="root")))


def test_glass_is_not_broken_without_a_factor_or_a_code(served: Served) -> None:
    """A user name breaks no glass; a sealed code does, once, if the alert goes out."""
    with pytest.raises(GrantError, match="second factor"):
        as_user(BOB, lambda: RemoteDesk(served.socket).break_glass(asked()).id)
    with pytest.raises(GrantError, match="opens nothing"):
        as_user(EVE, lambda: RemoteDesk(served.socket).break_glass(asked(), "guess").id)


def test_who_may_review_finds_what_waits(served: Served) -> None:
    """A broken glass is over in minutes: whoever may break it sees it until somebody has looked at it, and nobody else does."""
    with served.desk() as desk:
        desk.send_alerts_to(Alarm("command", ("/usr/bin/env", "true")), ROOT)
        (code,) = desk.seal_codes(1, ROOT)
    name = as_user(EVE, lambda: RemoteDesk(served.socket).break_glass(asked("exec.root"), code).id)
    as_user(EVE, lambda: RemoteDesk(served.socket).act(name, Complete(Subject(id="nobody", provider="unix"))).state)

    def listed() -> list[str]:
        return [kept.grant.id for kept in RemoteDesk(served.socket).store.find()]

    assert as_user(BOB, listed) == [name]
    assert as_user(ALICE, listed) == []
    assert as_user(BOB, lambda: RemoteDesk(served.socket).act(name, Review(BOB_KNOWN, "read it")).id) == name
    assert as_user(BOB, listed) == []


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/v1/grants", b"{", 400),
        ("POST", "/v1/grants", b"[" * 40_000, 400),
        ("POST", "/v1/grants", b'{"subject": {"id": "root"}}', 400),
        ("POST", "/v1/grants/g-1/explode", b"{}", 400),
        ("POST", "/v1/grants/../standing/approve", b"{}", 400),
        ("PUT", "/v1/standing", b"", 400),
        ("GET", "/v1/grants?until=never", b"", 400),
        ("GET", "/v1/grants/%2e%2e", b"", 503),
        ("GET", "/", b"", 400),
        ("POST", "/v1/grants", b" " * (wire.MAX_MESSAGE + 1), 413),
    ],
)
def test_what_cannot_be_read_is_answered(served: Served, method: str, target: str, body: bytes, status: int) -> None:
    """Nothing that is sent ends in a defect, and the desk answers the next one."""

    def sent() -> int:
        connection = remote._Connection(served.socket)
        connection.request(method, target, body)
        return connection.getresponse().status

    assert as_user(EVE, sent) == status
    assert as_user(EVE, lambda: RemoteDesk(served.socket).standing().state) == "set"


def _is_open(one: socket.socket) -> bool:
    try:
        return one.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_one_user_does_not_crowd_others_out(served: Served) -> None:
    """Idle connections and floods of one user leave the desk open to others; what waits for approval is bounded."""

    def crowd() -> int:
        held = []
        for _ in range(60):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(served.socket))
            one.setblocking(False)
            held.append(one)
        until = time.monotonic() + 60
        while (open_ := sum(map(_is_open, held))) > 16 and time.monotonic() < until:
            time.sleep(0.1)
        return open_

    def flood() -> list[str]:
        found: list[str] = []
        for _ in range(40):
            try:
                found.append(RemoteDesk(served.socket).request(asked()).state)
            except StoreError as error:
                found.append("busy" if "wait" in error.message else error.message)
        return found

    assert as_user(EVE, crowd) <= 16
    states = as_user(EVE, flood)
    assert states.count("requested") <= 21
    assert set(states) == {"requested", "busy"}
    assert as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked("attach")).state) == "active"


_PAGER = """
message=$(cat)
case "$message" in *alert-test*) exit 0;; esac
echo >> {folder}/came
until [ -s {folder}/takes ]; do sleep 0.05; done
exit $(cat {folder}/takes)
"""


@pytest.mark.parametrize("takes", [True, False])
def test_an_alert_that_hangs_is_waited_for_by_who_needs_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, *, takes: bool
) -> None:
    """Whoever breaks a glass waits, once; others ask, see and approve meanwhile. Nothing is given before the alert is taken."""
    monkeypatch.setattr(remote, "SECONDS", 200.0)
    folder, script = served.folder, served.folder / "pager"
    script.write_text(_PAGER.format(folder=folder))
    came = folder / "came"

    def breaks(user: pwd.struct_passwd) -> Callable[[], Any]:
        code = codes.pop()
        return begun_by(user, lambda: RemoteDesk(served.socket).break_glass(asked(), code).state)

    def waiting(number: int) -> bool:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if came.exists() and came.read_text().count("\n") == number:
                return True
            time.sleep(0.02)
        return False

    with served.desk() as desk:
        desk.send_alerts_to(Alarm("command", ("/bin/sh", str(script))), ROOT)
        codes = desk.seal_codes(6, ROOT)
    first = breaks(EVE)
    assert waiting(1)
    for _ in range(3):
        with pytest.raises(StoreError, match="an alert of yours"):
            breaks(EVE)()
    second = breaks(BOB)
    assert waiting(2)
    for _ in range(6):
        assert as_user(ALICE, lambda: RemoteDesk(served.socket).request(asked("attach")).state) == "active"
        assert as_user(BOB, lambda: len(RemoteDesk(served.socket).store.find())) >= 0
    with served.desk() as desk:
        assert [grant for grant in desk.store.broken() if grant.state == "active"] == []
    (folder / "takes").write_text("0" if takes else "1")
    for end in (first, second):
        if takes:
            assert end() == "active"
        else:
            with pytest.raises(StoreError, match="did not go out"):
                end()
    with served.desk() as desk:
        assert len(desk.store.broken()) == 2 * takes
        events = [line.event for line in lines(desk.place) if line.event in ("alert-sent", "alert-failed", "break-glass")]
    assert events[0] == ("alert-sent" if takes else "alert-failed")
    assert sorted(events) == ["alert-sent", "alert-sent", "break-glass", "break-glass"] if takes else ["alert-failed"] * 2


def test_a_desk_that_is_gone_is_said(tmp_path: Path) -> None:
    """No socket, and one that nobody serves, are one line."""
    with pytest.raises(StoreError, match="does not answer"):
        RemoteDesk(tmp_path / "none.sock").standing()


def test_the_commands_speak_to_a_desk(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    """request, list, show, approve --key, can and revoke, as people give them; what is the owner's is refused in one line."""
    key = _key_of(served, "unix:games")
    store = ("--store", f"unix:{served.socket}")

    def command(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run([*words, *store])
        said = capfd.readouterr()
        return code, said.out + said.err

    asking = ("grant", "request", "-p", "exec.root", "--task", "T-1", "--reason", "why", "--for", "10m")
    code, said = as_user(ALICE, lambda: _command(served, *asking))
    assert code == 0
    assert "to be approved by unix:games" in said
    name = said.split(" ", 1)[0]
    assert as_user(ALICE, lambda: _command(served, "can", "exec.root"))[0] == 1
    assert name in as_user(BOB, lambda: _command(served, "grant", "list"))[1]
    code, said = as_user(BOB, lambda: _command(served, "grant", "approve", name, "--key", str(key.path)))
    assert (code, "active" in said) == (0, True), said
    assert as_user(ALICE, lambda: _command(served, "can", "exec.root"))[0] == 0
    assert command("grant", "show", name)[0] == 0
    for words in (
        ("grant", "policy", "set", str(key.path)),
        ("grant", "key", "list"),
        ("break-glass", "seal"),
        ("audit", "show"),
    ):
        code, said = command(*words)
        assert code in (2, 3)
        assert len(said.strip().splitlines()) == 1
    code, said = as_user(ALICE, lambda: _command(served, *asking, "--as", "root"))
    assert code == 2
    assert "knows who you are" in said
    assert as_user(ALICE, lambda: _command(served, "grant", "revoke", name))[0] == 0


def _command(served: Served, *words: str) -> tuple[int, str]:
    """Give a command in this process, whose output is its own."""
    read, write = os.pipe()
    for number in (1, 2):
        os.dup2(write, number)
    os.close(write)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ["HOME"] = "/nonexistent"
    code = run([*words, "--store", f"unix:{served.socket}"])
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    with os.fdopen(read) as stream:
        return code, stream.read()


def test_where_the_desk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked where one has no store of one's own, or may not read the one that is named; root has stores."""
    desk, own = tmp_path / "desk.sock", tmp_path / "state" / "pratique"
    monkeypatch.setattr(store, "_DESK", str(desk))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "roots")
    (tmp_path / "roots").mkdir()
    assert store._socket(None) is None
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(desk))
        assert store._socket(None) == desk
        assert store._socket(str(tmp_path / "roots")) == desk
        assert store._socket(str(tmp_path / "new")) is None
        own.mkdir(parents=True)
        assert store._socket(None) is None
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        own.rmdir()
        assert store._socket(None) is None
    for text in ("unix:/a/b", "unix:///a/b"):
        assert store._socket(text) == Path("/a/b")


def _sent(served: Served, name: str, body: wire.Acted) -> None:
    RemoteDesk(served.socket)._ask("POST", f"/v1/grants/{name}/approve", dict, body)


def _key(path: Path) -> Key:
    """Make a key as people do; its file is open, as the tests' users must read it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    readable = Path(f"/tmp/pratique-key-{os.getpid()}-{path.name}")
    readable.write_bytes(path.read_bytes())
    readable.chmod(0o644)
    return Key(readable, lambda: "")


def _key_of(served: Served, of: str) -> Key:
    key = _key(served.folder / "key")
    with served.desk() as desk:
        Approvers(desk).add(of, read_public(served.folder / "key.pub"), ROOT)
    return key
