"""The gate as a process: who may ask it, with which certificates, in what time; and relays in front of it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeserver import Gate
from pratique.enforce.kubernetes import certificates
from pratique.grant.lifecycle import Revoke
from pratique.model.privilege import Asked, Scope, Task
from reviewing import DEV, ONCALL, POLICY, changed, creates, enters, pod, recorded, sar

NOW = dt.datetime.now(dt.UTC)
EXEC = {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "team-a", "name": "good"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(tmp_path_factory.mktemp("gate"))
    with made.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
    yield made
    made.stop()


def post(gate: Gate, path: str, body: Any, context: ssl.SSLContext | None = None) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(gate.address + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60, context=context or gate.context()) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, {"text": error.read().decode()}


def grant(gate: Gate, *privileges: str, uses: int = 1) -> None:
    task = Task(id="T-1", purpose="mend it")
    asked = Asked(subject=DEV, task=task, privileges=privileges, scope=Scope(), lifetime=60.0, uses=uses)
    with gate.desk() as desk:
        desk.approve(desk.request(asked).id, ONCALL)


def test_it_answers_its_api_server_and_nobody_else(gate: Gate) -> None:
    """A client without a certificate of the authority may ask whether it lives, and nothing else."""
    assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]
    stranger = ssl.create_default_context(cafile=str(gate.folder / "keys" / "ca.crt"))
    assert post(gate, "/admit", creates(pod()), stranger)[0] == 401
    assert post(gate, "/authorize", sar(**EXEC), stranger)[0] == 401
    with urllib.request.urlopen(f"{gate.address}/livez", timeout=60, context=stranger) as answer:
        assert answer.status == 200
    other = gate.folder / "other"
    certificates.make(other, ("localhost",), NOW)
    stranger.load_cert_chain(other / "client.crt", other / "client.key")
    with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
        post(gate, "/admit", creates(pod()), stranger)


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/admit/", 404), ("/metrics", 404), ("/metrics/", 404)])
def test_there_is_nothing_else(gate: Gate, path: str, status: int) -> None:
    """Two paths, and those of probes."""
    assert post(gate, path, {})[0] == status


def numbers(gate: Gate, context: ssl.SSLContext | None = None) -> dict[str, float]:
    with urllib.request.urlopen(f"{gate.address}/metrics", timeout=60, context=context or gate.context()) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    described = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    assert {
        name.partition("{")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in found
    } <= described
    return {name: float(value) for name, value in found.items()}


def test_it_counts_what_it_answers(gate: Gate) -> None:
    """By webhook and answer, with how long it took and when its certificate ends; for those whom it answers at all."""
    before = numbers(gate)
    assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]
    assert not post(gate, "/admit", b"{}")[1]["response"]["allowed"]
    assert not post(gate, "/authorize", sar(**EXEC))[1]["status"]["allowed"]
    after = numbers(gate)

    def more(name: str) -> float:
        return after[name] - before[name]

    assert more('pratique_gate_reviews_total{webhook="admit",answer="allowed"}') == 1
    assert more('pratique_gate_reviews_total{webhook="admit",answer="denied"}') == 1
    assert more('pratique_gate_reviews_total{webhook="authorize",answer="no_opinion"}') == 1
    assert more('pratique_gate_review_seconds_count{webhook="admit"}') == 2
    assert more('pratique_gate_review_seconds_bucket{webhook="admit",le="+Inf"}') == 2
    assert after["pratique_gate_ready"] == 1
    assert NOW.timestamp() < after["pratique_gate_certificate_expires_timestamp_seconds"] < NOW.timestamp() + 100 * 86400
    stranger = ssl.create_default_context(cafile=str(gate.folder / "keys" / "ca.crt"))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        numbers(gate, stranger)


def test_a_body_that_is_too_large_is_refused(gate: Gate) -> None:
    """More than two objects of the largest size: it is not read to its end, and what is not answered is denied."""
    try:
        status, _ = post(gate, "/admit", b"{" + b" " * (5 << 20) + b"}")
    except (urllib.error.URLError, ConnectionError):
        return  # it hung up while the client still wrote
    assert status == 413


def test_a_new_certificate_is_taken_up_without_a_pause(gate: Gate) -> None:
    """Rotation: the next connection sees the new one."""
    keys = gate.folder / "keys"

    def serial() -> str:
        with (
            socket.create_connection(("127.0.0.1", gate.port), timeout=30) as raw,
            gate.context().wrap_socket(raw, server_hostname="127.0.0.1") as wrapped,
        ):
            seen = wrapped.getpeercert()
            assert seen is not None
            return str(seen["serialNumber"])

    before = serial()
    (keys / "tls.crt").unlink()
    assert certificates.make(keys, ("127.0.0.1", "localhost"), NOW).files == ("tls.crt",)
    end = time.monotonic() + 60
    while serial() == before:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]


def test_a_half_written_certificate_leaves_the_former(gate: Gate) -> None:
    """Whatever stands in the files for a while, the gate goes on with what it had."""
    key = gate.folder / "keys" / "tls.key"
    kept = key.read_bytes()
    key.write_bytes(b"-----BEGIN")
    time.sleep(1.5)
    assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]
    key.write_bytes(kept)


def test_a_store_that_cannot_be_used_denies_what_needs_a_grant(tmp_path: Path) -> None:
    """The database goes away: within seconds grants are dead, and the baseline is served."""
    gate = Gate(tmp_path)
    try:
        with gate.desk() as desk:
            desk.set_policy("policy.yaml", POLICY, ONCALL)
        grant(gate, "exec.privileged", uses=0)
        end = time.monotonic() + 60  # half a second is short on a machine that does other things, and late is denied
        while not post(gate, "/admit", enters(uid=f"u-{time.monotonic()}"))[1]["response"]["allowed"]:
            assert time.monotonic() < end
        database = gate.folder / "store" / "grants.sqlite"
        database.rename(database.with_name("away"))
        end = time.monotonic() + 60
        while post(gate, "/admit", enters(uid=str(time.monotonic())))[1]["response"]["allowed"]:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert not post(gate, "/admit", enters(uid="later"))[1]["response"]["allowed"]
    finally:
        gate.stop()


def test_a_ledger_that_cannot_be_written_denies_privileges(tmp_path: Path) -> None:
    """No line, no privilege; what needs none is let through."""
    gate = Gate(tmp_path)
    try:
        with gate.desk() as desk:
            desk.set_policy("policy.yaml", POLICY, ONCALL)
        grant(gate, "exec.privileged", uses=0)
        ledger = gate.folder / "store" / "ledger"
        shutil.rmtree(ledger)
        ledger.write_text("no folder")
        answer = post(gate, "/admit", enters())[1]["response"]
        assert not answer["allowed"]
        assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]
    finally:
        gate.stop()


def relay(folder: Path, gate: Gate, *extra: str, name: str = "relay") -> Gate:
    keys = gate.folder / "keys"
    made = folder / name
    shutil.copytree(keys, made / "keys")
    upstream = ("--upstream", gate.address, "--upstream-ca", str(keys / "ca.crt"), "--keep", str(made / "policy"))
    pair = ("--upstream-cert", str(keys / "client.crt"), "--upstream-key", str(keys / "client.key"))
    return Gate(made, *upstream, *pair, *extra, name=name, verb="relay")


def test_relays_answer_what_needs_no_grant_and_pass_on_the_rest(tmp_path: Path) -> None:
    """Two relays, one store: a grant of one use is used once, whichever of them is asked; and the store may be away."""
    gate = Gate(tmp_path / "gate")
    with gate.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
    relays = [relay(tmp_path, gate, name=f"relay{number}") for number in range(2)]
    try:
        end = time.monotonic() + 60
        for one in relays:
            while not post(one, "/admit", creates(pod()))[1]["response"]["allowed"]:
                assert time.monotonic() < end
                time.sleep(0.1)
        answer = post(relays[0], "/admit", recorded("CREATE-pods-"))[1]["response"]
        assert "pratique: denied" in answer["status"]["message"]
        for attempt in range(50):  # half a second is short on a machine that does other things, and late is denied
            grant(gate, "exec.privileged")
            if post(relays[0], "/authorize", sar(**EXEC))[1]["status"]["allowed"]:
                answer = post(relays[1], "/admit", enters(uid=f"u-{attempt}"))[1]["response"]
                if answer["allowed"]:
                    break
        assert answer["allowed"], answer
        with gate.desk() as desk:
            left = [kept.grant.id for kept in desk.store.find() if kept.grant.state == "active"]
            for name in left:
                desk.act(name, Revoke(ONCALL))
        assert not post(relays[0], "/admit", enters(uid="again"))[1]["response"]["allowed"]
        order = {"apiVersion": "grants.pratique/v1", "kind": "GrantOrder", "metadata": {"name": "o", "namespace": "team-a"},
                 "spec": {"verb": "request", "privileges": ["exec.any"], "task": "T", "reason": "r", "for": "5m"}}  # fmt: skip
        for _ in range(50):
            said = post(relays[1], "/admit", creates(order, "grantorders", "grants.pratique"))[1]["response"]
            if said["allowed"]:
                break
        assert said["allowed"], said
        grant(gate, "exec.privileged")
        gate.kill()
        assert post(relays[0], "/admit", creates(pod()))[1]["response"]["allowed"]
        refused = post(relays[0], "/admit", changed(enters(), uid="x"))[1]["response"]
        assert not refused["allowed"]
        assert "does not answer" in refused["status"]["message"]
        status = post(relays[0], "/authorize", sar(**EXEC))[1]["status"]
        assert (status["allowed"], status["denied"]) == (False, True)
        assert "does not answer" in status["evaluationError"]
        again = relays[0]
        again.stop()
        relays[0] = relay_again(again, gate)
        assert post(relays[0], "/admit", creates(pod()))[1]["response"]["allowed"], "it begins with the policy of before"
    finally:
        for process in (*relays, gate):
            process.stop()


def test_a_relay_for_anybody_admits_and_does_no_more(tmp_path: Path) -> None:
    """API servers that cannot show a certificate: what is admitted is decided by policy and grants as ever; whoever orders, or is
    given access, has to be known.
    """
    gate = Gate(tmp_path / "gate")
    with gate.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
    open_one = relay(tmp_path, gate, "--any-client", name="open")
    stranger = ssl.create_default_context(cafile=str(gate.folder / "keys" / "ca.crt"))
    try:
        end = time.monotonic() + 60
        while not post(open_one, "/admit", creates(pod()), stranger)[1]["response"]["allowed"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert not post(open_one, "/admit", recorded("CREATE-pods-"), stranger)[1]["response"]["allowed"]
        while "no decision" in (said := str(post(open_one, "/admit", enters(), stranger)[1]["response"])):
            assert time.monotonic() < end
        assert "exec.privileged" in said, "the gate with the store decides"
        order = {"apiVersion": "grants.pratique/v1", "kind": "GrantOrder", "metadata": {"name": "o", "namespace": "team-a"},
                 "spec": {"verb": "request", "privileges": ["exec.any"], "task": "T", "reason": "r", "for": "5m"}}  # fmt: skip
        review = creates(order, "grantorders", "grants.pratique")
        assert "carries out no orders" in post(open_one, "/admit", review, stranger)[1]["response"]["status"]["message"]
        assert post(open_one, "/authorize", sar(**EXEC), stranger)[1]["status"]["denied"]
        assert not post(open_one, "/admit", b"{", stranger)[1]["response"]["allowed"]
        assert "carries out no orders" not in str(post(open_one, "/admit", review)[1]), "a known API server's order is passed on"
    finally:
        open_one.stop()
        gate.stop()


def test_a_grant_is_used_as_often_as_it_says_however_many_ask_at_once(tmp_path: Path) -> None:
    """Three uses, twenty requests at once through two relays and the gate itself: three get through, the ledger has three."""
    gate = Gate(tmp_path / "gate")
    with gate.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
    doors = [gate, *(relay(tmp_path, gate, name=f"relay{number}") for number in range(2))]
    try:
        grant(gate, "exec.privileged", uses=3)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(post, doors[number % 3], "/admit", enters(uid=f"u-{number}")) for number in range(20)]
            through = [one.result()[1]["response"]["allowed"] for one in asked]
        # A machine that is busy may deny one for its lateness, when it has used the grant already: never the other way round.
        end = time.monotonic() + 60
        while len(_uses(gate)) < 3 and time.monotonic() < end:
            through.append(post(gate, "/admit", enters(uid=f"more-{len(through)}"))[1]["response"]["allowed"])
        through += [post(gate, "/admit", enters(uid=f"last-{number}"))[1]["response"]["allowed"] for number in range(3)]
        assert sum(through) <= 3
        assert len(_uses(gate)) == 3
    finally:
        for process in reversed(doors):
            process.stop()


def _uses(gate: Gate) -> list[str]:
    with gate.desk() as desk:
        files = sorted((desk.place.folder / "ledger").glob("*.jsonl"))
    return [line for file in files for line in file.read_text().splitlines() if '"event":"use"' in line]


def relay_again(former: Gate, gate: Gate) -> Gate:
    keys = gate.folder / "keys"
    upstream = ("--upstream", gate.address, "--upstream-ca", str(keys / "ca.crt"), "--keep", str(former.folder / "policy"))
    pair = ("--upstream-cert", str(keys / "client.crt"), "--upstream-key", str(keys / "client.key"))
    return Gate(former.folder, *upstream, *pair, name="again", verb="relay")


def test_a_hung_store_is_no_answer(tmp_path: Path) -> None:
    """The gate with the store is stopped by a signal: the relay denies within its time, and lets through what needs nothing."""
    gate = Gate(tmp_path / "gate")
    with gate.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
    front = relay(tmp_path, gate)
    try:
        end = time.monotonic() + 60
        while not post(front, "/admit", creates(pod()))[1]["response"]["allowed"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        os.kill(gate._process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert not post(front, "/admit", enters())[1]["response"]["allowed"]
        assert time.monotonic() - begun < 20
        assert post(front, "/admit", creates(pod()))[1]["response"]["allowed"]
    finally:
        os.kill(gate._process.pid, signal.SIGCONT)
        front.stop()
        gate.stop()


def test_certificates_are_made_once_and_renewed_in_time(tmp_path: Path) -> None:
    """Daily calls do nothing until a third of the time is left; other names at once; half an authority is an error."""
    from pratique.model.errors import ConfigurationError

    assert certificates.make(tmp_path, ("gate.svc",), NOW).files == ("ca.crt", "tls.crt", "client.crt")
    assert certificates.make(tmp_path, ("gate.svc",), NOW + dt.timedelta(days=59)).files == ()
    assert certificates.make(tmp_path, ("gate.svc",), NOW + dt.timedelta(days=61)).files == ("tls.crt", "client.crt")
    assert certificates.make(tmp_path, ("gate.svc", "10.0.0.1"), NOW + dt.timedelta(days=61)).files == ("tls.crt",)
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "tls.key").stat().st_mode & 0o077 == 0
    (tmp_path / "ca.key").unlink()
    with pytest.raises(ConfigurationError, match="half of an authority"):
        certificates.make(tmp_path, ("gate.svc",), NOW)


def test_the_authority_is_put_into_manifests(tmp_path: Path) -> None:
    """Every caBundle, and nothing else; twice is once."""
    from pratique.model.errors import ConfigurationError

    certificates.make(tmp_path / "keys", ("gate.svc",), NOW)
    manifest = tmp_path / "m.yaml"
    shutil.copy(Path(__file__).parents[3] / "integrations" / "kubernetes" / "manifests.yaml", manifest)
    before = [one for one in yaml.safe_load_all(manifest.read_text()) if one]
    assert certificates.patch(manifest, tmp_path / "keys" / "ca.crt") == 9
    text = manifest.read_text()
    assert certificates.patch(manifest, tmp_path / "keys" / "ca.crt") == 9
    assert manifest.read_text() == text
    after = [one for one in yaml.safe_load_all(text) if one]
    for one in after:
        for webhook in one.get("webhooks", []):
            assert webhook["clientConfig"]["caBundle"]
            webhook["clientConfig"]["caBundle"] = ""
    assert after == before
    (tmp_path / "other.yaml").write_text("a: b\n")
    with pytest.raises(ConfigurationError, match="no caBundle"):
        certificates.patch(tmp_path / "other.yaml", tmp_path / "keys" / "ca.crt")


def test_a_full_disk_does_not_end_the_gate(tmp_path: Path) -> None:
    """What is to be kept about pods cannot be written: said, tried again, and everything else goes on."""
    gate = Gate(tmp_path, "--api-server", "https://127.0.0.1:1", "--evict")
    try:
        with gate.desk() as desk:
            desk.set_policy("policy.yaml", POLICY, ONCALL)
        placed = gate.folder / "store" / "gate" / "placed.json"
        placed.with_suffix(".part").mkdir()
        grant(gate, "run.root")
        root = pod(securityContext={"runAsUser": 0, "runAsNonRoot": False})
        answer = post(gate, "/admit", creates(root))[1]["response"]
        assert not answer["allowed"], "a pod that could not be ended is not begun"
        assert post(gate, "/admit", creates(pod()))[1]["response"]["allowed"]
        time.sleep(1.5)
        gate.check()
    finally:
        gate.stop()
