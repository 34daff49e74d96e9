"""Every format: valid for its official schema, the same bytes for the same report, and nothing hostile in it works."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

import hostilereport
import pratique.report
import reporting
import schemas
from pratique._kit.discover import offers
from pratique.model.errors import UsageError
from pratique.model.finding import Cvss, FindingLocation
from pratique.model.report import Report
from pratique.report import markdown, sarif, template
from pratique.report.csv import guarded
from pratique.report.document import checksum, image_purl
from pratique.report.licences import expression, joined, licence_id

REPORTERS = offers(pratique.report, "REPORTER")
JSON_FORMATS = ("json", "sarif", "cyclonedx", "spdx", "openvex", "csaf", "gitlab", "github")
# A document of no statements is no valid OpenVEX, and there is nothing true that it could state.
CHECKED = (
    ("sarif", "", "sarif-2.1.0.schema.json"),
    ("cyclonedx", "", "cyclonedx-1.6.schema.json"),
    ("cyclonedx", "1.7", "cyclonedx-1.7.schema.json"),
    ("spdx", "", "spdx-2.3.schema.json"),
    ("openvex", "", "openvex-0.2.0.schema.json"),
    ("gitlab", "", "gitlab-container-scanning.own.json"),
    ("gitlab", "dependency-scanning", "gitlab-dependency-scanning.own.json"),
    ("github", "", "github-snapshot.own.json"),
)


def written(name: str, report: Report, version: str = "") -> bytes:
    """Write a report."""
    reporter: Any = REPORTERS[name]
    out = io.BytesIO()
    (reporter.at(version) if version else reporter).write(report, out)
    return out.getvalue()


def test_every_format_of_the_contract_is_there() -> None:
    """Names of modules are those of formats: only the one that is asked for is imported."""
    contract = [
        "table",
        "json",
        "sarif",
        "cyclonedx",
        "spdx",
        "openvex",
        "csaf",
        "junit",
        "gitlab",
        "github",
        "html",
        "markdown",
        "csv",
        "template",
    ]
    assert sorted(REPORTERS) == sorted(contract)
    assert all(reporter.name == name for name, reporter in REPORTERS.items())


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
@pytest.mark.parametrize(("name", "version", "official"), CHECKED)
def test_valid(name: str, version: str, official: str, kind: str) -> None:
    """The official schema has nothing against it."""
    if (name, kind) == ("openvex", "empty"):
        return
    assert schemas.errors(written(name, hostilereport.REPORTS[kind](), version), official) == []


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
@pytest.mark.parametrize("official", ["junit-10.xsd", "junit-windyroad.xsd"])
def test_valid_junit(official: str, kind: str) -> None:
    """Both schemas that readers go by are content, and numbers add up."""
    document = etree.fromstring(written("junit", hostilereport.REPORTS[kind]()))
    for suite in document:
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
    checker = etree.XMLSchema(etree.parse(str(schemas.schema(official))))
    assert checker.validate(document), checker.error_log


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
@pytest.mark.parametrize("name", [name for name in REPORTERS if name not in ("table", "template")])
def test_nothing_is_obeyed(name: str, kind: str) -> None:
    """No control character, and no mark that hides or reorders text, is in the bytes of any document."""
    if name == "json":
        return  # another's
    shown = written(name, hostilereport.REPORTS[kind]()).decode()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", shown)


@pytest.mark.parametrize("name", [name for name in REPORTERS if name not in ("table", "template")])
def test_same_report_same_bytes(name: str) -> None:
    """A document is a function of the report; beside the time nothing changes with the time."""
    report = hostilereport.rich()
    later = msgspec.structs.replace(report, meta=msgspec.structs.replace(report.meta, scanned_at="2026-11-25T07:08:09Z"))
    first = written(name, report)
    assert first == written(name, hostilereport.rich())
    assert first.replace(b"2026-11-25T06:00:00", b"2026-11-25T07:08:09") == written(name, later)


def test_spdx_3_is_one_graph() -> None:
    """Every element has an identifier of its own, and every reference leads to one."""
    graph = json.loads(written("spdx", hostilereport.hostile(), "3.0"))["@graph"]
    ids = [element["spdxId"] for element in graph[1:]]
    assert len(ids) == len(set(ids))
    refs = {ref for element in graph for key in ("to", "rootElement", "element") for ref in element.get(key, [])}
    assert refs <= set(ids)
    kinds = {element["type"] for element in json.loads(written("spdx", hostilereport.rich(), "3.0"))["@graph"]}
    assert {"security_VexAffectedVulnAssessmentRelationship", "security_VexFixedVulnAssessmentRelationship"} <= kinds


def test_versions_of_a_format() -> None:
    """An unknown version is refused, not guessed."""
    assert json.loads(written("cyclonedx", hostilereport.empty(), "1.7"))["specVersion"] == "1.7"
    for name in ("cyclonedx", "spdx"):
        with pytest.raises(UsageError, match="is not written"):
            REPORTERS[name].at("9.9")


def test_cyclonedx_says_what_is_affected() -> None:
    """One vulnerability of several packages is one entry; every reference leads to a component."""
    bom = json.loads(written("cyclonedx", hostilereport.rich()))
    refs = {component["bom-ref"] for component in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    first = next(entry for entry in bom["vulnerabilities"] if entry["id"] == "CVE-2024-0001")
    assert len(first["affects"]) == 3
    assert {affected["ref"] for entry in bom["vulnerabilities"] for affected in entry["affects"]} <= refs
    assert {ref for entry in bom["dependencies"] for ref in [entry["ref"], *entry["dependsOn"]]} <= refs
    states = {entry["id"]: entry.get("analysis", {}).get("state") for entry in bom["vulnerabilities"]}
    assert states["CVE-2024-0004"] == "not_affected"
    assert states["GHSA-xxxx-yyyy-zzzz"] == "in_triage"
    assert bom["compositions"][0]["aggregate"] == "incomplete"


def test_sarif_rules_and_places() -> None:
    """One rule an id, found by its index; relative paths, fingerprints, and a score within the band of the severity."""
    run = json.loads(written("sarif", hostilereport.rich()))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    for result in run["results"]:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert not uri.startswith("/")
        assert re.fullmatch(r"[\x21-\x7e]+", uri)
        assert result["partialFingerprints"]["pratique/v1"]
    scores = {rule["id"]: rule["properties"].get("security-severity") for rule in rules}
    assert scores["CVE-2024-0002"] == "8.0"  # the distributor's word is high, whatever the vector's 9.8 says
    assert scores["CVE-2024-0004"] == "0.1"
    assert scores["S-1"] is None
    waived = [result for result in run["results"] if result["ruleId"] == "CVE-2024-0002"]
    assert all(result["suppressions"][0]["justification"] == "accepted: id w-1" for result in waived)
    assert {note["descriptor"]["id"] for note in run["invocations"][0]["toolExecutionNotifications"]} == {
        "inventory.unreadable",
        "advisories.stale",
    }


def test_sarif_keeps_within_what_code_scanning_takes() -> None:
    """25,000 results and 10 tags of a rule: a file beyond that is refused as a whole, so the worst are written and it is said."""
    package = reporting.pypi("x")
    worst = msgspec.structs.replace(
        reporting.finding("CVE-X", package, "critical"), controls=tuple(f"C {n}" for n in range(30)), kev=True
    )
    mass = [reporting.finding(f"CVE-{number}", package, "low") for number in range(sarif.MAX_RESULTS + 7)]
    run = json.loads(written("sarif", reporting.report(*mass, worst)))["runs"][0]
    assert len(run["results"]) == len(run["tool"]["driver"]["rules"]) == sarif.MAX_RESULTS
    assert run["results"][0]["ruleId"] == "CVE-X"
    tags = run["tool"]["driver"]["rules"][0]["properties"]["tags"]
    assert len(tags) == len(set(tags)) == 10
    assert "exploited" in tags
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["level"] == "error"
    assert note["message"]["text"].startswith("8 more findings")


def test_junit_calls_no_two_cases_alike() -> None:
    """GitLab shows one of those that are; the names stay as they are where others come and go."""
    place = FindingLocation(path="k8s.yaml", line=3)
    lines = [msgspec.structs.replace(place, line=number) for number in (3, 9, 12)]
    found = [reporting.finding("ct-root", None, kind="misconfiguration", location=line) for line in lines]
    found.append(reporting.finding("ct-tag", None, kind="misconfiguration", location=place))
    suite = etree.fromstring(written("junit", reporting.report(*found)))[0]
    names = [case.get("name") for case in suite.findall("testcase")]
    start = "[high] ct-root title of ct-root"
    assert names == [start, f"{start} (2)", f"{start} (3)", "[high] ct-tag title of ct-tag"]


def test_gitlab_takes_no_vector_that_its_schema_refuses() -> None:
    """One CVSS 4 or damaged vector would have the whole report refused; official 15.2.1 knows versions 2 and 3 only."""
    good = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    bad = (
        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        "CVSS:3.1/x",
        "CVSS:3.1/AV:N",
        good + "/" + "E:X/" * 30,
    )
    found = reporting.full("CVE-2024-0002", reporting.pypi("urllib3"))
    found = msgspec.structs.replace(found, cvss=tuple(Cvss(text[5:8], text, 9.8) for text in (good, *bad)))
    for kind in ("", "dependency-scanning"):
        document = json.loads(written("gitlab", reporting.report(found, packages=(reporting.pypi("urllib3"),)), kind))
        assert [vector["vector"] for vector in document["vulnerabilities"][0]["cvss_vectors"]] == [good]


def test_gitlab_dependency_scanning() -> None:
    """Packages of languages, each under the file that names it; those of the distribution are container scanning's."""
    document = json.loads(written("gitlab", hostilereport.rich(), "dependency-scanning"))
    assert document["scan"]["type"] == "dependency_scanning"
    assert {item["location"]["dependency"]["package"]["name"] for item in document["vulnerabilities"]} == {"urllib3"}
    assert {item["location"]["file"] for item in document["vulnerabilities"]} == {"usr/lib/python3/urllib3"}
    assert all(set(item) >= {"id", "identifiers", "location"} for item in document["vulnerabilities"])
    files = {file["path"]: file for file in document["dependency_files"]}
    assert files["usr/lib/python3/urllib3"]["package_manager"] == "pip"
    assert files["usr/lib/python3/urllib3"]["dependencies"] == [{"package": {"name": "urllib3"}, "version": "1.25"}]
    with pytest.raises(UsageError, match="dependency-scanning"):
        written("gitlab", hostilereport.rich(), "sast")


def test_sarif_takes_a_score_of_the_band() -> None:
    """Where the score agrees with the severity it is given as it is."""
    finding = reporting.finding("CVE-1", reporting.pypi("x"), "high", cvss=(Cvss("3.1", "v", 7.5, "s"),))
    run = json.loads(written("sarif", reporting.report(finding)))["runs"][0]
    assert run["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == "7.5"


def test_openvex_statements() -> None:
    """Every finding about a package is in a statement with its status."""
    statements = json.loads(written("openvex", hostilereport.rich()))["statements"]
    by_name = {statement["vulnerability"]["name"]: statement for statement in statements}
    assert by_name["CVE-2024-0004"]["status"] == "not_affected"
    assert len(by_name["CVE-2024-0001"]["products"][0]["subcomponents"]) == 3
    assert "Upgrade" in by_name["CVE-2024-0001"]["action_statement"]


def test_csv_cells() -> None:
    """As many cells as the head has, and none that a spreadsheet would run."""
    rows = list(csv.reader(io.StringIO(written("csv", hostilereport.hostile()).decode(), newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 4
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for row in rows for cell in row)


@given(st.text())
def test_guarded_cells_are_no_formulas(text: str) -> None:
    """Whatever is written, a spreadsheet shows it."""
    assert not guarded(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(st.text(alphabet="<>&|`*_[]()#@\\!~$ aw.:/GH-1\n", max_size=60))
def test_literal_markdown(text: str) -> None:
    """No character that opens markup is left bare."""
    assert not re.search(r"(?<!\\)[`*_\[\]()|!~$]|[<>@]|://|www\.", markdown.literal(text))


def test_markdown_is_never_too_long() -> None:
    """A comment that is too long is refused as a whole: rather less is said, and how much less."""
    packages = [reporting.pypi(f"p{number}" * 10) for number in range(3000)]
    report = reporting.report(*(reporting.finding(f"CVE-2024-{number:05}", item) for number, item in enumerate(packages)))
    document = written("markdown", report)
    text = document.decode()
    assert 60_000 < len(document) <= markdown.MAX_BYTES
    assert "lines are left out here" in text
    assert text.count("<details>") == text.count("</details>") == 1


def test_image_purls() -> None:
    """An image of a registry has a purl by digest; a file has none."""
    target = hostilereport.empty().target
    assert image_purl(target) == ""
    named = msgspec.structs.replace(target, scheme="registry", reference="ghcr.io/Org/app:1.2", digest="sha256:" + "a" * 64)
    assert image_purl(named) == f"pkg:oci/app@sha256:{'a' * 64}?repository_url=ghcr.io/Org/app&tag=1.2"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("mit", "MIT"),
        ("MIT or Apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT AND (GPL-2.0-only WITH Classpath-exception-2.0)) OR LicenseRef-x",) * 2,
        ("GPL-2.0+", "GPL-2.0+"),
        *(
            (bad, "")
            for bad in ("", "MIT OR", "((MIT", "MIT)", "()", "Apache 2", "MIT WITH MIT", "A and B", "MIT MIT", "(" * 3000)
        ),
    ],
)
def test_licence_expressions(text: str, spelled: str) -> None:
    """Expressions are spelled as the list has them; anything else is none."""
    assert expression(text) == spelled


def test_joined_licences() -> None:
    """All that a package states, alternatives in brackets, own words behind references of their own."""
    text, words = joined(["MIT OR ISC", "Apache 2", "Apache_2", " "])
    assert text.startswith("(MIT OR ISC) AND LicenseRef-Apache-2 AND LicenseRef-Apache-2-")
    assert sorted(words.values()) == ["Apache 2", "Apache_2"]
    assert licence_id("nothing") == ""


@settings(max_examples=60)
@given(st.text(max_size=80))
def test_expressions_are_stable(text: str) -> None:
    """Spelling what is spelled changes nothing."""
    assert expression(expression(text)) == expression(text)


def test_template(tmp_path: Path) -> None:
    """A template sees the document, and escapes in HTML."""
    pytest.importorskip("jinja2", reason="needs Jinja2, which -o template uses")
    path = tmp_path / "t.html"
    path.write_text("{% for f in report.findings %}<li>{{ f.title | safe_text }}</li>\n{% endfor %}{{ report.target.scheme }}\n")
    out = io.BytesIO()
    template.REPORTER.of(path).write(hostilereport.hostile(), out)
    assert b"<script" not in out.getvalue()
    assert out.getvalue().endswith(b"docker-archive\n")


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_a_template_sends_nothing_raw_to_a_terminal(tmp_path: Path) -> None:
    """What an image says is shown as escapes there; a file gets what the template says."""
    pytest.importorskip("jinja2", reason="needs Jinja2, which -o template uses")
    path = tmp_path / "own.txt"
    path.write_text("{% for p in report.packages %}{{ p.name }}\t{{ p.version }}\n{% endfor %}")
    shown, kept = _Terminal(), io.BytesIO()
    for out in (shown, kept):
        template.REPORTER.of(path).write(hostilereport.hostile(), out)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown.getvalue().decode())
    assert shown.getvalue().count(b"\n") == kept.getvalue().count(b"\n") > 0
    assert re.search(r"[\x00-\x08\x1b]", kept.getvalue().decode())


@pytest.mark.parametrize(
    "text",
    [
        "{{ report.nothing.at.all }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ report.clear() }}",
        "{{ 1 / 0 }}",
        "{% include 'x' %}",
    ],
)
def test_template_that_fails(tmp_path: Path, text: str) -> None:
    """What is not there, and what a sandbox does not allow, is said in one line."""
    pytest.importorskip("jinja2", reason="needs Jinja2, which -o template uses")
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match="the template failed"):
        template.REPORTER.of(path).write(hostilereport.rich(), io.BytesIO())


def test_template_that_is_none(tmp_path: Path) -> None:
    """Mistakes are found before anything is scanned, with their line."""
    pytest.importorskip("jinja2", reason="needs Jinja2, which -o template uses")
    path = tmp_path / "t.txt"
    path.write_text("\n{% for %}")
    with pytest.raises(UsageError, match=r"t\.txt:2: "):
        template.REPORTER.of(path)
    with pytest.raises(UsageError, match="No such file"):
        template.REPORTER.of(tmp_path / "none")
    with pytest.raises(UsageError, match="needs --template"):
        template.REPORTER.write(hostilereport.rich(), io.BytesIO())


def test_checksums_are_whole() -> None:
    """A digest is given as a checksum only if it is one."""
    target = hostilereport.empty().target
    assert checksum(target) == ("", "")
    assert checksum(msgspec.structs.replace(target, digest="sha256:" + "0a" * 32)) == ("sha256", "0a" * 32)
    assert checksum(msgspec.structs.replace(target, digest="sha256:" + "0A" * 32)) == ("", "")
