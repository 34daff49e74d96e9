"""What a command in a container needs."""

from __future__ import annotations

from granted import CONTAINER, wants
from pratique.grant.document import Baseline
from pratique.grant.needed import needed_for
from pratique.grant.policy import compile_baseline
from pratique.workload.docker_create import extract_exec


def test_a_command_in_group_0_needs_root() -> None:
    """Files of root's group are root's in most images; where everybody may run with group 0, a command may, too."""
    target = {"owner": "oidc:alice", "container": CONTAINER, "root": False}
    for body in ({"User": "1000:0"}, {"User": "1000:root"}):
        asks = wants(extract_exec({"Cmd": ["id"], **body}), "exec", target=target)
        assert [str(need.privilege) for need in needed_for(asks, compile_baseline(Baseline()))] == ["exec.root"]
        assert needed_for(asks, compile_baseline(Baseline(privileges=("run.group:0",)))) == []
