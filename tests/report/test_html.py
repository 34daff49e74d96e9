"""The HTML page: loads nothing, runs nothing but its own script, shows hostile text as text; and works in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import html as parser

import hostilereport
import reporting
from pratique.model.report import Baseline, Report
from pratique.report.html import REPORTER

# What a person does, written into the title, which --dump-dom shows.
_ROBOT = """
const seen = [];
document.addEventListener("securitypolicyviolation", (event) => seen.push(event.violatedDirective));
const rows = () => Array.from(document.querySelectorAll("#findings tbody tr")).filter((row) => !row.hidden);
const ids = () => rows().map((row) => row.cells[1].querySelector("a, td").textContent);
const push = (input, value) => { if (input.type === "checkbox") input.checked = value; else input.value = value;
  input.dispatchEvent(new Event("input")); };
const by = (name) => document.getElementById(name);
const told = { all: rows().length };
push(by("search"), "urllib3 2024-0002"); told.found = rows().length; push(by("search"), "");
push(document.querySelector("input[data-severity=high]"), false); told.low = rows().length;
push(document.querySelector("input[data-severity=high]"), true);
push(by("fixed"), true); told.fixed = rows().length; push(by("fixed"), false);
push(by("exploited"), true); told.exploited = rows().length; push(by("exploited"), false);
push(by("fresh"), true); told.fresh = rows().length; push(by("fresh"), false);
push(by("search"), "no such thing"); told.none = !by("none").hidden; push(by("search"), "");
const heads = document.querySelectorAll("#findings thead button");
heads[2].click(); told.first = rows()[0].cells[2].textContent;
heads[2].click(); told.last = rows()[0].cells[2].textContent;
heads[5].click(); told.score = rows()[0].cells[5].textContent;
document.body.append(Object.assign(document.createElement("img"), { src: "http://127.0.0.1:9/x.png" }));
setTimeout(() => { told.violations = seen; document.title = JSON.stringify(told); }, 200);
"""


def page(report: Report) -> str:
    """Write a page."""
    out = io.BytesIO()
    REPORTER.write(report, out)
    return out.getvalue().decode()


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
def test_nothing_is_loaded_and_nothing_runs(kind: str) -> None:
    """One style and one script, both named in the policy by their hash; no attribute that runs, styles or loads."""
    text = page(hostilereport.REPORTS[kind]())
    tree: Any = parser.fromstring(text)
    policy = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    for tag in ("style", "script"):
        (content,) = tree.xpath(f"//{tag}/text()")
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    elements = {element.tag for element in tree.iter() if isinstance(element.tag, str)}
    assert not elements & {"img", "iframe", "link", "object", "embed", "base", "form", "video"}
    attributes = {name for element in tree.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"style", "src", "srcset", "xlink:href"})
    assert all(re.match("https?://", link) for link in tree.xpath("//a/@href"))


def test_says_everything_that_matters() -> None:
    """Verdict, findings of all kinds, gaps, packages, plots."""
    text = page(hostilereport.rich())
    for word in ("Refused", "incomplete", "CVE-2024-0001", "EOL-debian-12", "inventory.unreadable", "urllib3", "RUN pip install"):
        assert word in text
    assert text.count("<svg") == 2


def test_no_plots_of_nothing() -> None:
    """Without findings there is nothing to plot, search or sort."""
    text = page(hostilereport.empty())
    assert "<svg" not in text
    assert "None found." in text


def _dump(path: Path) -> str:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    command += [f"--user-data-dir={path.parent}/profile", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout.decode()


@pytest.mark.needs("chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """Search, filters and sorting do what they say, and the policy stops what somebody would load."""
    robot_hash = base64.b64encode(hashlib.sha256(_ROBOT.encode()).digest()).decode()
    extra = reporting.finding("CVE-2023-9", reporting.pypi("aardvark", "2.0"), "low", baseline="unchanged")
    report = hostilereport.rich()
    findings = (*report.findings, extra)
    text = page(reporting.report(*findings, packages=report.packages))
    text = text.replace("script-src ", f"script-src 'sha256-{robot_hash}' ").replace(
        "</body>", f"<script>{_ROBOT}</script></body>"
    )
    path = tmp_path / "page.html"
    path.write_text(text)
    tree: Any = parser.fromstring(_dump(path))
    title = tree.findtext(".//title") or ""
    told = json.loads(title)
    violations = told.pop("violations")
    assert told == {
        "all": 10,
        "found": 1,
        "low": 5,
        "fixed": 5,
        "exploited": 2,
        "fresh": 9,
        "none": True,
        "first": "aardvark",
        "last": "urllib3",
        "score": "9.8",
    }
    assert violations == ["img-src"]


@pytest.mark.needs("chromium")
def test_hostile_page_in_a_browser(tmp_path: Path) -> None:
    """A browser reads the hostile report as the report of one title: nothing in it becomes an element."""
    path = tmp_path / "page.html"
    path.write_text(page(hostilereport.hostile()))
    tree: Any = parser.fromstring(_dump(path))
    assert len(tree.xpath("//script")) == 1
    assert len(tree.xpath("//table[@id='findings']/tbody/tr")) == 2


def test_a_baseline_on_the_page() -> None:
    """What is new is counted, marked and can be shown alone; without a baseline there is nothing to choose."""
    plain = page(hostilereport.rich())
    assert '<label hidden><input type="checkbox" id="fresh">' in plain
    findings = tuple(
        msgspec.structs.replace(finding, baseline="unchanged" if place else "new")
        for place, finding in enumerate(hostilereport.rich().findings)
    )
    about = Baseline(
        reference="r", scheme="docker-archive", digest="", scanned_at="2026-01-01T00:00:00Z", complete=True,
        new=1, updated=0, unchanged=len(findings) - 1, gone=3,
    )  # fmt: skip
    text = page(reporting.report(*findings, packages=hostilereport.rich().packages, baseline=about))
    assert '<label><input type="checkbox" id="fresh">' in text
    assert text.count('<span class="tag fresh">new</span>') == 1
    assert "<b>1</b><span>new</span>" in text
    assert "docker-archive:r of 2026-01-01T00:00:00Z: 1 new, 3 gone" in text


@pytest.mark.needs("chromium")
def test_on_paper(tmp_path: Path) -> None:
    """A long report prints on several pages, whatever the theme of the machine; controls are left out."""
    found = [reporting.finding(f"CVE-2024-{number:04}", reporting.pypi("urllib3", "1.25")) for number in range(120)]
    path = tmp_path / "page.html"
    path.write_text(page(reporting.report(*found)))
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-pdf-header-footer",
        f"--print-to-pdf={tmp_path}/page.pdf",
    ]
    command += [f"--user-data-dir={tmp_path}/profile", "--force-dark-mode", f"file://{path}"]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 3 <= pages <= 12
