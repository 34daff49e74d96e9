"""`pratique grant`, `break-glass` and `audit`, as people and scripts call them."""

from __future__ import annotations

import io
import json
import os
import pwd
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

import pytest

import imagebuilder
import registrysim
from pratique.store.ledger import Ledger
from pratique.store.place import open_place
from storing import entry

DIGEST = "sha256:" + "a" * 64
ASK = ("--task", "T-1", "--reason", "to see why", "--for", "30m")


class Ran(Protocol):
    code: int
    out: str
    err: str
    json: Any


class Call(Protocol):
    def __call__(self, *arguments: object) -> Ran: ...


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def ask(call: Call, *more: object) -> str:
    """Ask for exec.root as alice; return the id."""
    ran = call("grant", "request", "--as", "alice", "--privilege", "exec.root", *ASK, "--format", "json", *more)
    assert ran.code == 0, ran.err
    found: str = ran.json["id"]
    return found


def test_request_approve_show_list_revoke(call: Call) -> None:
    """The way of a grant, with one object of JSON at each step."""
    name = ask(call, "--image", f"debian@{DIGEST}")
    assert call("grant", "show", name, "--format", "json").json["state"] == "requested"
    approved = call("grant", "approve", name, "--as", "bob", "--format", "json")
    assert (approved.code, approved.json["id"], approved.json["state"]) == (0, name, "active")
    shown = call("grant", "show", name, "--format", "json").json
    assert shown["scope"] == {"images": [f"docker.io/library/debian@{DIGEST}"]}
    assert shown["subject"] == {"id": "alice", "provider": "claimed", "strength": 0, "kind": "human"}
    assert shown["approvals"][0]["by"]["id"] == "bob"
    assert shown["uses"] == 1
    assert shown["expires_at"] > shown["active_from"]
    assert [one["id"] for one in call("grant", "list", "--state", "active", "--format", "json").json] == [name]
    assert [one["id"] for one in call("grant", "list", "--expiring", "1h", "--format", "json").json] == [name]
    assert call("grant", "list", "--expiring", "1m", "--format", "json").json == []
    assert call("grant", "list", "--mine", "--format", "json").json == []
    revoked = call("grant", "revoke", name, "--as", "alice", "--reason", "done", "--format", "json")
    assert (revoked.code, revoked.json["state"], revoked.json["why"]) == (0, "revoked", "done")
    assert call("grant", "revoke", name, "--as", "alice").code == 1


def test_people_read_what_is_next(call: Call) -> None:
    """A request says who must approve, how, and until when; a shown grant reads in two columns."""
    ran = call("grant", "request", "--as", "alice", "-p", "exec.root", *ASK)
    assert re.match(r"g-[0-9a-f]{12} requested: exec.root for task T-1\n", ran.out)
    name = ran.out.split()[0]
    assert f"pratique grant approve {name}" in ran.out
    assert "not alice" in ran.out
    assert "lapses 20" in ran.out
    assert f"{name} active: exec.root for alice (claimed) until " in call("grant", "approve", name, "--as", "bob").out
    shown = call("grant", "show", name).out
    assert "  approved     " in shown
    assert "by bob (claimed)" in shown
    assert "1 grant\n" in call("grant", "list").out


def test_nobody_approves_their_own(call: Call) -> None:
    """Exit 1, one line, and the request waits on."""
    name = ask(call)
    ran = call("grant", "approve", name, "--as", "alice")
    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1
    assert call("grant", "show", name, "--format", "json").json["state"] == "requested"


def test_deny_and_cancel(call: Call) -> None:
    """A request is denied by another, or taken back by whoever asked."""
    one, two = ask(call), ask(call)
    assert call("grant", "cancel", two, "--as", "bob").code == 1
    assert call("grant", "cancel", two, "--as", "alice", "--format", "json").json["state"] == "cancelled"
    assert call("grant", "deny", one, "--as", "bob", "--reason", "no", "--format", "json").json["state"] == "denied"
    assert call("grant", "approve", one, "--as", "bob").code == 1


def test_whom_the_kernel_knows(call: Call) -> None:
    """Without --as it is the user of the process, with strength 1."""
    ran = call("grant", "request", "-p", "exec.root", *ASK, "--format", "json")
    assert ran.json["subject"]["id"] == pwd.getpwuid(os.getuid()).pw_name
    assert (ran.json["subject"]["provider"], ran.json["subject"]["strength"]) == ("unix", 1)
    assert len(call("grant", "list", "--mine", "--format", "json").json) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-p", "exec.rot"), 2, "did you mean"),
        (("-p", "exec.root", "--for", "soon"), 2, "duration"),
        (("-p", "exec.root", "--for", "9h"), 1, "at most"),
        (("-p", "exec.root", "--image", "debian:12", "--offline"), 2, "NAME@sha256"),
        (("-p", "exec.root", "--image", "UPPER"), 2, "image name"),
        (("-p", "exec.root", "--label", "x"), 2, "NAME=VALUE"),
        (("-p", "exec.root", "--argv", "'x"), 2, "--argv"),
        (("-p", "exec.root", "--as", ""), 2, "--as"),
        (("-p", "exec.root", "--uses", "-1"), 2, "--uses"),
        ((), 2, "--privilege"),
        (("-p", "exec.root", "--store", "https://fleet.example"), 2, "--store"),
        (("-p", "exec.root", "--store", "/dev/null"), 3, "folder"),
    ],
)
def test_what_cannot_be_asked(call: Call, arguments: tuple[str, ...], code: int, words: str) -> None:
    """One line and the right code: 2 for bad usage, 1 for what the policy does not allow, 3 for a store that cannot be."""
    ran = call("grant", "request", *ASK, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1


def test_scopes_are_kept(call: Call) -> None:
    """Everything that narrows a grant is in it."""
    name = ask(
        call, "--host", "web-*", "--namespace", "shop", "--cluster", "prod", "--container", "shop/web/app", "--label", "tier=web",
        "--point", "kubernetes", "--argv", "psql -c 'select 1'", "--argv-prefix", "--uid", "1000", "--capability", "CHOWN",
    )  # fmt: skip
    assert call("grant", "show", name, "--format", "json").json["scope"] == {
        "points": ["kubernetes"], "hosts": ["web-*"], "clusters": ["prod"], "namespaces": ["shop"], "container": "shop/web/app",
        "labels": {"tier": "web"}, "argv": ["psql", "-c", "select 1"], "argv_match": "prefix", "uid": 1000,
        "capabilities": ["CHOWN"],
    }  # fmt: skip
    assert "argv psql -c select 1" in call("grant", "show", name).out


@pytest.mark.loopback
def test_a_tag_is_looked_up_now(call: Call) -> None:
    """A grant for a tag is a grant for the digest that the tag has now."""
    with registrysim.running() as registry:
        image = registry.add("team/app", imagebuilder.image([imagebuilder.layer({"a": "b"})]), "1")
        host = registrysim.host(registry)
        name = ask(call, "--image", f"{host}/team/app:1")
    assert call("grant", "show", name, "--format", "json").json["scope"]["images"] == [f"{host}/team/app@{image.digest}"]


def test_a_store_that_is_missing_or_open(call: Call, tmp_path: Path) -> None:
    """Nothing is listed from nowhere, and a store that others may write is not used."""
    ran = call("grant", "list")
    assert (ran.code, ran.out) == (3, "")
    assert "there is no store" in ran.err
    ask(call)
    (tmp_path / "state" / "pratique").chmod(0o777)
    ran = call("grant", "list")
    assert ran.code == 3
    assert "others may write this store" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_policy_set_and_show(call: Call, tmp_path: Path) -> None:
    """A policy is checked, kept with a number, and shown as it was written."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: team-a}\nspec:\n"
        "  entitlements:\n  - {id: look, privileges: [attach], approvals: {count: 0}}\n"
    )
    assert call("grant", "policy", "set", path).code == 0
    shown = call("grant", "policy", "show")
    assert shown.code == 0
    assert "name: team-a" in shown.out
    assert call("grant", "request", "-p", "attach", *ASK, "--format", "json").json["state"] == "active"
    assert call("grant", "request", "-p", "exec.root", *ASK).code == 1
    path.write_text("kind: Nonsense\n")
    ran = call("grant", "policy", "set", path)
    assert ran.code == 2
    assert re.match(rf"pratique: {re.escape(str(path))}:1:\d+: ", ran.err)


def _piped(text: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def test_policies_are_read_from_standard_input(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pipe brings is read where a file is read once; where it is read again or written back, that is said."""
    text = "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: piped}\nspec: {}\n"
    monkeypatch.setattr("sys.stdin", _piped(text))
    assert call("grant", "policy", "check", "-").code == 0
    monkeypatch.setattr("sys.stdin", _piped(text))
    assert call("grant", "policy", "set", "-").code == 0
    assert "name: piped" in call("grant", "policy", "show").out
    monkeypatch.setattr("sys.stdin", _piped("kind: Nonsense\n"))
    ran = call("grant", "policy", "set", "-")
    assert ran.code == 2
    assert ran.err.startswith("pratique: -:1:")
    for words in (("policy", "check", "-"), ("waiver", "list", "--waivers", "-"), ("policy", "explain", "-", "x")):
        ran = call(*words)
        assert (ran.code, ran.err) == (2, "pratique: -: standard input is not read here (name a file)\n")


def test_audit(call: Call, tmp_path: Path) -> None:
    """Who allowed what for which task, and that the ledger is whole; an edited one is not."""
    name = ask(call)
    call("grant", "approve", name, "--as", "bob", "--reason", "go")
    ran = call("audit", "verify")
    assert (ran.code, ran.out) == (0, "whole: 4 lines in 1 segment\n")
    shown = call("audit", "show", "--event", "approve").out
    assert f"{name} claimed:bob approves exec.root for claimed:alice (task T-1): go" in shown
    assert call("audit", "show", "--task", "T-2").out == ""
    assert len(call("audit", "show", "--who", "bob").out.splitlines()) == 1
    assert json.loads(call("audit", "tail", "-n", "1", "--format", "json").out)["event"] == "activate"
    assert call("audit", "show", "--since", "1h").out == call("audit", "show").out
    assert call("audit", "show", "--until", "2020-01-01").out == ""
    path = tmp_path / "state" / "pratique" / "ledger" / "00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"bob", b"eve"))
    ran = call("audit", "verify", "--format", "json")
    assert ran.code == 1
    assert ran.json["verified"] is False
    assert ran.json["problems"][0] == {"segment": "00000001.jsonl", "line": 3, "seq": 3, "text": ran.json["problems"][0]["text"]}
    assert call("audit", "verify").out.startswith("00000001.jsonl:3: changed")


@pytest.mark.parametrize("cut", [1, 2])
def test_audit_misses_no_line_at_the_end(call: Call, tmp_path: Path, cut: int) -> None:
    """Lines cut off the end are missed."""
    ask(call)
    ask(call)
    path = tmp_path / "state" / "pratique" / "ledger" / "00000001.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-cut]))
    ran = call("audit", "verify")
    assert ran.code == 1
    assert "cut off" in ran.out
    assert call("grant", "request", "-p", "exec.root", *ASK).code == 3


def test_audit_without_a_ledger(call: Call, tmp_path: Path) -> None:
    """Where there is nothing to verify, that is no yes."""
    assert call("audit", "verify").code == 3
    assert call("audit", "show").code == 3
    (tmp_path / "state" / "pratique").mkdir(parents=True, mode=0o700)
    for command in ("verify", "show", "tail", "export --format cef"):
        assert call("audit", *command.split()).code == 3


@pytest.mark.parametrize(("kind", "start"), [("ocsf", "{"), ("cef", "CEF:0|"), ("rfc5424", "<1")])
def test_audit_export(call: Call, kind: str, start: str) -> None:
    """One event a line in each format."""
    ask(call)
    ask(call)
    out = call("audit", "export", "--format", kind).out.splitlines()
    assert len(out) == 2
    assert all(line.startswith(start) for line in out)
    assert call("audit", "export", "--format", kind, "--since", "2100-01-01").out == ""


def test_audit_head_and_rotation(call: Call, tmp_path: Path) -> None:
    """A head that was published finds what was rewritten since; keys change in order."""
    ask(call)
    heads = tmp_path / "heads.jsonl"
    first = call("audit", "head", "--publish-head", heads)
    assert json.loads(first.out) == json.loads(heads.read_text())
    key = json.loads(first.out)["key"]
    ran = call("audit", "rotate-key")
    assert ran.out.startswith(f"from {key}\nto   ed25519:")
    call("audit", "head", "--publish-head", heads)
    assert len(heads.read_text().splitlines()) == 2
    ran = call("audit", "verify", "--head", heads, "--key", key)
    assert ran.code == 0
    assert "which the former endorses" in ran.out
    end = json.loads(first.out)
    assert call("audit", "verify", "--expect", f"{end['count']}:{end['hash']}").code == 0
    ran = call("audit", "verify", "--expect", f"{end['count']}:{'0' * 64}", "--expect", f"9999:{end['hash']}")
    assert ran.code == 1
    assert "history was rewritten" in ran.out
    assert "after 9999 lines was noted" in ran.out
    for wrong in ("", "5", "5:abc", f"x:{end['hash']}", end["hash"]):
        assert call("audit", "verify", "--expect", wrong).code == 2
    state = tmp_path / "state" / "pratique"
    pem = next((state / "keys").glob("ledger-1.pub"))
    assert call("audit", "verify", "--key", pem).code == 0
    assert call("audit", "verify", "--key", next((state / "keys").glob("ledger-2.pub"))).code == 1
    assert call("audit", "verify", "--key", tmp_path).code == 2
    assert call("audit", "verify", "--head", tmp_path / "none").code == 2
    for name in ("ledger", "keys"):
        shutil.rmtree(state / name)
    (state / "head").unlink()
    ledger = Ledger(open_place(state))
    ledger.append(entry())
    ledger.close()
    ran = call("audit", "verify")
    assert ran.code == 1
    assert "exchanged whole" in ran.out
    (state / "grants.sqlite").unlink()
    assert call("audit", "verify").code == 0
    assert call("audit", "verify", "--head", heads).code == 1


def test_audit_publish(call: Call, tmp_path: Path) -> None:
    """Where heads go is said, and used by `verify` without being told; what cannot be is one line."""
    ask(call)
    heads = tmp_path / "heads.jsonl"
    assert call("audit", "publish").out == "the ends of the ledger are published nowhere\n"
    ran = call("audit", "publish", heads, "--every", "1h")
    assert (ran.code, ran.out) == (0, f"the ends of the ledger are published in {heads}, every 3600 s\n")
    assert call("audit", "verify").code == 0
    state = tmp_path / "state" / "pratique"
    shutil.copytree(state, tmp_path / "backup")
    ask(call)
    call("audit", "head", "--publish-head", heads)
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "backup", state)
    ran = call("audit", "verify")
    assert ran.code == 1
    assert "were published" in ran.out
    heads.unlink()
    ran = call("audit", "verify")
    assert ran.code == 0
    assert f"note: {heads}: published heads cannot be read" in ran.out
    assert call("audit", "publish", "--stop").out == "the ends of the ledger are published nowhere\n"
    assert call("audit", "publish", "heads").code == 2
    assert call("audit", "publish", heads, "--stop").code == 2
    assert call("audit", "publish", heads, "--every", "1s").code == 2
    assert call("audit", "publish", tmp_path / "none" / "heads").code == 3


def test_break_glass(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Codes are shown once and open once, after an alert; somebody else reviews."""
    sealed = call("break-glass", "seal", "-n", "2")
    codes = sealed.out.split()
    assert len(codes) == 2
    assert "2 codes" in sealed.err
    heard = tmp_path / "heard"
    assert call("break-glass", "alert", "--command", f"/usr/bin/env tee {heard}").code == 0

    def open_with(code: str, *more: object) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(code + "\n"))
        return call(
            "break-glass", "-p", "run.privileged", "--task", "T-9", "--reason", "fire", "--for", "10m", "--sealed-code", *more
        )

    ran = open_with(codes[0].lower(), "--format", "json")
    assert (ran.code, ran.json["state"], ran.json["break_glass"]) == (0, "active", True)
    assert json.loads(heard.read_text())["reason"] == "fire"
    assert open_with(codes[0]).code == 1
    assert open_with("").code == 2
    assert call("break-glass", "use", "-p", "exec.root", "--task", "T", "--reason", "x", "--for", "10m").code == 1
    me = ran.json["subject"]["id"]
    assert [one["id"] for one in call("grant", "list", "--unreviewed", "--format", "json").json] == [ran.json["id"]]
    assert "review       awaited: pratique break-glass review" in call("grant", "show", ran.json["id"]).out
    assert call("break-glass", "review", ran.json["id"], "--reason", "ok", "--as", me).code == 1
    claimed = call("break-glass", "review", ran.json["id"], "--reason", "ok", "--as", "olga")
    assert (claimed.code, "only claimed" in claimed.err) == (1, True)  # else one command would undo the freeze
    assert call("break-glass", "alert", "--command", "/nowhere").code == 3
    assert call("break-glass", "alert").out == f"alerts go to command /usr/bin/env tee {heard}\n"
    assert call("break-glass", "alert", "--syslog", "--webhook", "https://x").code == 2
    assert "break-glass" in call("audit", "show").out
    assert call("break-glass").code == 2


def test_texts_reach_no_terminal_raw(call: Call) -> None:
    """Escape sequences in reasons and names are shown, not sent."""
    ran = call("grant", "request", "-p", "exec.root", "--as", "al\x1b[31mice", *ASK)
    assert ran.code == 2
    name = ask(call, "--ticket", "\x1b[2J")
    for command in (("grant", "show", name), ("grant", "list"), ("audit", "show"), ("audit", "export", "--format", "cef")):
        assert "\x1b" not in call(*command).out


def test_an_approver_who_is_not_known_well_enough_is_told_what_helps(call: Call, tmp_path: Path) -> None:
    """A user name is strength 1: the request names the option, the refusal who registers the key."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: strict}\nspec:\n  entitlements:\n"
        "  - {id: root, privileges: [exec.root], approvals: {count: 1, fourEyes: false}}\n"
    )
    assert call("grant", "policy", "set", policy).code == 0
    asked = call("grant", "request", "-p", "exec.root", *ASK)
    assert asked.code == 0
    assert "--key FILE" in asked.out
    name = asked.out.split()[0]
    for act in ("approve", "deny"):
        refused = call("grant", act, name, "--reason", "x")
        assert refused.code == 1
        assert "an approver must be known with strength 2" in refused.err
        assert "pratique grant key add" in refused.err
    assert (
        call("break-glass", "use", "-p", "exec.root", "--task", "T", "--reason", "x", "--for", "10m").err.count("breakGlass:")
        == 1
    )
