"""Objects that were decoded already say the same as those that are read from a file; hostile ones end in an error of ours."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique._kit.yamltree import documents
from pratique.model.errors import BudgetExceededError
from pratique.workload import pss
from pratique.workload.kubernetes import extract, extract_object, pod_templates
from pratique.workload.spec import Spec

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70_000),
    st.sampled_from(("", "0", "true", "null", "Unconfined", "a", "/var")),
)
CONTEXT = st.dictionaries(
    st.sampled_from(
        (
            "privileged",
            "runAsUser",
            "runAsGroup",
            "runAsNonRoot",
            "allowPrivilegeEscalation",
            "procMount",
            "readOnlyRootFilesystem",
        )
    ),
    SCALARS,
    max_size=4,
)
CAPABILITIES = st.fixed_dictionaries({}, optional={"add": st.lists(SCALARS, max_size=2), "drop": st.lists(SCALARS, max_size=2)})
CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(("a", "b"))},
    optional={
        "image": SCALARS,
        "securityContext": st.builds(lambda context, caps: {**context, "capabilities": caps}, CONTEXT, CAPABILITIES),
        "ports": st.lists(st.fixed_dictionaries({}, optional={"hostPort": SCALARS, "containerPort": SCALARS}), max_size=2),
        "volumeMounts": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(("v", "w")), "mountPath": SCALARS}, optional={"readOnly": SCALARS}),
            max_size=2,
        ),
        "env": st.lists(st.fixed_dictionaries({"name": SCALARS}, optional={"value": SCALARS}), max_size=2),
    },
)
POD: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(CONTAINER, max_size=2),
        "initContainers": st.lists(CONTAINER, max_size=1),
        "hostNetwork": SCALARS,
        "hostUsers": SCALARS,
        "securityContext": CONTEXT,
        "volumes": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(("v", "w"))}, optional={"hostPath": st.just({"path": "/srv"})}),
            max_size=2,
        ),
    },
)


def without_places(specs: list[Spec]) -> Any:
    """Return what is said, without where it stands."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(one) for key, one in value.items() if key not in ("place", "places")}
        return [strip(one) for one in value] if isinstance(value, (list, tuple)) else value

    return strip(msgspec.to_builtins([msgspec.structs.replace(spec, places={}) for spec in specs]))


@given(POD, st.sampled_from(("Pod", "Deployment", "CronJob")))
@settings(max_examples=60)
def test_decoded_and_read_alike(spec: dict[str, Any], kind: str) -> None:
    """Whether an object comes as JSON from an API server or as text from a person, it asks for the same."""
    pod: dict[str, Any] = {"metadata": {"name": "n", "annotations": {"status": "kept"}}, "spec": spec}
    item = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", "managedFields": [{"x": 1}]}, "status": {"y": 2}}
    if kind == "Pod":
        item |= {"spec": spec}
    elif kind == "Deployment":
        item |= {"spec": {"template": pod}}
    else:
        item |= {"spec": {"jobTemplate": {"spec": {"template": pod}}}}
    read = extract(documents(json.dumps(item)))
    assert without_places(extract_object(item)) == without_places(read)
    assert bool(read) <= bool(pod_templates(item))


def test_templates_are_as_the_standards_take_them() -> None:
    """What a Deployment makes is judged as the pod that it makes."""
    bad = {"spec": {"hostPID": True, "containers": [{"name": "a"}]}}
    item = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": bad}}
    assert [[one.check for one in pss.violations(pod, "baseline")] for pod in pod_templates(item)] == [["hostNamespaces"]]
    assert pod_templates({"kind": "ConfigMap", "data": {}}) == []
    assert pod_templates({"kind": "Deployment", "spec": {"template": "none"}}) == []


def test_too_deep() -> None:
    """Depth has a limit that comes before Python's own."""
    value: Any = "x"
    for _ in range(500):
        value = [value]
    with pytest.raises(BudgetExceededError):
        extract_object({"apiVersion": "v1", "kind": "Pod", "spec": value})


def test_fast_enough_for_admission() -> None:
    """A pod of ten containers takes well under the millisecond that a review has for it (some 0.3 ms here)."""
    container = {
        "name": "a", "image": "reg.example/app@sha256:" + "0" * 64, "env": [{"name": f"V{n}", "value": "x"} for n in range(20)],
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/x"}],
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [container] * 10}}
    begun = time.process_time()
    for _ in range(20):
        assert len(extract_object(pod)) == 10
    assert (time.process_time() - begun) / 20 < 0.01  # generous: other work shares the machine
