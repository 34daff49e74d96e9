"""What collectors read: OCSF as its schema demands, CEF and RFC 5424 with their escapes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.store.formats import cef, ocsf, rfc5424, sentence
from pratique.store.line import Line, Who, decode, make
from pratique.store.reading import Filter

NASTY = st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace").decode())
EVENTS = ["request", "approve", "activate", "use", "revoke", "expire", "decision", "policy", "torn", "break-glass", "refused"]


def line(**more: Any) -> Line:
    values: dict[str, Any] = {
        "event": "use", "subject": Who("alice", "unix", 1), "needed": ("exec.root",), "seq": 7, "prev": "0" * 64, "mac": "1" * 32,
        "time": "2026-11-25T04:16:05.123456Z", "grant": "g-1", "task": "T-1", "decision": "allow_with_grant", "node": "n1",
    }  # fmt: skip
    return Line(**{**values, **more})


# https://schema.ocsf.io/1.5.0/: attributes that every class requires, and those of the three classes
BASE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
OWN = {3003: {"user", "privileges"}, 3005: {"user", "privileges"}, 6003: {"actor", "api", "src_endpoint"}}
ACTIVITIES = {3003: {0, 1, 2, 3, 99}, 3005: {0, 1, 2, 3, 4, 99}, 6003: {0, 1, 2, 3, 4, 99}}


def check(event: dict[str, Any]) -> None:
    """Hold an event against what the schema requires."""
    kind = event["class_uid"]
    assert BASE | OWN[kind] <= set(event)
    assert event["category_uid"] == kind // 1000
    assert event["activity_id"] in ACTIVITIES[kind]
    assert event["type_uid"] == kind * 100 + event["activity_id"]
    assert event["activity_id"] != 99 or event["activity_name"]
    assert event["severity_id"] in range(7)
    assert isinstance(event["time"], int)
    assert {"product", "version"} <= set(event["metadata"])
    assert {"name", "vendor_name"} <= set(event["metadata"]["product"])
    if kind == 6003:
        assert {"name", "uid"} & set(event["actor"]["user"])
        assert event["api"]["operation"]
        assert event["src_endpoint"]["name"]
    else:
        assert {"name", "uid"} & set(event["user"])
        assert event["privileges"]


@pytest.mark.parametrize(
    ("event", "kind", "activity"),
    [
        ("activate", 3005, 1), ("break-glass", 3005, 1), ("revoke", 3005, 2), ("expire", 3005, 2), ("use", 3003, 1),
        ("request", 6003, 1), ("approve", 6003, 3), ("decision", 6003, 99), ("refused", 6003, 99),
    ],
)  # fmt: skip
def test_ocsf_classes(event: str, kind: int, activity: int) -> None:
    """Each event has its class and activity, and what that class requires."""
    found = json.loads(ocsf.write(line(event=event)))
    assert (found["class_uid"], found["activity_id"]) == (kind, activity)
    assert found["time"] == 1_795_580_165_123
    check(found)


@given(event=st.sampled_from(EVENTS), text=NASTY, who=st.booleans(), needed=st.booleans())
def test_ocsf_always_has_what_is_required(event: str, text: str, who: bool, needed: bool) -> None:
    """Whatever a line holds or lacks, the event is one of its class."""
    subject = Who(text, "unix", 1, "robot") if who else None
    written = ocsf.write(line(event=event, subject=subject, reason=text, task=text, needed=("exec.root",) if needed else ()))
    assert "\n" not in written
    found = json.loads(written)
    if found["class_uid"] == 6003 or needed:
        check(found)


@given(text=NASTY)
def test_cef_reads_back(text: str) -> None:
    """Header and values of the extension read back as ArcSight's rules say, on one line."""
    written = cef.write(line(reason=text, task="a=b|c\\d", event="decision"))
    assert written.splitlines() == [written]
    header = re.split(r"(?<!\\)\|", written, maxsplit=7)
    assert header[:3] == ["CEF:0", "pratique", "pratique"]
    assert header[4:7] == ["decision", "ledger: decision", "3"]
    assert "cs2=a\\=b|c\\\\d " in header[7]
    keys = re.findall(r"(?:^|\s)(\w+)=", header[7].replace("\\\\", "").replace("\\=", ""))
    assert keys[:2] == ["rt", "externalId"]


def test_cef_breaks_are_written() -> None:
    """A line break in a value is written as a letter, so that nothing begins a line of its own."""
    assert "reason=a\\nCEF:0|x\\=1" in cef.write(line(reason="a\nCEF:0|x=1"))


@given(text=NASTY)
def test_rfc5424_reads_back(text: str) -> None:
    """The header is as section 6 says, and each parameter reads back."""
    written = rfc5424.write(line(reason=text, node=text or "n"))
    assert written.splitlines() == [written]
    head = re.match(
        r"<(\d+)>1 (\S+) ([!-~]{1,255}) pratique - ([!-~]{1,32}) \[pratique@32473((?: \w+=\"(?:[^\"\\\]]|\\.)*\")*)\] ", written
    )
    assert head is not None
    assert int(head[1]) // 8 == 13
    values = dict(re.findall(r' (\w+)="((?:[^"\\\]]|\\.)*)"', head[5]))
    assert values["grant"] == "g-1"
    if text.isprintable() and text:
        assert re.sub(r'\\(["\\\]])', r"\1", values["reason"]) == text


def test_severities_of_syslog() -> None:
    """Alarming events are alerts, denials warnings, the rest notices."""
    assert rfc5424.write(line(event="break-glass")).startswith("<105>1 ")
    assert rfc5424.write(line(event="decision", decision="deny")).startswith("<108>1 ")
    assert rfc5424.write(line()).startswith("<109>1 ")


def test_lines_read_back() -> None:
    """What is made of an entry decodes to the same."""
    before = line(reason="é\n", until="2026-11-25T05:00:00Z")
    values = {name: getattr(before, name) for name in Line.__struct_fields__ if name not in ("seq", "time", "prev", "mac")}
    from pratique.store.line import Entry

    for unwanted in ("opened", "seal"):
        values.pop(unwanted)
    made = make(Entry(**values), (before.seq, before.time, before.prev), b"k")
    assert decode(made).reason == "é\n"
    assert decode(made).seq == 7


def test_a_number_of_denials_is_told() -> None:
    """A line that stands for many says so in each format, with the first and the last time."""
    first, last = "2026-11-25T04:15:05.000000Z", "2026-11-25T04:16:04.250000Z"
    many = line(event="decision", decision="deny", count=57, first=first, last=last)
    event = json.loads(ocsf.write(many))
    check(event)
    assert (event["count"], event["start_time"], event["end_time"]) == (57, 1795580105000, 1795580164250)
    assert " cnt=57 start=1795580105000 end=1795580164250" in cef.write(many)
    assert f' count="57" first="{first}" last="{last}"' in rfc5424.write(many)
    for text in (event["message"], cef.write(many), rfc5424.write(many)):
        assert "57 times more" in text
    assert "count" not in json.loads(ocsf.write(line()))
    assert " cnt=" not in cef.write(line())


def test_what_was_only_observed_is_no_denial() -> None:
    """A gate that looks on lets through what it would deny: whoever reads must not take it for a denial."""
    seen = line(event="decision", decision="deny", grant="", detail={"observed": "true"})
    denied = line(event="decision", decision="deny", grant="", detail={"action": "exec"})
    assert sentence(seen).endswith("-> deny (observed: it was let through)")
    assert sentence(denied).endswith("-> deny")
    assert [json.loads(ocsf.write(one))["status_id"] for one in (seen, denied)] == [1, 2]
    assert "outcome=observed " in cef.write(seen)
    assert 'decision="observed"' in rfc5424.write(seen)
    assert [Filter(decision="deny").takes(one) for one in (seen, denied)] == [False, True]
    assert [Filter(decision="observed").takes(one) for one in (seen, denied)] == [True, False]


def test_a_decision_says_on_what() -> None:
    told = {"reference": "docker.io/library/debian:12", "digest": f"sha256:{'ab' * 32}", "container": "c" * 64}
    said = sentence(line(event="decision", detail=told))
    assert f"exec.root on cccccccccccc of docker.io/library/debian:12@sha256:{'ab' * 32} (task T-1)" in said
    assert "exec.root on shop/web-1/app (task" in sentence(line(detail={"container": "shop/web-1/app"}))
    assert "on worker of docker.io" in sentence(line(event="decision", detail={**told, "name": "worker"}))


@pytest.mark.parametrize(
    ("image", "taken"),
    [
        ("docker.io/library/debian", True), ("debian", True), ("library/debian:12", True), ("debian:12", True),
        (f"sha256:{'ab' * 32}", True), ("sha256:ababab", True), ("ababab", True),
        ("bian", False), ("debian:1", False), ("12", False), ("aba", False),
        ("bababa", False), ("debian:13", False), ("sha256", False),
    ],
)  # fmt: skip
def test_what_is_about_an_image(image: str, taken: bool) -> None:
    """An image is found by its repository, a reference or a digest, in what gates saw and in what grants are for."""
    digest = f"sha256:{'ab' * 32}"
    seen = line(event="decision", detail={"reference": "docker.io/library/debian:12", "digest": digest})
    asked = line(event="request", detail={"images": f"other@sha256:{'cd' * 32} docker.io/library/debian:12@{digest}"})
    pushed = line(event="verdict", detail={"reference": f"docker.io/library/debian:12@{digest}"})
    assert [Filter(image=image).takes(one) for one in (seen, asked, pushed)] == [taken] * 3
    assert not Filter(image=image).takes(line())
