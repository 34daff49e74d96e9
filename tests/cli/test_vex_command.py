"""--vex on the command line: what it changes, what it never does, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import vexing
from pratique import scan
from vexing import openvex, statement

Call = Callable[..., Any]
ASIDE = ("--offline", "--now", "2024-06-01T00:00:00Z", "-q")
ID = "CVE-2023-4911"  # glibc, exploited


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def document(folder: Path, *statements: dict[str, Any], name: str = "acme.vex.json", **more: Any) -> str:
    """Write an OpenVEX document of 2024."""
    path = folder / name
    path.write_bytes(openvex(*statements, timestamp="2024-05-01T00:00:00Z", **more))
    return str(path)


def test_a_gate_goes_by_what_is_said(call: Call, image: str, at: Path) -> None:
    """Refused without the document, allowed with it; the finding stays, and the report says by whose word."""
    rule = ("--fail-on", "kev")
    assert call("scan", image, *ASIDE, *rule).code == 1
    named = document(at, statement("pkg:deb/debian/glibc@2.36-9", ID))
    ran = call("scan", image, *ASIDE, *rule, "--vex", named, "-f", "json")
    assert ran.code == 0
    (found,) = [one for one in ran.json["findings"] if one["id"] == ID]
    assert (found["status"], found["vex"]["author"], found["vex"]["justification"]) == (
        "not_affected",
        "Acme <vex@acme.example>",
        "vulnerable_code_not_present",
    )
    assert ran.json["vex"]["documents"][0]["applied"] == 1
    assert ran.json["complete"] is True
    fixed = document(at, statement("pkg:deb/debian/glibc", ID, "fixed"))
    assert call("scan", image, *ASIDE, *rule, "--vex", fixed).code == 0
    doubted = document(at, statement("pkg:deb/debian/glibc", ID, "under_investigation"))
    assert call("scan", image, *ASIDE, *rule, "--vex", doubted).code == 1


@pytest.mark.parametrize("name", ["recommended", "kev", "strict"])
def test_rule_sets_go_by_what_is_said(call: Call, image: str, at: Path, name: str) -> None:
    """The rules that are shipped look at what is affected, or may be."""
    before = call("scan", image, *ASIDE, "--policy", name, "-f", "json").json
    named = document(at, statement("pkg:deb/debian/glibc@2.36-9", ID))
    after = call("scan", image, *ASIDE, "--policy", name, "--vex", named, "-f", "json").json
    (print_of,) = [one["fingerprint"] for one in after["findings"] if one["id"] == ID]

    def reasons(report: Any) -> set[str]:
        return {reason["rule"] for reason in report["verdict"]["reasons"] if print_of in reason["findings"]}

    assert reasons(before)
    assert reasons(after) == set()


def test_the_schema_holds(call: Call, image: str, at: Path) -> None:
    """Documents with and without VEX are what the schema says."""
    schema = call("schema", "scan").json
    named = document(at, statement("pkg:deb/debian/glibc@2.36-9", ID), statement("pkg:npm/x", "CVE-1999-0001"))
    for more in ((), ("--vex", named)):
        jsonschema_rs.validate(schema, call("scan", image, *ASIDE, *more, "-f", "json").json)


def test_the_table_tells(call: Call, image: str, at: Path) -> None:
    """What was applied, what was not, and why; the JSON document has all of it."""
    named = document(at, statement("pkg:deb/debian/glibc@2.36-9", ID), statement("pkg:deb/debian/glibc@1", "CVE-2023-6246"))
    out = call("scan", image, *ASIDE, "--vex", named).out
    assert "https://example.org/vex-1, Acme <vex@acme.example>, no signature verified: 1 of 2 statements apply" in " ".join(
        out.split()
    )
    assert "UNKNOWN-" in out or "HIGH-" in out or "CRITICAL-" in out
    assert "not applied: 1 about another version" in out
    assert "it is about version 1; glibc is 2.36-9" in " ".join(out.split())
    assert "1 not affected or fixed" in out


def test_untrusted_documents_change_nothing(call: Call, image: str, at: Path) -> None:
    """A forged signature, a wrong author: told among the problems, and the gate refuses as before."""
    acme, mallory = vexing.signer(), vexing.signer()
    key = acme.write(at)
    named = document(at, statement("pkg:deb/debian/glibc", ID))
    content, beside = Path(named).read_bytes(), Path(f"{named}.sig")
    rule = ("--fail-on", "kev", "--vex", named, "-f", "json")
    for signature, code in ((None, 1), (mallory.beside(content), 1), (acme.beside(content), 0)):
        beside.unlink(missing_ok=True)
        if signature is not None:
            beside.write_bytes(signature)
        ran = call("scan", image, *ASIDE, *rule, "--vex-key", key)
        assert ran.code == code
        untrusted = [one for one in ran.json["problems"] if one["code"] == "advisories.vex-untrusted"]
        assert bool(untrusted) is (code == 1)
        assert ran.json["complete"] is True
    assert ran.json["vex"]["documents"][0]["signer"] == key
    refused = call("scan", image, *ASIDE, *rule, "--vex-author", "vendor*")
    assert refused.code == 1
    assert refused.json["vex"]["unapplied"][0]["code"] == "document-not-used"
    assert call("scan", image, *ASIDE, *rule, "--vex-author", "acme*").code == 0
    assert call("scan", image, *ASIDE, *rule, "--vex-author", "vendor*", "--fail-on", "gaps").code == 1


def test_explain_tells_both(call: Call, image: str, at: Path) -> None:
    """The statement that holds, and those that do not apply with what differs."""
    named = document(at, statement("pkg:deb/debian/glibc", ID), statement("pkg:deb/debian/glibc@1", ID, "fixed"))
    ran = call("explain", image, ID, *ASIDE, "--vex", named)
    assert "not affected, says Acme <vex@acme.example> (statement 1 of https://example.org/vex-1)" in ran.out
    assert "VEX statements that do not apply:" in ran.out
    assert "it is about version 1; glibc is 2.36-9" in ran.out
    told = call("explain", image, ID, *ASIDE, "--vex", named, "-f", "json").json
    assert [one["code"] for one in told["vex"]] == ["version-differs"]


def test_policy_explain_and_configuration(call: Call, image: str, at: Path) -> None:
    """The option is there too, and may come from a configuration."""
    named = document(at, statement("pkg:deb/debian/glibc", ID))
    assert call("policy", "explain", "kev", image, *ASIDE).code == 1
    assert call("policy", "explain", "kev", image, *ASIDE, "--vex", named).code == 0
    (at / "pratique.toml").write_text(f'vex = ["{named}"]\nvex-author = ["acme*"]\n', "utf-8")
    assert call("scan", image, *ASIDE, "--policy", "kev").code == 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--vex", "nowhere.json", "there is no such file or folder"),
        ("--vex", "http://example.org/x", "plain HTTP"),
        ("--vex-key", "nowhere.pub", "No such file"),
    ],
)
def test_bad_usage(call: Call, image: str, at: Path, option: str, value: str, words: str) -> None:
    """Found out before anything is scanned."""
    more = () if option == "--vex" else ("--vex", document(at))
    ran = call("scan", image, *ASIDE, *more, option, value)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


def test_a_waiver_with_a_justification(call: Call, image: str, at: Path) -> None:
    """It goes out as a statement, and coming back it settles the same findings: ours, and nobody else's."""
    added = call(
        "waiver", "add", "--vulnerability", ID, "--owner", "team-a", "--reason", "ticket 7", "--expires", "30d",
        "--justification", "vulnerable_code_not_in_execute_path", "--impact", "the loader is never run", "--now", "2024-06-01",
    )  # fmt: skip
    assert added.code == 0
    for name in ("openvex", "csaf", "cyclonedx"):
        path = at / f"out.{name}.json"
        assert call("scan", image, *ASIDE, "--fail-on", "kev", "-o", f"{name}={path}").code == 0
    (at / "waivers.yaml").unlink()
    for name in ("openvex", "csaf", "cyclonedx"):
        ran = call("scan", image, *ASIDE, "--fail-on", "kev", "--vex", at / f"out.{name}.json", "-f", "json")
        settled = {one["id"]: one["vex"]["justification"] for one in ran.json["findings"] if one["status"] == "not_affected"}
        assert (ran.code, settled) == (0, {ID: "vulnerable_code_not_in_execute_path"})
    written = json.loads((at / "out.openvex.json").read_bytes())
    (one,) = [one for one in written["statements"] if one["vulnerability"]["name"] == ID]
    assert (one["status"], one["impact_statement"]) == ("not_affected", "the loader is never run")
    assert "team-a" in one["status_notes"]
    wrong = call(
        "waiver", "add", "--vulnerability", "X", "--owner", "a", "--reason", "b", "--expires", "1d", "--justification", "no"
    )
    assert wrong.code == 2


def test_runs_are_alike(call: Call, image: str, at: Path) -> None:
    """The same inputs give the same bytes."""
    named = document(at, *(statement(f"pkg:npm/x{number}", f"CVE-1999-000{number}") for number in range(9)))
    first, second = (call("scan", image, *ASIDE, "--vex", named, "-f", "json").out for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["cyclonedx", "spdx"])
def test_boms_and_folders(call: Call, image: str, at: Path, kind: str) -> None:
    """The smallest document of the specification is enough for an SBOM (grype#3212) and for a folder (grype#2471)."""
    bom = at / "bom.json"
    bom.write_text(call("sbom", image, "--offline", "-f", kind).out, "utf-8")
    folder = at / "site/lib/python3/site-packages/idna-3.6.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: idna\nVersion: 3.6\n", "utf-8")
    name = "CVE-2024-3651"
    named = document(at, statement("pkg:pypi/idna@3.6", name, "fixed"))
    for target in (f"sbom:{bom}", f"rootfs:{at / 'site'}"):
        found = call("scan", target, *ASIDE, "--vex", named, "-f", "json").json["findings"]
        assert {one["status"] for one in found if one["id"] == name} == {"fixed"}, target


def test_as_a_library(image: str, at: Path) -> None:
    """`pratique.scan` takes the same."""
    import datetime as dt

    named = document(at, statement("pkg:deb/debian/glibc", ID))
    report = scan(image, vex=[named], fail_on=["kev"], offline=True, cache_dir=at, now=dt.datetime(2024, 6, 1, tzinfo=dt.UTC))
    assert report.verdict.decision == "allow"
    assert report.vex is not None
