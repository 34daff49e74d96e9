"""GitLab, Jenkins, Tekton and Azure: their files are read, and their scripts are run as the service runs them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrating import INTEGRATIONS, Shell
from pratique._version import __version__

GITLAB: Any = yaml.safe_load((INTEGRATIONS / "gitlab/pratique.gitlab-ci.yml").read_text())[".pratique"]
JENKINS = (INTEGRATIONS / "jenkins/Jenkinsfile").read_text()
TEKTON: Any = yaml.safe_load((INTEGRATIONS / "tekton/task.yaml").read_text())
AZURE: Any = yaml.safe_load((INTEGRATIONS / "azure/pratique.yml").read_text())
Ran = subprocess.CompletedProcess[str]


def gitlab(shell: Shell, workspace: Path, **variables: str) -> Ran:
    """Run the job's script: all parts in one shell, which ends with the first that fails."""
    predefined = {
        "CI_REGISTRY_IMAGE": "registry.example.com/shop", "CI_COMMIT_SHORT_SHA": "abc", "CI_PROJECT_DIR": str(workspace),
        "CI_REGISTRY": "registry.example.com",
    }  # fmt: skip
    given = {**predefined, **GITLAB["variables"], **variables}
    expanded = {
        name: re.sub(r"\$(\w+)", lambda match: given.get(match[1], ""), value) if name in GITLAB["variables"] else value
        for name, value in given.items()
    }
    return shell("\n".join(GITLAB["script"]), **expanded)


def jenkins(shell: Shell, workspace: Path, **parameters: str) -> Ran:
    """Run the step of the stage Scan, with the environment that the pipeline makes of its parameters."""
    script = re.findall(r"sh '''(.*?)'''", JENKINS, re.DOTALL)[1]
    defaults = dict(re.findall(r"name: '(\w+)', defaultValue: '([^']*)'", JENKINS))
    known: dict[str, str] = {f"params.{name}": parameters.get(name) or value for name, value in defaults.items()}
    known["env.WORKSPACE"] = str(workspace)
    declared = re.findall(r"^    (\w+) = ['\"](.*)['\"]$", JENKINS, re.MULTILINE)
    environment = {name: re.sub(r"\$\{([\w.]+)\}", lambda match: known[match[1]], value) for name, value in declared}
    return shell(script.replace("\\\n", ""), **environment)  # Groovy joins such lines itself


def tekton(shell: Shell, workspace: Path, **parameters: str) -> Ran:
    """Run the step that scans, with what the controller puts in for variables."""
    step = next(step for step in TEKTON["spec"]["steps"] if step["name"] == "scan")
    defaults = {about["name"]: about.get("default", "") for about in TEKTON["spec"]["params"]}
    known = {f"params.{name}": parameters.get(name.replace("-", "_"), value) for name, value in defaults.items()}
    known |= {"results.decision.path": str(workspace / "decision"), "workspaces.cache.bound": "false"}
    known |= {"workspaces.dockerconfig.bound": "false"}
    environment = {
        item["name"]: re.sub(r"\$\(([a-z.-]+)\)", lambda match: known[match[1]], str(item["value"])) for item in step["env"]
    }
    environment["PRATIQUE_CACHE_DIR"] = str(workspace / "cache")
    return shell(step["script"], **environment)


def azure(shell: Shell, workspace: Path, **parameters: str) -> Ran:
    """Run the step that scans, with the parameters put in."""
    step = next(step for step in AZURE["steps"] if step.get("displayName") == "Scan")
    known = {about["name"]: parameters.get(about["name"], about.get("default", "")) for about in AZURE["parameters"]}
    environment = {
        name: re.sub(r"\$\{\{ parameters\.(\w+) \}\}", lambda match: known[match[1]], value)
        for name, value in step["env"].items()
    }
    return shell(step["bash"], BUILD_ARTIFACTSTAGINGDIRECTORY=str(workspace), **environment)


def run(service: str, shell: Shell, workspace: Path, target: str, baseline: str = "") -> Ran:
    """Scan by one of the services; all refuse high and exploited."""
    if service == "gitlab":
        return gitlab(shell, workspace, GATE_TARGET=target, GATE_BASELINE=baseline)
    if service == "jenkins":
        return jenkins(shell, workspace, TARGET=target, BASELINE=baseline)
    if service == "tekton":
        return tekton(shell, workspace, target=target, baseline=baseline)
    return azure(shell, workspace, target=target, baseline=baseline)


REPORTS = {
    "gitlab": ["pratique-report.json", "pratique-report.html", *GITLAB["artifacts"]["reports"].values()],
    "jenkins": [f"pratique-report/{name}" for name in ("report.json", "report.html", "report.sarif", "junit.xml")],
    "tekton": ["pratique-report.json", "pratique-report.html", "pratique-report.sarif"],
    "azure": [f"pratique/{name}" for name in ("report.json", "report.html", "report.sarif", "junit.xml", "summary.md")],
}


@pytest.mark.parametrize("service", REPORTS)
def test_a_run(service: str, shell: Shell, workspace: Path) -> None:
    """The script ends as pratique does, leaves the reports that the service collects, and knows what is new."""
    ran = run(service, shell, workspace, "docker-archive:new.tar")
    assert ran.returncode == 1, ran.stderr
    assert [name for name in REPORTS[service] if not (workspace / name).is_file()] == []
    if service == "tekton":
        assert (workspace / "decision").read_text() == "refused"
    assert run(service, shell, workspace, "docker-archive:clean.tar").returncode == 0
    assert run(service, shell, workspace, "docker-archive:none.tar").returncode == 3
    assert run(service, shell, workspace, "docker-archive:new.tar", "docker-archive:new.tar").returncode == 0
    assert run(service, shell, workspace, "docker-archive:new.tar", "docker-archive:old.tar").returncode == 1
    assert run(service, shell, workspace, "docker-archive:new.tar", "docker-archive:none.tar").returncode == 3


@pytest.mark.parametrize("service", REPORTS)
def test_nothing_of_a_name_is_run(service: str, shell: Shell, workspace: Path) -> None:
    """A target that looks like a script is a name."""
    nasty = "docker-archive:$(touch made)`touch made`;touch made'\"; touch made"
    assert run(service, shell, workspace, nasty).returncode == 3
    assert not (workspace / "made").exists()


def test_gitlab_logs_in_to_its_registry(shell: Shell, workspace: Path, tmp_path: Path) -> None:
    """The job's own credentials are where the program looks for them, in a file of its own, and in no log."""
    show = GITLAB["script"][0] + '\ncat "$DOCKER_CONFIG/config.json"'
    ran = shell(show, CI_REGISTRY_USER="gitlab-ci-token", CI_REGISTRY_PASSWORD="s3cret", CI_REGISTRY="registry.example.com")
    document = json.loads(ran.stdout)
    assert document == {"auths": {"registry.example.com": {"auth": "Z2l0bGFiLWNpLXRva2VuOnMzY3JldA=="}}}
    silent = shell(GITLAB["script"][0], CI_REGISTRY_USER="u", CI_REGISTRY_PASSWORD="s3cret", CI_REGISTRY="r")
    assert "s3cret" not in silent.stdout + silent.stderr


def test_parameters_reach_scripts_as_variables_only() -> None:
    """No script has an expression that the service replaces by a parameter's text."""
    assert not any("$(params" in step["script"] for step in TEKTON["spec"]["steps"])
    assert not any("${{" in step.get("bash", "") for step in AZURE["steps"])
    assert not any("${params" in block for block in re.findall(r"sh '''(.*?)'''", JENKINS, re.DOTALL))
    assert 'sh "' not in JENKINS


def test_versions_and_images_are_pinned() -> None:
    """The program by its version, which is this one; images by digest."""
    texts = [path.read_text() for path in INTEGRATIONS.rglob("*") if path.is_file()]
    versions = {version for text in texts for version in re.findall(r"pratique==([0-9.]+)", text)}
    assert versions == {__version__}
    assert TEKTON["metadata"]["labels"]["app.kubernetes.io/version"] == __version__
    images = [GITLAB["image"]["name"], TEKTON["spec"]["stepTemplate"]["image"]]
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)


def test_tekton_asks_for_few_privileges() -> None:
    """The task runs where the restricted Pod Security Standard is enforced."""
    context = TEKTON["spec"]["stepTemplate"]["securityContext"]
    assert context["runAsNonRoot"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_scripts_are_sound_for_a_plain_shell(shell: Shell) -> None:
    """Every script, also those that install, is one that sh reads."""
    scripts = [path.read_text() for path in INTEGRATIONS.rglob("*.sh")]
    scripts += [step["script"] for step in TEKTON["spec"]["steps"]] + [step["bash"] for step in AZURE["steps"] if "bash" in step]
    scripts += re.findall(r"sh '''(.*?)'''", JENKINS, re.DOTALL)
    scripts.append("\n".join([*GITLAB["before_script"], *GITLAB["script"]]))
    for script in scripts:
        done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.stderr == ""
