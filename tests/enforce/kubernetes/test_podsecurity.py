"""The Pod Security Standards: the gate's and lint's reading are the API server's own, on thousands of pods and at every version.

`workload.pss` decides for the gate on decoded JSON; `lint.checks.podsecurity` finds places in files for people. They were written
apart, and are held against answers that upstream's own code gave (`podsecurity/README.md`), and against each other.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import podmaking
import podreading
from podreading import LEVELS, Case
from pratique.enforce.kubernetes.podsecurity import denials, parse_standard, standard_of
from pratique.grant.privileges import parse_all
from pratique.lint.checks import podsecurity
from pratique.model.errors import ParseError, UsageError
from pratique.workload import pss
from pratique.workload.kubernetes import pod_templates
from reviewing import Cluster, changed, creates, pod, template
from storing import place_in

FEWEST = 3_000  # recorded pods; fewer are no proof of parity
PARTS = 8  # the comparison, so that several processes share it
FRESH = range(1_000_000, 1_001_000)  # pods of the generator that nothing is recorded about
VERSIONS = (25, 28, 30, 33, 34, 36, 37)


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    """The recorded pods. A file that is missing, or cut short, is an error and no reason to skip."""
    about, found = podreading.recorded()
    assert len(found) == about["pods"] >= FEWEST
    return found


@pytest.fixture(scope="module")
def minors(cases: tuple[Case, ...]) -> list[int]:
    """The versions at which any answer changes, and the one before each."""
    changing = {minor for case in cases for minor in case.boundaries()}
    return sorted({minor for since in changing for minor in (since - 1, since) if minor >= 0})


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_differs_from_the_api_servers_own_answers(part: int, cases: tuple[Case, ...], minors: list[int]) -> None:
    """Both readings find the checks violated that upstream's code does: each check, each version, both levels."""
    found = [difference for case in cases[part::PARTS] for difference in podreading.differences(case, minors)]
    assert found == []


KINDS = (
    ("Deployment", "deployments", "apps"), ("ReplicaSet", "replicasets", "apps"), ("StatefulSet", "statefulsets", "apps"),
    ("DaemonSet", "daemonsets", "apps"), ("Job", "jobs", "batch"), ("CronJob", "cronjobs", "batch"),
    ("ReplicationController", "replicationcontrollers", ""), ("PodTemplate", "podtemplates", ""),
)  # fmt: skip


@pytest.mark.parametrize(("level", "minor"), [("baseline", 37), ("restricted", 30), ("restricted", 37)])
def test_reviews_are_answered_so(level: pss.Level, minor: int, cases: tuple[Case, ...], tmp_path: Path) -> None:
    """From the review's bytes to the rules in the answer: pods, and what makes pods, whose annotations are in the template."""
    cluster = Cluster(place_in(tmp_path), standards=(parse_standard(f"{level}:v1.{minor}"),))
    asked = 0
    for case in cases[minor % 7 :: 7]:
        spec = case.pod["spec"]
        listed = [one for key in ("initContainers", "containers", "ephemeralContainers") for one in spec.get(key) or ()]
        if not listed or not all(listed):
            continue  # without containers, or with one that is null: refused for that
        kind, resource, group = KINDS[case.number % len(KINDS)]
        made = template(kind, spec, group)
        (inner,) = pod_templates(made)
        assert isinstance(inner, dict)
        inner["metadata"] = case.pod["metadata"]
        for review in (creates(case.pod, dryRun=True), creates(made, resource, group, dryRun=True)):
            asked += 1
            rules = (cluster.admit(review).get("auditAnnotations") or {}).get("rules", "")
            found = {rule.rpartition(" ")[2] for rule in rules.split(", ") if rule.startswith("pod-security ")}
            assert found == case.violated(level, minor), (case.number, review["request"]["kind"])
    cluster.close()
    assert asked > 1_000


@pytest.mark.parametrize(
    ("worse", "check"),
    [
        ({"volumes": [{"name": "unmounted", "hostPath": {"path": "/etc"}}]}, "hostPathVolumes"),
        ({"securityContext": {"seLinuxOptions": {"user": "u"}}}, "seLinuxOptions"),
        ({"containers": [{"livenessProbe": {"httpGet": {"port": 1, "host": "other"}}}]}, "hostProbesAndHostLifecycle"),
    ],
)
def test_an_update_that_forbids_itself_more_is_judged(worse: dict[str, Any], check: str, tmp_path: Path) -> None:
    """Though no container asks for a privilege that it had not; what was there before is let be, in whatever order."""
    cluster = Cluster(place_in(tmp_path), standards=(parse_standard("baseline"),))
    before = template("Deployment", pod()["spec"])
    after = copy.deepcopy(before)
    spec = after["spec"]["template"]["spec"]
    spec["containers"][0] |= worse.get("containers", ({},))[0]
    spec |= {key: value for key, value in worse.items() if key != "containers"}

    def update(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return cluster.admit(changed(creates(new, "deployments", "apps"), operation="UPDATE", oldObject=old))

    answer = update(before, after)
    assert not answer["allowed"]
    assert f"pod-security baseline:v1.37 {check}" in answer["auditAnnotations"]["rules"].split(", ")
    scaled = copy.deepcopy(after)
    scaled["spec"]["replicas"] = 3
    assert update(after, scaled)["allowed"]
    other = pod(name="other")["spec"]["containers"][0]
    for one, at in ((after, 0), (scaled, 1)):
        one["spec"]["template"]["spec"]["containers"].insert(at, other)
    assert update(after, scaled)["allowed"]
    assert update(after, before)["allowed"]
    cluster.close()


WRONG: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "x", [], [[]], [{}], [None], {}, {"a": {}}, 10**30)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, one in inner for place in _places(one, (*path, key))]


def test_what_no_api_server_has_typed_is_answered(cases: tuple[Case, ...], tmp_path: Path) -> None:
    """A custom resource's template may hold any JSON: whatever stands for a field, there is an answer, and files are linted."""
    cluster = Cluster(place_in(tmp_path), standards=(parse_standard("restricted"),))
    for case in cases[::9]:
        chance = random.Random(case.number)
        spec = copy.deepcopy(case.pod["spec"])
        *way, last = chance.choice(_places(spec))
        at = spec
        for key in way:
            at = at[key]
        at[last] = chance.choice(WRONG)
        made = template("Rollout", spec, "argoproj.io")
        assert cluster.admit(creates(made, "rollouts", "argoproj.io", dryRun=True))["allowed"] in (True, False)
        podreading.linted(case.pod | {"spec": spec}).controls("restricted", 37)
    cluster.close()


def test_the_recorded_pods_are_no_trivial_ones(cases: tuple[Case, ...], minors: list[int]) -> None:
    """Each check alone decides about some pods, each change of the policy about some; many are admitted and many are not."""
    newest = minors[-1]
    alone: Counter[str] = Counter()
    for level in LEVELS:
        answers = [case.violated(level, newest) for case in cases]
        assert len(cases) / 10 < sum(not checks for checks in answers) < len(cases) * 9 / 10
        alone.update(check for checks in answers for check in checks if len(checks) == 1)
    assert len(alone) == 19, alone  # all of upstream's checks
    assert min(alone.values()) >= 5, alone
    changing = Counter(minor for case in cases for minor in case.boundaries() if minor)
    assert sorted(changing) == [8, 19, 22, 23, 25, 27, 29, 31, 32, 34, 35, 37]
    assert min(changing.values()) >= 5, changing


def test_files_are_read_as_kubectl_reads_them() -> None:
    """However a value or a key is spelled, lint finds in a file what the server's code found in what kubectl sends for it."""
    found = podreading.files()
    understood = [one for one in found if one.said is not None]
    assert len(understood) > 400
    assert len(found) - len(understood) > 50
    different = []
    for number, one in enumerate(found):
        if one.said is None:
            with contextlib.suppress(ParseError):  # kubectl or the server refuses it: there is nothing to be held against
                podreading.linted(one.text).controls("restricted", 37)
            continue
        case = Case(number, {}, one.said)
        for level in LEVELS:
            shown = podreading.controls(case.violated("baseline", 37) | case.violated(level, 37))
            if podreading.linted(one.text).controls(level, 37) != shown:
                different.append((level, one.text))
    assert different == []


def test_the_newest_version_is_the_newest_that_was_recorded(minors: list[int]) -> None:
    """A later one is read as it, as a server reads one that it does not know."""
    assert (1, minors[-1]) == pss.LATEST == podsecurity.LATEST
    probe = {"metadata": {}, "spec": {"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}}]}}
    assert pss.violations(probe, "restricted", (1, 99)) == pss.violations(probe, "restricted", pss.LATEST)


@pytest.mark.parametrize("level", LEVELS)
def test_two_readings_of_the_standards_agree(level: pss.Level) -> None:
    """On pods that nothing is recorded about, too."""
    for number in FRESH:
        made = podmaking.make(number)
        minor = VERSIONS[number % len(VERSIONS)]
        shown = podreading.controls(podreading.by_gate(made, "baseline", minor) | podreading.by_gate(made, level, minor))
        assert podreading.linted(made).controls(level, minor) == shown, (number, minor, made)


def _is_refused_anyway(spec: dict[str, Any]) -> bool:
    """Say whether an API server refuses it before any standard: Linux's settings for Windows, or two sources in one volume."""
    volumes = [one for one in spec.get("volumes") or () if one]
    return (spec.get("os") or {}).get("name") == "windows" or any(len(one) > 2 for one in volumes)


def test_a_pod_that_restricted_admits_baseline_admits(cases: tuple[Case, ...], minors: list[int]) -> None:
    """Restricted is baseline and more, for pods that can be."""
    asked = 0
    for case in cases:
        for minor in minors:
            if not case.violated("restricted", minor) and not _is_refused_anyway(case.pod["spec"]):
                asked += 1
                assert not pss.violations(case.pod, "baseline", (1, minor)), (case.number, minor)
    assert asked > len(cases)


@pytest.mark.parametrize(
    ("spec", "context", "granted", "left"),
    [
        ({"hostPID": True}, {}, ("run.hostns:pid",), set()),
        ({"hostPID": True}, {}, ("run.root",), {"hostNamespaces"}),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/srv"}}]}, {}, ("run.mount:/srv/**:rw",), set()),
        ({"volumes": [{"name": "v", "nfs": {"server": "n", "path": "/"}}]}, {}, ("run.mount:/**:rw",), {"restrictedVolumes"}),
        ({}, {"capabilities": {"add": ["CHOWN"], "drop": ["ALL"]}}, ("run.cap:CHOWN",), set()),
        ({}, {"runAsNonRoot": False, "runAsUser": 0}, ("run.root",), set()),
        ({}, {"runAsNonRoot": False, "runAsUser": 0}, ("exec.root",), {"runAsNonRoot", "runAsUser"}),
        ({}, {"allowPrivilegeEscalation": True, "privileged": True}, ("run.privileged",), set()),
        ({}, {"procMount": "Unmasked"}, ("run.unconfined:proc",), set()),
        ({}, {"procMount": "Unmasked"}, ("run.unconfined:seccomp",), {"procMount_restricted"}),
    ],
)
def test_a_grant_lifts_what_is_its_privilege_and_nothing_else(
    spec: dict[str, Any], context: dict[str, Any], granted: tuple[str, ...], left: set[str]
) -> None:
    """Restricted, with grants: what is left is what no grant stands for."""
    made = pod(spec, securityContext=context)
    found = denials([made], parse_standard("restricted"), parse_all(granted))
    assert {one.rule.rpartition(" ")[2] for one in found} == left


EVERYTHING = (
    "run.privileged", "run.root", "run.new-privileges", "run.cap:ALL", "run.mount:/**:rw", "run.hostport:*", "run.sysctl:*",
    "run.hostns:net", "run.hostns:pid", "run.hostns:ipc", "run.unconfined:apparmor", "run.unconfined:seccomp",
    "run.unconfined:selinux", "run.unconfined:proc",
)  # fmt: skip


def test_each_control_has_a_privilege_that_lifts_it_or_is_known_to_have_none(cases: tuple[Case, ...]) -> None:
    """With everything granted, there is left what whoever writes the manifest decides: volume types and probes of other hosts."""
    left: set[str] = set()
    for case in cases:
        for text in ("baseline", "restricted", "restricted:v1.34"):
            found = denials([case.pod], parse_standard(text), parse_all(EVERYTHING))
            left |= {one.rule.rpartition(" ")[2] for one in found}
    assert left == {"restrictedVolumes", "hostProbesAndHostLifecycle"}


@pytest.mark.parametrize(
    "text",
    ["", "strict", "=baseline", "restricted:2.0", "restricted:v1", "team-*=restricted:newest", "baseline:v1.01", "baseline:v1.٣"],
)
def test_levels_that_are_none(text: str) -> None:
    """Said when the gate is started."""
    with pytest.raises(UsageError):
        parse_standard(text)


def test_the_first_level_that_matches_holds() -> None:
    """As written, from left to right; none is privileged, which forbids nothing."""
    standards = [parse_standard(text) for text in ("team-*=restricted:v1.30", "baseline")]
    assert standard_of(standards, "team-a")[1:] == ("restricted", (1, 30))
    assert standard_of(standards, "other")[1:] == ("baseline", pss.LATEST)
    assert standard_of(standards[:1], "other").level == "privileged"
