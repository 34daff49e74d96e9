"""Files that people write: every mistake is one line with its place, and no file can do harm."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policying import HEAD, policy, waivers, whole
from pratique._kit.text import MAX_BYTES
from pratique._kit.yamltree import STRICT_DEPTH
from pratique.model.errors import PolicyError
from pratique.policy.document import Policy, Waivers, read
from pratique.policy.waiver import check_waivers

RULE = "rules:\n- {id: a, when: finding.kev, effect: deny}\n"


def _error(content: str | bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        policy_of(content)
    return str(caught.value)


def policy_of(content: str | bytes) -> object:
    from pratique.policy.compose import load

    def none(_: str, __: str) -> tuple[str, bytes]:
        raise LookupError("known: none")

    return load("p.yaml", content if isinstance(content, bytes) else content.encode(), none)


def _check(content: str, message: str, at: str, said: str) -> None:
    """The error says `said`, and its place is where `at` stands."""
    found = re.match(r"[\w.]+:(\d+):(\d+): (.*)", message)
    assert found is not None
    assert found[3].startswith(said)
    assert content.split("\n")[int(found[1]) - 1][int(found[2]) - 1 :].startswith(at)


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("effect", "efect", "efect", "unknown field 'efect' (did you mean 'effect'?)"),
        ("deny", "denny", "denny", "effect is 'denny' (did you mean 'deny'?)"),
        ("rules", "rule", "rule", "unknown field 'rule' (did you mean 'rules'?)"),
        ("kind: Policy", "kind: Polcy", "Polcy", "kind is 'Polcy' ('Policy' is read here)"),
        ("pratique/v1", "pratique/v2", "pratique/v2", "apiVersion is 'pratique/v2' ('pratique/v1' is read here)"),
        ("finding.kev", "finding.kevs", "kevs", "there is no 'finding.kevs' (did you mean 'finding.kev'?)"),
        ("id: a, ", "", "{when", "a rule lacks 'id'"),
        ("id: a", "id: a, id: b", "id: b", "id is given twice"),
        ("id: a", "id: [a]", "[a]", "id must be text, not a list"),
        ("effect: deny", "effect: deny, grace: 14", "14", "grace is no duration: '14'"),
        ("effect: deny", "effect: deny, final: yes", "yes", "final is 'yes' (true or false)"),
        ("effect: deny", "effect: deny, message: '{finding.idd}'", "{finding.idd", "there is no 'finding.idd' (did you mean"),
        ("effect: deny", "effect: deny, message: 'a } b'", "} b", "a single } in a message"),
        ("metadata: {name: example}", "metadata: {name: null}", "null", "name is empty"),
        ("finding.kev", "finding.severity == 'hihg'", "'hihg'", "finding.severity is never 'hihg' (did you mean 'high'?)"),
        ("finding.kev", "finding.id", "finding.id", "a condition must be true or false"),
        ("finding.kev", "gap.code == 'x'", "14d", "grace is counted for findings"),
    ],
)
def test_mistakes_have_a_place(old: str, new: str, at: str, said: str) -> None:
    """Line, column and the nearest right name."""
    content = whole(RULE if at != "14d" else RULE.replace("deny", "deny, grace: 14d")).replace(old, new, 1)
    _check(content, _error(content), at, said)


@pytest.mark.parametrize(
    "when",
    [
        "finding.kev && finding.statuss == 'x'",
        "\"finding.kev && finding.statuss == 'x'\"",
        "'finding.kev && finding.statuss == ''x'''",
        ">\n      finding.kev\n      && finding.statuss == 'x'",
        "|\n      finding.kev\n      && finding.statuss == 'x'",
        ">-\n\n      finding.kev &&\n\n      finding.statuss == 'x'",
        "finding.kev\n      && finding.statuss == 'x'",
        "'finding.kev /* no */\n      && finding.statuss'",
    ],
)
def test_places_within_conditions(when: str) -> None:
    """The column points at the misspelt word itself, however the text is quoted or folded."""
    text = f"{HEAD}  rules:\n  - id: a\n    effect: deny\n    when: {when}\n"
    if "/*" in when:
        assert re.match(r"p.yaml:8:\d+: ", _error(text))
        return
    place = re.match(r"p\.yaml:(\d+):(\d+): there is no 'finding.statuss'", _error(text))
    assert place is not None
    line, column = int(place[1]), int(place[2])
    assert text.split("\n")[line - 1][column - 1 :].startswith("statuss")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "p.yaml:1:1: empty"),
        (b"a: \xff", "p.yaml:1:4: not UTF-8"),
        (b"x: 1\ny: \x00", "p.yaml:2:4: not YAML"),
        (b"a: [", "p.yaml:2:1: not YAML"),
        (b"a: b: c", "p.yaml:1:5: not YAML"),
        (b"[a, b]", "p.yaml:1:1: the document must be a mapping, not a list"),
        (b"text", "p.yaml:1:1: the document must be a mapping, not text"),
        (b"a: &x 1\nb: *x", "p.yaml:1:4: aliases and anchors are not understood"),
        (b"a: *x", "p.yaml:1:4: aliases and anchors are not understood"),
        (b"a: !!python/object:os.system x", "p.yaml:1:4: tag"),
        (b"a: !!map {}", "p.yaml:1:4: tag"),
        (b"? [a]\n: 1", "p.yaml:1:3: a key must be a word"),
        (b"a: 1\n---\nb: 2", "p.yaml:2:1: a second document"),
        (b"a: " + b"[" * 500, f"p.yaml:1:{4 + STRICT_DEPTH - 1}: deeper than {STRICT_DEPTH} levels"),
        (b"a: " + b"[" * 500_000, "p.yaml:1:"),
        (b"- " * 100_000, f"p.yaml:1:{1 + 2 * STRICT_DEPTH}: deeper than {STRICT_DEPTH} levels"),
        (b"a" * (MAX_BYTES + 1), "p.yaml:1:1: larger than"),
    ],
)
def test_hostile_files(content: bytes, said: str) -> None:
    """Bombs, depths, odd encodings and tags end in one line with a place, at once."""
    started = time.monotonic()
    message = _error(content)
    assert message.startswith(said)
    assert "\n" not in message
    assert time.monotonic() - started < 30  # far from what a bomb would take


def test_many_laughs() -> None:
    """The bomb that doubles itself is refused at its first anchor."""
    bomb = "a: &a [lol, lol]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert _error(bomb).startswith("p.yaml:1:4: aliases")


def test_control_characters_are_shown() -> None:
    """What a terminal would obey never reaches it raw."""
    message = _error(whole('rules:\n- {id: a, when: "finding.kev \\e[2J", effect: deny}\n'))
    assert "\x1b" not in message
    assert message.startswith("p.yaml:6:")


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """Any bytes are a policy or a PolicyError with a place."""
    message = "f:1:1: "
    try:
        read("f", content, Policy)
    except PolicyError as error:
        message = str(error)
    assert re.match(r"f:\d+:\d+: ", message)


@given(st.text(alphabet="abcdefin.g&|!()[]{}'\"<>=+-*/%?:,0123456789 \n\\", max_size=60))
def test_any_condition(when: str) -> None:
    """Any text is a condition or a PolicyError within the file."""
    import json

    content = f"{HEAD}  rules:\n  - id: a\n    effect: deny\n    when: {json.dumps(when)}\n"
    message = "p.yaml:1:1: "
    try:
        policy_of(content)
    except PolicyError as error:
        message = str(error)
    assert re.match(r"p\.yaml:\d+:\d+: ", message)


def test_scalars_are_what_was_written() -> None:
    """`no`, `012` and dates are text where text is meant; byte order marks and JSON are fine."""
    loaded = policy("rules:\n- {id: no, when: finding.kev, effect: deny, message: 2026-01-01}\n")
    assert (loaded.rules[0].rule.id, loaded.rules[0].rule.message) == ("no", "2026-01-01")
    assert policy_of(b"\xef\xbb\xbf" + whole(RULE).encode())
    json = '{"apiVersion": "pratique/v1", "kind": "Policy", "metadata": {"name": "x"},'
    assert policy_of(json + ' "spec": {"rules": [{"id": "a", "when": "finding.kev", "effect": "deny"}]}}')


@pytest.mark.parametrize(
    ("entry", "at", "said"),
    [
        ("image: x, expires: 2027-01-01", "{owner", "a waiver needs a vulnerability"),
        ("package: '*', path: '**', expires: 2027-01-01", "{owner", "a waiver needs a vulnerability"),
        ("package: 'pkg:*/*@*', path: '*/*.*', expires: 2027-01-01", "{owner", "a waiver needs a vulnerability"),
        ("vulnerability: C, package: '', expires: 2027-01-01", "''", "package is empty"),
        ("vulnerability: [], path: x, expires: 2027-01-01", "[]", "vulnerability is empty"),
        ("path: a, expires: 0001-01-01T00:00:00+05:00", "0001", "expires is no moment"),
        ("vulnerability: C", "{owner", "a waiver lacks 'expires'"),
        ("vulnerability: C, expires: soon", "soon", "expires is no moment: 'soon'"),
        ("path: a, expires: 2027-01-01, until: [fixed]", "[fixed]", "until: 'fixed' is not understood"),
        ("path: a, expires: 2027-01-01, until: epss>7", "epss>7", "until: 'epss>7' is not understood"),
        ("path: a, expires: 2027-01-01, until: severity-raised", "severity-raised", "severity-raised needs the severity"),
        ("path: a, expires: 2027-01-01, until: new-image", "new-image", "new-image needs the digest"),
        ("path: a, expires: 2027-01-01, layer: abc", "abc", "layer is no digest: 'abc'"),
        ("path: a, expires: 2027-01-01, base: 'nginx:1.27'", "'nginx:1.27'", "base is no digest: 'nginx:1.27'"),
        ("path: a, expires: 2027-01-01, until: new-image, digest: latest", "latest", "digest is no digest: 'latest'"),
        ("vulnerability: CVE-2024-*, expires: 2027-01-01", "CVE-2024-*", "a vulnerability is no pattern: 'CVE-2024-*'"),
        ("package: 'pkg:npm', path: a, expires: 2027-01-01", "'pkg:npm'", "a purl without a name: 'pkg:npm'"),
        ("path: a, expires: 2027-01-01, ownr: x", "ownr", "unknown field 'ownr'"),
        ("path: a, expires: 2027-01-01, owner: x", "owner: x", "owner is given twice"),
    ],
)
def test_waivers_that_are_wrong(entry: str, at: str, said: str) -> None:
    """A waiver without an end, or over everything, is none."""
    content = f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n- {{owner: team-a, reason: known, {entry}}}\n"
    with pytest.raises(PolicyError) as caught:
        waivers(entry)
    _check(content, str(caught.value), at, said)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{owner: o, path: a, reason: '', expires: 2027-01-01}", "reason is empty"),
        ("{owner: ' ', reason: r, path: a, expires: 2027-01-01}", "owner is empty"),
        ("{id: waiver-2, owner: o, reason: r, path: a, expires: 2027-01-01}", "id 'waiver-2' is given twice"),
    ],
)
def test_waivers_without_owner_or_twice(entry: str, said: str) -> None:
    """Somebody answers for each waiver, and each has a name of its own."""
    second = "- {owner: o, reason: r, path: a, expires: 2027-01-01}\n"
    content = f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n- {entry}\n{second}"
    document, text = read("f", content.encode(), Waivers)
    with pytest.raises(PolicyError, match=said):
        check_waivers(text, document)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("finding.kev &&", "the condition ends too early"),
        ("finding.kev = true", "write == to compare"),
        ("finding.kev and finding.fixable", "write && for and"),
        ("finding.published > now - 14d", r"a duration is written duration\('336h'\)"),
        ("finding.id.startWith('CVE')", "did you mean 'startsWith'"),
        ("package.licenses.contains('MIT')", "for a list, write 'x' in LIST"),
        ("package.licenses.matches('MIT')", "for a list, write LIST.exists"),
        ("finding.severity >= 'high'", r"letter by letter \(write finding.rank >= severity.high\)"),
        ("finding.severity >= severity.high", "write finding.rank >= severity.high"),
        ("(finding.severity) == 'high' && 0 < 1 && ('a') <= finding.id", "finding.id is a text: <= would"),
        ("package.version < '2.0'", "a condition cannot order versions"),
        ("image.distro_version < '12'", "write double"),
        ("finding.id.matches('(')", "invalid regular expression: missing"),
        ("finding.aliases.exists(a, a.matches(r'['))", "invalid regular expression: missing"),
        ("matches(finding.id, '(?<=a)')", "invalid regular expression"),
        ("finding.id.matches('(' + ')')", None),
        ("size(finding.id) > 3 && finding.id.size() > 3 && double(image.distro_version) < 12.0", None),
        ("finding.fixed_in == ''", r"size\(LIST\) == 0"),
        ("finding.kev == 'true'", "true and false stand without quotes"),
        ("finding.id =~ 'CVE'", r"write NAME.matches"),
        ("'MIT' in package.licenses", "put it into double quotes"),
        ("!finding.kev", "put it into double quotes"),
        ("finding.title == 'a: b'", "a colon and a space"),
    ],
)
def test_what_people_write_first(when: str, said: str | None) -> None:
    """What other languages have, and what YAML takes for its own: one line with a place, and what to write.

    Whether critical is above high is no question of letters, and a pattern that is none would err on every finding.
    """
    body = f"rules:\n- id: a\n  when: {when}\n  effect: deny\n"
    if said is None:
        policy(body, name="p.yaml")
        return
    with pytest.raises(PolicyError, match=rf"^p\.yaml:7:\d+: .*{said}") as caught:
        policy(body, name="p.yaml")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["stages", "environments", "namespaces", "teams"])
def test_a_binding_to_nowhere(name: str) -> None:
    """An empty list would mean everywhere: it is refused at its place, in a rule, an import and an override."""
    for body, at in (
        (f"rules:\n- id: a\n  when: finding.kev\n  effect: deny\n  {name}: []\n", "9:"),
        (f"import:\n- policy: other\n  {name}: []\n", "7:"),
        (f"import: [other]\noverrides:\n- rule: b\n  {name}: []\n", "8:"),
    ):
        other = {"other": "rules:\n- {id: b, when: finding.kev, effect: deny}\n"}
        with pytest.raises(PolicyError, match=rf"^p\.yaml:{at}\d+: {name} is empty \(leave it out"):
            policy(body, other, name="p.yaml")
