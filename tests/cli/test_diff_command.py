"""`pratique diff` and `scan --baseline`: saved reports and targets, what is refused, and what each format holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import imagebuilder
import schemas

NOW = ("--offline", "--now", "2024-06-01")
Call = Callable[..., Any]
_FOLDER = "usr/local/lib/python3.12/site-packages"
# requests 2.28.1 has a medium vulnerability in the starter set, idna 3.6 a high one that 3.7 has not.
_OLD = {"idna": "3.6", "urllib3": "1.25"}
_NEW = {"idna": "3.7", "urllib3": "1.25", "aiohttp": "3.8.4"}


def image(path: Path, packages: dict[str, str]) -> str:
    """Write an archive of Debian 12 with packages of pip."""
    base = imagebuilder.layer({"etc/os-release": 'ID=debian\nVERSION_ID="12"\n'})
    files = {
        f"{_FOLDER}/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        for name, version in packages.items()
    }
    path.write_bytes(imagebuilder.docker_archive([base, imagebuilder.layer(files)]))
    return f"docker-archive:{path}"


@pytest.fixture
def both(tmp_path: Path) -> tuple[str, str]:
    """Return an older and a newer image: one vulnerability less, another more."""
    return image(tmp_path / "old.tar", _OLD), image(tmp_path / "new.tar", _NEW)


def saved(call: Call, target: str, path: Path, *more: str) -> str:
    """Scan, and keep the report."""
    assert call("scan", target, *NOW, "-q", "-o", f"json={path}", *more).code == 0
    return str(path)


@pytest.mark.parametrize("kept", ["neither", "old", "new", "both"])
def test_reports_and_targets_alike(call: Call, both: tuple[str, str], tmp_path: Path, kept: str) -> None:
    """Saved or scanned, on either side: the same differences, and the same answer."""
    old = saved(call, both[0], tmp_path / "old.json") if kept in ("old", "both") else both[0]
    new = saved(call, both[1], tmp_path / "new.json") if kept in ("new", "both") else both[1]
    ran = call("diff", old, new, *NOW, "-f", "json", "--fail-on", "high")
    found = ran.json
    assert ran.code == 1
    assert jsonschema_rs.validator_for(json.loads(call("schema", "diff").out)).is_valid(found)
    told = {(one["change"], (one["new"] or one["old"])["package"]["name"], one["cause"]["kind"]) for one in found["findings"]}
    assert told == {("added", "aiohttp", "image"), ("removed", "idna", "image")}
    assert {(one["change"], one["name"]) for one in found["packages"]} == {("added", "aiohttp"), ("upgraded", "idna")}
    assert found["same_database"] is True
    assert found["gate"]["decision"] == "deny"
    assert all(one["cause"]["instruction"] for one in found["findings"] if one["introduced"])


def test_sboms(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """SBOMs are targets, whatever their files are called, and so are baselines."""
    names = [f"sbom:{tmp_path / name}" for name in ("old.json", "new.cdx")]
    for target, name in zip(both, names, strict=True):
        assert call("sbom", target, "-o", f"cyclonedx={name[5:]}").code == 0
    found = call("diff", *names, *NOW, "-f", "json").json
    assert {(one["change"], (one["new"] or one["old"])["package"]["name"]) for one in found["findings"]} == {
        ("added", "aiohttp"),
        ("removed", "idna"),
    }
    assert call("scan", names[1], *NOW, "--baseline", names[0], "--fail-on", "high").code == 1
    ran = call("diff", f"sbom:{tmp_path / 'none.json'}", names[1], *NOW)
    assert (ran.code, "there is no such file" in ran.err) == (3, True)


def test_nothing_new(call: Call, both: tuple[str, str]) -> None:
    """An image against itself, and one that only lost what was wrong."""
    assert call("diff", both[0], both[0], *NOW, "--fail-on", "unknown").code == 0
    assert call("diff", both[1], both[0], *NOW, "--fail-on", "critical").code == 0
    assert call("diff", both[0], both[1], *NOW).code == 0  # without a rule, differences are shown


def test_formats(call: Call, both: tuple[str, str]) -> None:
    """Each says what is new, why, where it came in and what mends it; SARIF has nothing else."""
    table = call("diff", *both, *NOW).out
    markdown = call("diff", *both, *NOW, "-f", "markdown").out
    for text in (table, markdown):
        for word in ("aiohttp", "COPY layer1 /", "Upgrade aiohttp to", "image: aiohttp 3.8.4 is new", "idna"):
            assert word in text
    text = call("diff", *both, *NOW, "-f", "sarif").out
    assert {result["baselineState"] for result in json.loads(text)["runs"][0]["results"]} == {"new"}
    assert {rule["id"] for rule in json.loads(text)["runs"][0]["tool"]["driver"]["rules"]} == {"CVE-2023-49081", "CVE-2024-23334"}
    if (schemas.SCHEMAS / "sarif-2.1.0.schema.json").is_file():
        assert schemas.errors(text.encode(), "sarif-2.1.0.schema.json") == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["OLD"], 2),
        (["OLD", "NEW", "-f", "html"], 2),
        (["OLD", "NEW", "--fail-on", "dreadful"], 2),
        (["-", "-"], 2),
        (["OLD", "missing.json"], 3),
        (["damaged.json", "NEW"], 3),
        (["other.json", "NEW"], 3),
        (["OLD", "inventory.json", "--fail-on", "high"], 3),
        (["OLD", "EMPTY", "--fail-on", "high"], 3),
    ],
)
def test_could_not(
    call: Call, both: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    """Bad usage is 2; what cannot be read, or cannot answer, is 3: never a silent pass."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    whole = Path(saved(call, both[0], tmp_path / "old.json")).read_text()
    Path("damaged.json").write_text(whole[: len(whole) // 2])
    Path("other.json").write_text(call("diff", *both, *NOW, "-f", "json").out)
    document = json.loads(whole)
    document["meta"]["database"] = {"built_at": "", "digest": "", "kind": "none", "sources": []}
    Path("inventory.json").write_text(json.dumps({**document, "findings": []}))
    words = {"OLD": both[0], "NEW": both[1], "EMPTY": "rootfs:empty"}
    ran = call("diff", *[words.get(word, word) for word in arguments], *NOW)
    assert ran.code == code


def test_a_sorted_copy_is_a_report(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """A report is told by its content, however somebody wrote it again."""
    path = Path(saved(call, both[0], tmp_path / "old.json"))
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, indent=1))
    renamed = path.rename(tmp_path / "kept.txt")
    assert call("diff", renamed, both[1], *NOW, "--fail-on", "high").code == 1


def test_a_policy_and_its_waivers(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """A policy decides on what is new; a waiver stands before it."""
    assert call("diff", *both, *NOW, "--policy", "strict").code == 1
    assert call("diff", both[0], both[0], *NOW, "--policy", "strict").code in (0, 1)  # gaps count always
    waivers = tmp_path / "w.yaml"
    entries = "".join(
        f"- {{id: w{number}, vulnerability: {name}, owner: a, reason: b, expires: 2030-01-01}}\n"
        for number, name in enumerate(("CVE-2024-23334", "CVE-2023-49081"))
    )
    waivers.write_text(f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n{entries}")
    assert call("diff", *both, *NOW, "--fail-on", "medium").code == 1
    assert call("diff", *both, *NOW, "--fail-on", "medium", "--waivers", waivers).code == 0


def test_scan_with_a_baseline(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """Only what is new is refused; all is shown and marked; --only-new shows nothing else and decides the same."""
    old = saved(call, both[0], tmp_path / "old.json")
    for baseline in (old, both[0]):
        ran = call("scan", both[1], *NOW, "-f", "json", "--fail-on", "high", "--baseline", baseline)
        states = {finding["package"]["name"]: finding["baseline"] for finding in ran.json["findings"] if finding["package"]}
        assert ran.code == 1
        assert states == {"aiohttp": "new", "urllib3": "unchanged"}
        assert ran.json["verdict"]["reasons"][0]["message"].startswith("1 finding ")
        assert (ran.json["baseline"]["new"], ran.json["baseline"]["gone"]) == (2, 1)
    less = call("scan", both[1], *NOW, "-f", "json", "--fail-on", "high", "--baseline", old, "--only-new")
    assert (less.code, {finding["baseline"] for finding in less.json["findings"]}) == (1, {"new"})
    assert call("scan", both[0], *NOW, "--fail-on", "low", "--baseline", old).code == 0
    assert call("scan", both[0], *NOW, "--fail-on", "low").code == 1


def test_a_baseline_in_every_format(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """What is new stands first, what is known is marked; a known finding is no failed test and no new result."""
    old = saved(call, both[0], tmp_path / "old.json")

    def text(name: str) -> str:
        return str(call("scan", both[1], *NOW, "-f", name, "--baseline", old).out)

    table = text("table")
    assert table.index("PyPI, new: 2") < table.index("PyPI, in the baseline:")
    results = json.loads(text("sarif"))["runs"][0]["results"]
    assert {result["baselineState"] for result in results} == {"new", "unchanged"}
    assert text("junit").count("<failure") == 2
    assert 'message="in the baseline"' in text("junit")
    assert text("csv").splitlines()[1].endswith(",new")
    assert "(in the baseline)" in text("markdown")
    assert '<span class="tag fresh">new</span>' in text("html")


@pytest.mark.parametrize(
    ("baseline", "code"), [("missing.json", 3), ("damaged.json", 3), ("-", 2), ("docker-archive:missing.tar", 3)]
)
def test_a_baseline_that_cannot_be_read(
    call: Call, both: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: str, code: int
) -> None:
    """It is never as if there were none, and never a pass."""
    monkeypatch.chdir(tmp_path)
    Path("damaged.json").write_text('{"schema": "urn:pratique:schema:scan-1", "complete": tr')
    ran = call("scan", both[0], *NOW, "--fail-on", "low", "--baseline", baseline)
    assert (ran.code, ran.out) == (code, "")
    assert call("scan", both[0], *NOW, "--only-new").code == 2


def test_doubtful_baselines_are_told_of(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """A baseline of another platform is used, and there is a warning."""
    path = Path(saved(call, both[0], tmp_path / "old.json"))
    document = json.loads(path.read_text())
    document["target"]["platform"] = "linux/arm64"
    path.write_text(json.dumps(document))
    ran = call("scan", both[0], *NOW, "--fail-on", "low", "--baseline", path)
    assert ran.code == 0
    assert "warning: the baseline is of linux/arm64, not of linux/amd64" in ran.err


def test_reports_of_several_platforms(call: Call, both: tuple[str, str], tmp_path: Path) -> None:
    """The report of the platform that is scanned is the one that is compared with; which one is never guessed."""
    path = tmp_path / "all.json"
    assert call("scan", both[0], *NOW, "-q", "--all-platforms", "-o", f"json={path}").code == 0
    document = json.loads(path.read_text())
    other = json.loads(json.dumps(document["reports"][0]))
    other["target"]["platform"] = "linux/arm64"
    path.write_text(json.dumps({**document, "reports": [*document["reports"], other]}))
    assert call("scan", both[0], *NOW, "--fail-on", "low", "--baseline", path).code == 2
    assert call("scan", both[0], *NOW, "--fail-on", "low", "--baseline", path, "--platform", "linux/amd64").code == 0
