"""Scores of CVSS vectors, against those of an independent calculator (tests/match/data/make_cvss.py says which)."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.match.cvss import MAX_VECTOR, score
from pratique.match.severity import from_score, rated
from pratique.model.errors import ParseError
from pratique.model.finding import Severity

EXPECTED = [line.split("\t") for line in (Path(__file__).parent / "data" / "cvss.tsv").read_text().splitlines()]
IMPACTS = ("VC", "VI", "VA", "SC", "SI", "SA")
V3 = {"AV": "NALP", "AC": "LH", "PR": "NLH", "UI": "NR", "S": "UC", "C": "HLN", "I": "HLN", "A": "HLN"}
V4 = {"AV": "NALP", "AC": "LH", "AT": "NP", "PR": "NLH", "UI": "NPA", **dict.fromkeys(IMPACTS, "HLN")}
V3_BASE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
V4_BASE = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


def _every(metrics: dict[str, str]) -> Iterator[str]:
    for values in itertools.product(*metrics.values()):
        yield "/".join(f"{name}:{value}" for name, value in zip(metrics, values, strict=True))


def test_thousands_of_vectors() -> None:
    """Every vector of version 2, samples of the others and all vectors that OSV's feeds had: no difference."""
    vectors = [(vector, expected) for vector, expected in EXPECTED if not vector.startswith("sha256:")]
    assert len(vectors) > 3000
    ours = [(vector, f"{found[1]:.1f}" if (found := rated(vector)) else "-") for vector, _ in vectors]
    assert [pair for pair in zip(ours, vectors, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.parametrize(("version", "metrics"), [("3.0", V3), ("3.1", V3), ("4.0", V4)])
def test_all_base_vectors(version: str, metrics: dict[str, str]) -> None:
    """Every base vector there can be: the scores in order have the digest of the oracle's."""
    whole = hashlib.sha256()
    for vector in _every(metrics):
        whole.update(b"%.1f\n" % score(f"CVSS:{version}/{vector}")[1])
    assert whole.hexdigest() == dict(EXPECTED)[f"sha256:{version}"]


@given(
    st.sampled_from([vector for vector, expected in EXPECTED if vector.startswith("CVSS:4") and expected != "-"]),
    st.randoms(use_true_random=False),
)
def test_order_of_metrics_is_free(vector: str, chance: object) -> None:
    """Metrics may come in any order."""
    first, *metrics = vector.split("/")
    chance.shuffle(metrics)  # type: ignore[attr-defined]
    assert score("/".join([first, *metrics])) == score(vector)


def test_unstated_is_not_defined() -> None:
    """X says nothing, in every optional metric of version 4."""
    names = (
        "E",
        "CR",
        "IR",
        "AR",
        "MAV",
        "MAC",
        "MAT",
        "MPR",
        "MUI",
        "MVC",
        "MVI",
        "MVA",
        "MSC",
        "MSI",
        "MSA",
        "S",
        "AU",
        "R",
        "V",
    )
    assert score(V4_BASE + "".join(f"/{name}:X" for name in (*names, "RE", "U"))) == score(V4_BASE)


def test_threat_counts_in_version_4_alone() -> None:
    """Version 4 has one score of what is stated; the base score of version 3 leaves temporal metrics out."""
    assert score(V4_BASE + "/E:U")[1] < score(V4_BASE)[1]
    assert score(V3_BASE + "/E:U/RL:O/RC:U") == score(V3_BASE)


@pytest.mark.parametrize(
    "vector",
    [
        "",
        "low",
        "CVSS:3.1",
        "CVSS:3.1/AV:N",
        "CVSS:5.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        V3_BASE.replace("AV:N", "AV:Q"),
        V3_BASE + "/AV:N",
        V3_BASE + "/",
        "AV:N/AC:L/Au:N/C:P/I:P",
        V4_BASE.removesuffix("/SA:N"),
        V4_BASE.replace("SI:N", "SI:S"),
        V4_BASE.replace("AV:N", "AV:X"),
        V4_BASE + "/E:H",
        V4_BASE + "/MSC:S",
        V4_BASE + "/QQ:X",
        V4_BASE + "/U:Blue",
        V4_BASE + "/E:A" * (MAX_VECTOR // 4),
    ],
)
def test_damaged_vectors(vector: str) -> None:
    """What is no complete vector has no score."""
    with pytest.raises(ParseError):
        score(vector)
    assert rated(vector) is None


@given(st.text(max_size=80) | st.builds(lambda text: "CVSS:4.0/" + text, st.text("AVCTPRUISNLHX:/ME", max_size=80)))
def test_any_text(text: str) -> None:
    """Any text ends in a score from 0 to 10, or in ParseError."""
    with contextlib.suppress(ParseError):
        assert 0 <= score(text)[1] <= 10


@pytest.mark.parametrize(
    ("version", "value", "word"),
    [
        *(("3.1", 0.0, "negligible"), ("3.1", 0.1, "low"), ("3.1", 3.9, "low"), ("3.1", 4.0, "medium"), ("3.0", 6.9, "medium")),
        *(("3.1", 7.0, "high"), ("4.0", 8.9, "high"), ("4.0", 9.0, "critical"), ("4.0", 10.0, "critical")),
        *(("2.0", 0.0, "low"), ("2.0", 3.9, "low"), ("2.0", 4.0, "medium"), ("2.0", 7.0, "high"), ("2.0", 10.0, "high")),
    ],
)
def test_words_of_scores(version: str, value: float, word: str) -> None:
    """Qualitative ratings begin where the specifications say."""
    assert from_score(version, value) is Severity(word)
