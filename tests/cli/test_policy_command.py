"""`pratique policy`, and `scan --policy`, as people and pipelines meet them."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import imagebuilder as ib
import registrysim as sim
import vexing
from pratique.policyfiles import shipped

Call = Callable[..., Any]
NOW = ("--offline", "--now", "2024-06-01")
CASES = Path(__file__).parents[1] / "policy" / "cases"
KEV = """apiVersion: pratique/v1
kind: Policy
metadata: {name: example}
spec:
  rules:
  - id: no-known-exploited
    when: finding.kev && finding.status == 'affected'
    effect: EFFECT
    message: "{finding.id} is exploited in the wild"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _policy(here: Path, effect: str = "deny", name: str = "policy.yaml") -> Path:
    (here / name).write_text(KEV.replace("EFFECT", effect))
    return here / name


def test_scan_by_a_policy(call: Call, here: Path, image: str, clean: str) -> None:
    """Deny is 1, warn and allow are 0; the report names the policy, its digest, the rules and the findings."""
    ran = call("scan", image, *NOW, "--policy", _policy(here), "-f", "json")
    assert ran.code == 1
    verdict = ran.json["verdict"]
    assert (verdict["decision"], verdict["policy"]["name"]) == ("deny", "example")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", verdict["policy"]["digest"])
    assert verdict["reasons"][0]["rule"] == "no-known-exploited"
    assert verdict["reasons"][0]["message"] == "CVE-2023-4911 is exploited in the wild"
    prints = {finding["fingerprint"] for finding in ran.json["findings"] if finding["kev"]}
    assert set(verdict["reasons"][0]["findings"]) == prints
    ran = call("scan", image, *NOW, "--policy", _policy(here, "warn"), "-f", "json")
    assert (ran.code, ran.json["verdict"]["decision"]) == (0, "warn")
    ran = call("scan", clean, *NOW, "--policy", "kev", "-f", "json")
    assert (ran.code, ran.json["verdict"]["decision"], ran.json["verdict"]["policy"]["name"]) == (0, "allow", "kev")


def test_fail_on_is_as_it_was(call: Call, here: Path, image: str) -> None:
    """Without policies its verdict names none; with one, the stricter decides."""
    ran = call("scan", image, *NOW, "--fail-on", "kev", "-f", "json")
    assert (ran.code, ran.json["verdict"]["policy"]) == (1, None)
    assert [reason["rule"] for reason in ran.json["verdict"]["reasons"]] == ["kev"]
    ran = call("scan", image, *NOW, "--fail-on", "kev", "--policy", _policy(here, "warn"), "-f", "json")
    assert ran.code == 1
    assert ran.json["verdict"]["policy"]["name"] == "example+fail-on-kev"
    assert [reason["rule"] for reason in ran.json["verdict"]["reasons"]] == ["kev", "no-known-exploited"]


def test_wrong_policies_are_found_before_anything_is_inspected(call: Call, here: Path) -> None:
    """One line with file, line and column, exit 2, although the target is not there."""
    _policy(here).write_text(KEV.replace("EFFECT", "deny").replace("finding.kev", "finding.kevv"))
    ran = call("scan", "rootfs:/nowhere", "--policy", "policy.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "pratique: policy.yaml:7:19: there is no 'finding.kevv' (did you mean 'finding.kev'?)\n"
    ran = call("scan", "rootfs:/nowhere", "--policy", "recomended")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "did you mean 'recommended'" in ran.err
    for name in ("absent.yaml", "./absent.yaml"):
        ran = call("scan", "rootfs:/nowhere", "--policy", name)
        assert (ran.code, ran.err) == (2, "pratique: absent.yaml:1:1: cannot be read: No such file or directory\n")
    (here / "w.yaml").write_bytes(b"\xff\xfe")
    ran = call("scan", "rootfs:/nowhere", "--waivers", "w.yaml")
    assert (ran.code, ran.err) == (2, "pratique: w.yaml:1:1: not UTF-8\n")


def test_policies_from_configuration(call: Call, here: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pratique.toml and the environment name policies as the flag does; --stage binds."""
    (here / "pratique.toml").write_text('policy = ["kev"]\nstage = "ci"\n')
    assert call("scan", image, *NOW).code == 1
    bound = KEV.replace("EFFECT", "deny\n    stages: [deploy]")
    (here / "bound.yaml").write_text(bound)
    monkeypatch.setenv("PRATIQUE_POLICY", "bound.yaml")
    assert call("scan", image, *NOW).code == 0
    assert call("scan", image, *NOW, "--stage", "deploy").code == 1
    assert call("scan", image, *NOW, "--stage", "nowhere").code == 2


def test_imports_are_beside_the_policy(call: Call, here: Path, image: str) -> None:
    """A path is relative to the file that names it."""
    (here / "teams").mkdir()
    _policy(here, name="org.yaml")
    head = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: team}\nspec:\n"
    (here / "teams" / "a.yaml").write_text(head + "  import: [../org.yaml, kev]\n")
    assert call("scan", image, *NOW, "--policy", "teams/a.yaml").code == 1
    (here / "teams" / "a.yaml").write_text(head + "  import: [org.yaml]\n")
    ran = call("policy", "check", "teams/a.yaml")
    assert (ran.code, ran.err) == (2, "pratique: teams/a.yaml:5:12: import 'org.yaml': No such file or directory\n")


def test_waivers_beside_the_configuration(call: Call, here: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """waivers.yaml is used without being asked for; the finding stays in the report, with its waiver."""
    (here / "pratique.toml").write_text('policy = ["kev"]\n')
    line = ("waiver", "add", "--vulnerability", "CVE-2023-4911", "--owner", "a", "--reason", "b", "--now", "2024-06-01")
    added = call(*line, "--expires", "2024-06-02")
    assert added.code == 0
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    ran = call("scan", image, *NOW, "-f", "json")
    assert ran.code == 0
    [waived] = [finding for finding in ran.json["findings"] if finding["waiver"]]
    assert (waived["id"], waived["waiver"]["state"], waived["waiver"]["owner"]) == ("CVE-2023-4911", "active", "a")
    assert call("scan", image, *NOW, "--fail-on", "kev").code == 0
    ran = call("scan", image, "--offline", "--now", "2024-06-02", "-f", "json")
    assert ran.code == 1
    assert "waiver w-1 ended: expired on 2024-06-02T00:00:00Z" in ran.json["verdict"]["reasons"][0]["message"]


def test_ignore_files_are_read_with_a_warning(call: Call, here: Path, image: str) -> None:
    """They work, and standard error says what they lack and what was left out."""
    (here / ".trivyignore").write_text("CVE-2023-4911\nodd line here\n")
    ran = call("scan", image, *NOW, "--fail-on", "kev")
    assert ran.code == 0
    assert ".trivyignore: 1 entry read as waivers without an owner, 1 of them without an expiry" in ran.err
    assert ".trivyignore: line 2: not understood; not used" in ran.err
    (here / ".trivyignore").unlink()
    (here / ".grype.yaml").write_text("ignore: [{vulnerability: CVE-2023-4911}]\n")
    assert call("scan", image, *NOW, "--fail-on", "kev").code == 0
    (here / ".grype.yaml").write_text("a: &x 1\n")
    ran = call("scan", image, *NOW, "--fail-on", "kev")
    assert ran.code == 1
    assert "nothing of this file is used" in ran.err


@pytest.mark.parametrize("name", shipped())
def test_rule_sets_that_are_shipped(call: Call, name: str) -> None:
    """Each is sound, says what is to be done, and has cases that come out as expected."""
    ran = call("policy", "check", "--strict", name)
    assert (ran.code, ran.err) == (0, "")
    ran = call("policy", "test", CASES / f"{name}_test.yaml")
    assert ran.code == 0, ran.out


def test_a_scan_looks_at_what_the_policy_is_about(call: Call, here: Path, image: str, clean: str) -> None:
    """The configuration without being asked; a folder has none, and is not allowed for that."""
    ran = call("scan", image, *NOW, "--policy", "cis-docker", "-f", "json")
    assert ran.json["examined"] == ["configuration", "packages"]
    assert {reason["rule"] for reason in ran.json["verdict"]["reasons"]} >= {"cis-docker-4.1", "cis-docker-4.6"}
    root = next(finding for finding in ran.json["findings"] if finding["id"] == "df-user-missing")
    assert "CIS Docker 4.1" in root["controls"]
    assert call("scan", image, *NOW, "--policy", "kev", "-f", "json").json["examined"] == ["packages"]
    ran = call("scan", clean, *NOW, "--policy", "cis-docker", "-f", "json")
    assert (ran.code, [reason["rule"] for reason in ran.json["verdict"]["reasons"]]) == (1, ["cis-docker-not-examined"])
    (here / "saved.json").write_text(ran.out)
    assert "cis-docker-not-examined" in call("policy", "explain", "cis-docker", "saved.json").out
    assert call("scan", image, *NOW, "--policy", "pss-baseline").code == 1


def test_manifests_by_a_benchmark(call: Call, here: Path) -> None:
    """What Baseline refuses, what only Restricted does, and what neither does."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: c, image: 'a/b@sha256:%s'%s}\n"
    context = ", securityContext: {%s}"
    tight = (
        "allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}"
    )
    for said, codes in (("", (0, 1)), (context % "privileged: true", (1, 1)), (context % tight, (0, 0))):
        (here / "pod.yaml").write_text(pod % ("a" * 64, said))
        assert tuple(call("lint", "pod.yaml", "--policy", f"pss-{name}").code for name in ("baseline", "restricted")) == codes
    (here / "Dockerfile").write_text("FROM scratch\n")
    assert call("lint", "Dockerfile", "--policy", "pss-baseline").code == 1


@pytest.mark.loopback
def test_provenance_in_a_registry(call: Call, here: Path) -> None:
    """None, one that nobody signed, one that a key signed; the report says which, and can be judged again."""
    acme = vexing.signer()
    acme.write(here)
    with sim.running() as registry:
        image = registry.add("acme/shop", ib.image([ib.layer({"etc/os-release": "ID=debian\nVERSION_ID=12\n"})]), "1")
        target = f"registry:{registry.address.removeprefix('http://')}/acme/shop:1"
        line = (
            "scan",
            target,
            "--now",
            "2024-06-01",
            "--mirror",
            (here / "none").as_uri(),
            "-q",
            "-f",
            "json",
            "--policy",
            "slsa",
        )
        ran = call(*line)
        assert [reason["rule"] for reason in ran.json["verdict"]["reasons"]] == ["slsa-provenance-missing"]
        assert ran.json["attestations"] == []
        fact = {
            "buildDefinition": {"buildType": "t", "externalParameters": {"configSource": {"uri": "s", "digest": {"sha1": "r"}}}}
        }
        fact["runDetails"] = {"builder": {"id": "https://ci.example"}}
        inner = vexing.attestation(vexing.encode(fact), image.digest, kind="https://slsa.dev/provenance/v1")
        for by, rules in ((None, ["slsa-provenance-unsigned"]), (acme, [])):
            data = vexing.envelope(inner, by)
            (here / "att.json").write_bytes(data)
            ran = call(*line, "--attestations", "att.json", "--attestation-key", "acme.pub")
            assert [reason["rule"] for reason in ran.json["verdict"]["reasons"] if reason["rule"] != "nothing-found"] == rules
        assert ran.json["attestations"][0] == {
            "predicate": "https://slsa.dev/provenance/v1",
            "signer": "acme.pub",
            "verified": True,
            "signed_at": "",
            "builder": "https://ci.example",
            "build_type": "t",
            "source": "s",
            "revision": "r",
            "origin": "att.json",
        }
        jsonschema_rs.validate(call("schema", "scan").json, ran.json)
        (here / "saved.json").write_text(ran.out)
        assert call("policy", "simulate", "slsa", "saved.json").code == 0
    for wrong, said in (("--attestations", "no such file"), ("--attestation-key", "No such file")):
        ran = call("scan", image and "rootfs:.", *NOW, wrong, "nowhere")
        assert (ran.code, said in ran.err) == (2, True)


def test_explain_a_file(call: Call, here: Path) -> None:
    """What a rule set says of a manifest or a Dockerfile, without a report between."""
    (here / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {hostPID: true, containers: [{name: c, image: a}]}\n"
    )
    (here / "Dockerfile").write_text("FROM scratch\n")
    ran = call("policy", "explain", "pss-baseline", "pod.yaml")
    assert ran.code == 1
    assert "fired, deny: Baseline, Host Namespaces" in ran.out
    assert "cis-docker-4.1" in call("policy", "explain", "cis-docker", "Dockerfile").out
    (here / "empty.yaml").write_text("a: b\n")
    assert "pss-not-examined" in call("policy", "explain", "pss-baseline", "empty.yaml").out


def test_list_and_show(call: Call, here: Path) -> None:
    """What is shipped; what is printed is a policy that can be begun with."""
    ran = call("policy", "list", "-f", "json")
    assert [row["name"] for row in ran.json] == shipped()
    assert all(row["description"] and row["rules"] for row in ran.json)
    assert [line.split()[0] for line in call("policy", "list").out.splitlines()[:-1]] == shipped()
    (here / "mine.yaml").write_text(call("policy", "show", "slsa").out)
    digests = {row["name"]: row["digest"] for row in ran.json}
    assert digests["slsa"] in call("policy", "check", "mine.yaml").out
    ran = call("policy", "show", "slsaa")
    assert (ran.code, "did you mean 'slsa'" in ran.err) == (2, True)


def test_check(call: Call, here: Path) -> None:
    """Policies, waivers and tests; hints are no errors unless asked for; each wrong file is one line."""
    path = _policy(here)
    ran = call("policy", "check", "policy.yaml")
    assert ran.code == 0
    assert "policy.yaml:6:5: rule 'no-known-exploited' denies without a remedy" in ran.out
    assert call("policy", "check", "--strict", path).code == 1
    (here / "waivers.yaml").write_text("apiVersion: pratique/v1\nkind: Waivers\nwaivers: []\n")
    assert call("policy", "check", "waivers.yaml").out == "waivers.yaml: 0 waivers\n"
    (here / "bad.yaml").write_text("a: &x [*x]\n")
    ran = call("policy", "check", "bad.yaml", "policy.yaml", "nowhere")
    assert (ran.code, ran.err.count("\n")) == (2, 2)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("finding.kev", "of any status"),
        ("finding.rank >= severity.high && finding.fixable", "of any status"),
        ("finding.kev && finding.status == 'affected'", ""),
        ("finding.kind == 'secret' && finding.rank >= severity.high", ""),
        ("finding.id.startsWith('k8s-') && finding.rank >= severity.high", ""),
        ("finding.id == 'GHSA-aaaa-bbbb-cccc'", "ask finding.aliases, too"),
        ("finding.id == 'GHSA-aaaa-bbbb-cccc' || 'GHSA-aaaa-bbbb-cccc' in finding.aliases", ""),
        ("finding.id == 'cve-2024-0001'", "small letters"),
    ],
)
def test_hints_on_findings(when: str, said: str, call: Call, here: Path) -> None:
    """What is easily overlooked: the status that VEX gives, ids that are aliases, letters."""
    rule = f'  - id: it\n    when: "{when}"\n    effect: deny\n    message: no\n    remedy: mend it\n'
    (here / "p.yaml").write_text(f"apiVersion: pratique/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules:\n{rule}")
    ran = call("policy", "check", "p.yaml")
    assert ran.code == 0
    assert (said in ran.out) if said else ("rule 'it'" not in ran.out)


def test_a_case_that_expects_a_rule_that_is_not_there(call: Call, here: Path) -> None:
    """A name that is misspelt in a test is told from a rule that did not fire."""
    _policy(here)
    case = "- {name: a, findings: [{id: CVE-1}], expect: {decision: allow, rules: [no-knwon-exploited, no-known-exploited]}}\n"
    (here / "policy_test.yaml").write_text(f"apiVersion: pratique/v1\nkind: PolicyTest\ncases:\n{case}")
    ran = call("policy", "test", "policy.yaml")
    assert ran.code == 1
    assert "rule no-knwon-exploited was expected, and the policy has none of that name (did you mean" in ran.out
    assert "rule no-known-exploited was expected, and did not fire" in ran.out


def test_rule_sets_that_are_shipped_take_the_hints(call: Call) -> None:
    """They are what people copy from."""
    for name in (
        "recommended",
        "strict",
        "kev",
        "licences",
        "cis-docker",
        "nist-800-190",
        "pss-baseline",
        "pss-restricted",
        "slsa",
    ):
        assert call("policy", "check", "--strict", name).code == 0, name


def test_test(call: Call, here: Path, image: str) -> None:
    """Cases beside the policy, in a folder or by name; a saved report as input; what fails says why."""
    _policy(here)
    cases = "apiVersion: pratique/v1\nkind: PolicyTest\ncases:\n- {name: saved, report: report.json, expect: {decision: deny}}\n"
    (here / "policy_test.yaml").write_text(cases + "- {name: none, expect: {decision: deny, rules: [other]}}\n")
    assert call("scan", image, *NOW, "-o", "json=report.json").code == 0
    for argument in ("policy.yaml", "policy_test.yaml", "."):
        ran = call("policy", "test", argument)
        assert ran.code == 1
        assert "ok   policy_test.yaml: saved" in ran.out
        assert "FAIL policy_test.yaml: none\n       expected deny, got allow\n       rule other was expected" in ran.out
    (here / "report.json").write_text("{")
    ran = call("policy", "test", ".")
    assert ran.code == 2
    assert re.match(r"pratique: policy_test\.yaml:4:\d+: report\.json: no report of pratique", ran.err)
    (here / "policy_test.yaml").unlink()
    assert call("policy", "test", ".").code == 2


def test_explain(call: Call, here: Path, image: str) -> None:
    """Of an image and of its saved report alike: what fired on what, and which part of a condition did not hold."""
    _policy(here)
    assert call("scan", image, *NOW, "-o", "json=report.json").code == 0
    live, saved = call("policy", "explain", "recommended", image, *NOW), call("policy", "explain", "recommended", "report.json")
    assert (live.code, saved.code) == (1, 1)
    assert live.out == saved.out
    assert "known-exploited (deny, recommended)\n  fired, deny: CVE-2023-4911 in" in live.out
    assert "critical-unfixed (warn, recommended)\n  did not fire: its condition did not hold for any of" in live.out
    assert "    finding.rank >= severity.critical: held for 0 of" in live.out
    document = call("policy", "explain", "kev", "report.json", "-f", "json").json
    assert document["verdict"]["decision"] == "deny"
    assert document["rules"][0]["fired"][0]["outcome"] == "fired"
    assert call("policy", "explain", "kev", "report.json", "--waivers", "absent.yaml").code == 2


def test_simulate(call: Call, here: Path, image: str, clean: str) -> None:
    """What a rule would have blocked, over saved reports."""
    (here / "saved").mkdir()
    for name, target in (("image", image), ("clean", clean)):
        assert call("scan", target, *NOW, "-o", f"json=saved/{name}.json").code == 0
    ran = call("policy", "simulate", "kev", "saved", "-f", "json")
    assert ran.code == 1
    assert [(entry["report"], entry["before"], entry["after"], entry["rules"]) for entry in ran.json] == [
        ("saved/clean.json", "allow", "allow", {}),
        ("saved/image.json", "allow", "deny", {"kev": 1}),
    ]
    assert "2 reports: 1 would have been refused, 1 of them were not" in call("policy", "simulate", "kev", "saved").out
    assert call("policy", "simulate", "kev", "saved/clean.json").code == 0
    ran = call("policy", "simulate", "recommended", "saved", "--rule", "end-of-life", "-f", "json")
    assert ran.code == 0
    assert {rule for entry in ran.json for rule in entry["rules"]} <= {"end-of-life"}
    ran = call("policy", "simulate", "recommended", "saved", "--rule", "known-exploited")
    assert ran.code == 1
    assert "known-exploited: CVE-2023-4911 pkg:deb/debian/glibc" in ran.out
    ran = call("policy", "simulate", "recommended", "saved", "--rule", "known-exploitd")
    assert (ran.code, "did you mean 'known-exploited'" in ran.err) == (2, True)
    assert call("policy", "simulate", "kev", "absent.json").code == 3


def test_as_a_library(here: Path, image: str) -> None:
    """The same verdict as on the command line; nothing is taken from the working directory."""
    from pratique import scan
    from pratique.model.errors import UsageError

    now = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    (here / ".trivyignore").write_text("CVE-2023-4911\n")
    report = scan(image, offline=True, now=now, policies=["kev"])
    assert (report.verdict.decision, report.verdict.policy is not None) == ("deny", True)
    entry = "{vulnerability: CVE-2023-4911, owner: o, reason: r, expires: 2025-01-01}"
    (here / "w.yaml").write_text(f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n- {entry}\n")
    report = scan(image, offline=True, now=now, policies=["kev"], waivers=["w.yaml"], stage="ci")
    assert report.verdict.decision == "allow"
    with pytest.raises(UsageError):
        scan(image, offline=True, policies=["kev"], stage="nowhere")


_MODULES = """
import sys
from pratique.cli.main import run
run(sys.argv[1:])
print(*sys.modules)
"""


def test_nothing_of_policies_is_imported_without_one(here: Path, clean: str) -> None:
    """A scan without policies and waivers pays nothing for them."""
    for more, there in (((), False), (("--policy", "kev"), True)):
        command = [sys.executable, "-c", _MODULES, "scan", clean, *NOW, "-o", "json=/dev/null", *more]
        modules = set(subprocess.run(command, check=True, capture_output=True, text=True, cwd=here).stdout.split())
        assert ("cel_expr_python" in modules) is there
        assert ("pratique.policy.engine" in modules) is there
