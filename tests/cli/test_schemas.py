"""Whatever prints JSON has a schema, and keeps to it, without a member that the schema does not know."""

from __future__ import annotations

import copy
import io
import json
import os
import pwd
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import imagebuilder
from advisoryhome import NOON, VECTOR, Home, kev, scored
from feedsim import archive, record
from pratique.cli import doctor
from pratique.cli.main import cli as program
from pratique.cli.schemas import DOCUMENTS, schema
from pratique.enforce.doctor.finding import Checked, green, red
from pratique.granting.desk import Desk
from pratique.model.privilege import Subject
from pratique.store.line import Entry, Who
from pratique.store.place import open_place

ME = pwd.getpwuid(os.getuid()).pw_name
NOW = ("--now", "2026-11-25T00:00:00Z", "--offline")
POLICY = f"""apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: team}}
spec:
  robots: [{{id: "unix:ci", owner: alice}}]
  rules:
  - {{id: no-socket, deny: "spec.mounts.exists(m, m.source == '/var/run/docker.sock')", message: the socket is root}}
  entitlements:
  - {{id: net, privileges: ["run.cap:NET_ADMIN"], approvals: {{count: 0}}, maxTTL: 1h}}
  - id: debug
    privileges: [exec.root]
    ticket: {{required: true, pattern: "INC-[0-9]+"}}
    approvals: {{from: ["unix:{ME}"], strength: 1, fourEyes: false}}
  breakGlass: {{groups: [sre], maxTTL: 30m, review: 24h}}
"""
IMAGES = """apiVersion: pratique/v1
kind: Policy
metadata: {name: example, description: an example}
spec:
  rules:
  - {id: known-exploited, when: finding.kev, effect: deny, grace: 14d, message: "{finding.id} is exploited"}
  - {id: other, when: "finding.severity == 'low' && finding.kev", effect: warn}
"""
WAIVERS = """apiVersion: pratique/v1
kind: Waivers
waivers:
- {id: w-1, vulnerability: CVE-2024-0001, package: "pkg:npm/lodash", owner: a, reason: r, expires: 2099-12-31T00:00:00Z}
- {id: w-2, vulnerability: [CVE-2024-0002], owner: a, reason: r, expires: 2020-12-31T00:00:00Z, until: [kev]}
"""


def strict(found: Any) -> Any:
    """Return a schema by which no member may be there that it does not name."""
    if isinstance(found, list):
        return [strict(one) for one in found]
    if not isinstance(found, dict):
        return found
    made = {name: strict(one) for name, one in found.items()}
    if "properties" in made and isinstance(made["properties"], dict):
        made.setdefault("additionalProperties", False)
    return made


def check(name: str, document: Any) -> None:
    """Demand that a document keeps to its schema."""
    made = json.loads(json.dumps(strict(copy.deepcopy(schema(name)))))
    found = [f"{list(one.instance_path)}: {one.message[:300]}" for one in jsonschema_rs.validator_for(made).iter_errors(document)]
    assert not found, (name, found[:5])


class Seen:
    """Runs commands, and remembers which documents were looked at."""

    def __init__(self, call: Any) -> None:
        self.call, self.names = call, set[str]()

    def __call__(self, name: str, *words: object, code: int = 0) -> Any:
        ran = self.call(*words)
        assert ran.code == code, (words, ran)
        self.names.add(name)
        documents = [json.loads(line) for line in ran.out.splitlines()] if name in ("audit-line", "audit-head") else [ran.json]
        assert documents
        for document in documents:
            check(name, document)
        return documents[0]


@pytest.fixture
def seen(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("privileges.yaml").write_text(POLICY)
    Path("policy.yaml").write_text(IMAGES)
    Path("waivers.yaml").write_text(WAIVERS)
    return Seen(call)


def _grants(seen: Seen, call: Any) -> None:
    seen("grant-policy-check", "grant", "policy", "check", "privileges.yaml", "-f", "json")
    assert call("grant", "policy", "set", "privileges.yaml").code == 0
    asked = ("--task", "T-1", "--reason", "x", "--for", "10m", "-f", "json")
    net = seen("grant", "grant", "request", "--privilege", "run.cap:NET_ADMIN", "--container", "c" * 64, *asked)
    wide = seen("grant", "grant", "request", "--privilege", "run.cap:NET_ADMIN", "--argv", "ls", "--label", "a=b", *asked)
    root = seen("grant", "grant", "request", "--privilege", "exec.root", "--ticket", "INC-1", *asked)
    seen("grant", "grant", "show", net["id"], "-f", "json")
    seen("can", "can", "exec.root", "-f", "json", code=1)
    seen("grant", "grant", "approve", root["id"], "--reason", "seen", "-f", "json")
    for words in (("run.cap:NET_ADMIN",), ("docker", "run", "-v", "/var/run/docker.sock:/s", "alpine")):
        seen("can", "can", "-f", "json", *words, code=1)
    seen("can", "can", "exec.root", "-f", "json")
    seen("can", "can", "-f", "json")
    seen("grant", "grant", "revoke", wide["id"], "--reason", "no", "-f", "json")
    seen("grant-list", "grant", "list", "-f", "json")
    key = Path("key.pub")
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE06XkVuj0rQz6a7y8JvV0Wg3VqZr2mT4bYcXnVtq8sL who@where\n")
    assert call("grant", "key", "add", ME, key).code == 0
    seen("grant-key-list", "grant", "key", "list", "-f", "json")


def _ledger(seen: Seen) -> None:
    with Desk(open_place(None)) as desk:
        who = Who.of(Subject(id="ann", provider="unix", strength=1))
        desk.record(
            Entry(
                event="decision", subject=who, decision="deny", needed=("run.root",), point="docker", rule="privilege run.root",
                detail={"observed": "true", "action": "run"},
            )
        )  # fmt: skip
    seen("learn", "learn", "-f", "json")
    seen("audit-verify", "audit", "verify", "-f", "json")
    seen("audit-line", "audit", "show", "-f", "json")
    seen("audit-head", "audit", "head")


def test_documents_of_privileges_keep_to_their_schemas(seen: Seen, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grants in several states, answers of all kinds, the ledger, and the health of a gate."""
    _grants(seen, call)
    _ledger(seen)
    # What is looked at is the engine's and the machine's; the document is made of it as ever.
    found = [
        green("engine.version", "it is new"),
        red("ways.socket", "there is another", "close it"),
        Checked(check="c", colour="amber", found="f"),
    ]
    monkeypatch.setattr(doctor, "_looks", lambda _: iter(found))
    seen("doctor", "doctor", "-f", "json", code=1)
    wanted = {"can", "grant", "grant-list", "grant-key-list", "grant-policy-check", "learn", "doctor"}
    assert seen.names == wanted | {"audit-verify", "audit-line", "audit-head"}


def test_documents_of_images_keep_to_their_schemas(seen: Seen, image: str, tmp_path: Path) -> None:
    """Reports, what they differ in, why, what policies say of them, waivers, and what would be enough for an image."""
    report = seen("scan", "scan", image, *NOW, "-f", "json", "--policy", "policy.yaml", code=1)
    (tmp_path / "report.json").write_text(json.dumps(report))
    Path("Dockerfile").write_text("FROM debian\nUSER root\n")
    seen("scan", "lint", "Dockerfile", "-f", "json")
    imagebuilder.oci_layout(tmp_path / "layout", [imagebuilder.layer({"etc/os-release": "ID=debian"})])
    seen("scan-set", "scan", f"oci-dir:{tmp_path / 'layout'}", "--all-platforms", *NOW, "-f", "json", code=3)
    seen("explain", "explain", image, "CVE-2023-4911", *NOW, "-f", "json")
    seen("diff", "diff", "report.json", "report.json", "-f", "json")
    seen("policy-explain", "policy", "explain", "policy.yaml", "report.json", "-f", "json", code=1)
    seen("policy-simulate", "policy", "simulate", "policy.yaml", "report.json", "-f", "json", code=1)
    seen("policy-simulate", "policy", "simulate", "policy.yaml", "report.json", "--rule", "other", "-f", "json")
    seen("policy-list", "policy", "list", "-f", "json")
    seen("waiver-list", "waiver", "list", "-f", "json")
    seen("harden", "harden", image.partition(":")[2], "-f", "json")
    seen("cache-status", "cache", "status", "-f", "json")
    done = {
        "scan",
        "scan-set",
        "explain",
        "diff",
        "policy-explain",
        "policy-simulate",
        "policy-list",
        "waiver-list",
        "harden",
        "cache-status",
    }
    assert seen.names == done


def test_documents_of_the_database_keep_to_their_schemas(seen: Seen, tmp_path: Path) -> None:
    """A database with records of two moments, one source that failed, an exploited vulnerability with a score."""
    home = Home(tmp_path)
    home.publish(pypi=archive([record("PYSEC-1", "flask", "1.0")]))
    home.update(NOON, "osv/PyPI")
    severity = [{"type": "CVSS_V3", "score": VECTOR}]
    worse = record("PYSEC-1", "flask", "2.0", aliases=["CVE-2026-1"], severity=severity)
    home.publish(pypi=archive([worse]), kev=kev("CVE-2026-1"), epss=scored({"CVE-2026-1": (0.9, 0.9)}))
    home.update(NOON + timedelta(days=1))
    more = ("--cache-dir", str(home.cache), "-f", "json")
    seen("db-status", "db", "status", *more)
    moments = (NOON.isoformat(), (NOON + timedelta(days=1)).isoformat())
    seen("db-diff", "db", "diff", *moments, *more)
    seen("db-diff", "db", "diff", *moments, "--scores", *more)
    seen("db-show", "db", "show", "CVE-2026-1", *more)
    seen("db-search", "db", "search", "flask", *more)
    assert seen.names == {"db-status", "db-diff", "db-show", "db-search"}


ADMISSION = """apiVersion: pratique/v1
kind: Admission
metadata: {name: team}
spec: {failOn: kev, policies: [cis-docker], unknown: scan, stale: {after: 1d, then: deny}, deadline: 30s, exempt: ["a@sha256:b"]}
"""
ACCESS = """apiVersion: pratique/v1
kind: RegistryAccess
metadata: {name: reg.example}
spec:
  readers: [{repositories: ["team/*"], groups: [devs]}, {repositories: ["open/*"], anonymous: true}]
  catalog: ["group:admins"]
"""
CASES = """apiVersion: pratique/v1
kind: PolicyTest
policy: policy.yaml
cases:
- {name: one, findings: [{id: CVE-1, kev: true}], expect: {decision: deny}}
"""
FILES = {
    "file-policy": IMAGES, "file-waivers": WAIVERS, "file-privilege-policy": POLICY, "file-admission": ADMISSION,
    "file-registry-access": ACCESS, "file-policy-test": CASES,
}  # fmt: skip


def _plain(text: str) -> Any:
    """Read YAML as editors do that check by a schema: moments stay text."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        key: [(tag, expression) for tag, expression in found if tag != "tag:yaml.org,2002:timestamp"]
        for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(io.StringIO(text), Loader)


@pytest.mark.parametrize("name", FILES)
def test_files_keep_to_their_schemas(name: str) -> None:
    """What is read is valid by the schema; a field that does not exist is not, nor a file of another kind."""
    document = _plain(FILES[name])
    check(name, document)
    spec = document.get("spec", document)
    spec["unheard-of"] = 1
    with pytest.raises(AssertionError, match="unheard-of"):
        check(name, document)
    with pytest.raises(AssertionError, match="kind"):
        check(name, {**_plain(FILES[name]), "kind": "Other"})


def test_shipped_policies_keep_to_the_schema() -> None:
    """All rule sets that come with the program."""
    found = list((Path(__file__).parents[2] / "src" / "pratique").rglob("*.yaml"))
    checked = 0
    for path in found:
        document = _plain(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("kind") == "Policy":
            check("file-policy", document)
            checked += 1
    assert checked >= 5


def test_everything_that_has_a_schema_was_looked_at() -> None:
    """A document that is added is added to these tests."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert not [name for name in DOCUMENTS if f'"{name}"' not in text]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_is_a_schema_with_a_name(name: str, call: Any) -> None:
    """Of 2020-12, with an id of its own; the command prints it."""
    ran = call("schema", name)
    assert ran.code == 0
    assert ran.json["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert ran.json["$id"].startswith("urn:pratique:schema:")
    jsonschema_rs.meta.validate(ran.json)


def test_ids_differ() -> None:
    """No two schemas are called alike."""
    assert len({schema(name)["$id"] for name in DOCUMENTS}) == len(DOCUMENTS)


def test_they_are_listed_and_a_slip_is_told(call: Any) -> None:
    """`--list` names each with what it is; a name that is nearly one is told."""
    listed = call("schema", "--list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == list(DOCUMENTS)
    slip = call("schema", "grants")
    assert slip.code == 2
    assert "did you mean grant" in slip.err
    assert call("schema").code == 2


def test_names_are_completed() -> None:
    """The shell is told the names that begin so."""
    said = CliRunner().invoke(
        program,
        [],
        env={"_PRATIQUE_COMPLETE": "bash_complete", "COMP_WORDS": "pratique schema db", "COMP_CWORD": "2"},
        prog_name="pratique",
    )
    assert {line.partition(",")[2] for line in said.output.split()} == {"db-status", "db-diff", "db-show", "db-search"}


@given(st.sampled_from(["30s", "14d", "2w", "1h"]), st.sampled_from(["30", "d", "1y", "-1d", "1 d"]))
def test_durations_are_written_as_they_are_read(right: str, wrong: str) -> None:
    """A number and a unit."""
    document = _plain(ADMISSION)
    document["spec"]["deadline"] = right
    check("file-admission", document)
    document["spec"]["deadline"] = wrong
    with pytest.raises(AssertionError):
        check("file-admission", document)


def test_the_reference_lists_them() -> None:
    """Each with what it is, in the same order."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "schemas.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {one.about} |" for name, one in DOCUMENTS.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
