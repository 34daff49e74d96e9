"""Checks of Dockerfiles: secrets in the clear, doors left open, and what a build may do to the machine it runs on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pratique.lint.build import Build, hit
from pratique.lint.checks.packages import installed
from pratique.lint.hit import Hit
from pratique.lint.secrets import holds_secret, names_secret
from pratique.workload.dockerfile.expand import expand

ENGINE_SOCKETS = re.compile(
    r"(?:^|/)(?:docker\.sock|containerd\.sock|crio\.sock|podman\.sock|cri-dockerd\.sock|dockershim\.sock)$"
)
SYSTEM = re.compile(r"/(?:$|(?:boot|dev|etc|proc|sys|root)/?$|(?:dev|proc|sys)/)")
KERNEL = re.compile(r"/(?:proc|sys|dev|boot)(?:/|$)")
_SECRET_FILE = re.compile(
    r"(?:^|/)(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.env(?:\.(?:local|production|prod))?|\.npmrc|\.pypirc|\.netrc|\.git-credentials|\.pgpass"
    r"|\.htpasswd|\.dockercfg|credentials\.json|service-account[^/]*\.json|[^/]+\.(?:pem|key|pfx|p12|jks|keystore|kdbx))$"
    r"|(?:^|/)\.(?:aws|ssh|kube|docker|gnupg)(?:/|$)"
)
_PUBLIC = re.compile(r"(?:cert|chain|ca|public|pub|bundle)[^/]*\.pem$|\.pub$", re.IGNORECASE)
MAX_NAME = 255  # bytes of a file's name on Linux
_PASSED = re.compile(
    r"(?:^|\s)--?(?:password|passwd|token|api-key|secret|auth-token)[= ](?![-$<]|id=|env=)[^\s$]{4,}", re.IGNORECASE
)


def secret_variable(build: Build) -> Iterator[Hit]:
    """A secret stands in ENV, in the default of an ARG, or in a label; everybody with the image reads it."""
    for _, step, instruction in build.steps("ENV", "ARG", "LABEL"):
        for name, value in instruction.pairs:
            if value is None:
                continue
            text = expand(value.text, step.variables, build.dockerfile.escape)
            if holds_secret(name.text, text.text if text.known else value.text):
                named = f"{instruction.name} {name.text}"
                yield Hit(name.place, f"{named} holds a secret in the clear", named, f"{named}=(not shown)")


def secret_argument(build: Build) -> Iterator[Hit]:
    """A build argument is meant for a secret; its value is in the image's history."""
    for _, _, instruction in build.steps("ARG"):
        for name, value in instruction.pairs:
            if value is None and names_secret(name.text):
                yield hit(instruction, f"ARG {name.text} asks for a secret, which `docker history` then shows", name.place)


def secret_file(build: Build) -> Iterator[Hit]:
    """A file that holds keys or logins is copied into a layer."""
    for _, _, instruction in build.steps("COPY", "ADD"):
        for word in instruction.words[:-1]:
            if _SECRET_FILE.search(word.text) and not _PUBLIC.search(word.text[-MAX_NAME:]) and not instruction.flag("from"):
                yield hit(instruction, f"{word.text} holds keys or logins by its name", word.place)


def secret_command(build: Build) -> Iterator[Hit]:
    """A secret stands in a command; the layer's history shows it."""
    for run, command in build.invocations():
        words = [*command.assignments, *(word for word in command.program[1:] if command.name == "export")]
        for setter in words:
            name, _, value = setter.text.partition("=")
            if holds_secret(name, value):
                yield Hit(setter.place, f"{name} is set to a secret in a RUN", f"RUN {name}")
        for word in command.program[1:] if command.name != "export" else ():
            if holds_secret("", word.text):
                yield Hit(word.place, f"{command.name} is given a secret in the clear", f"RUN {command.name}")
        if _PASSED.search(" ".join(command.arguments)) and not run.instruction.flag("mount"):
            yield Hit(command.program[0].place, f"{command.name} is given a secret by an option", f"RUN {command.name} option")


def healthcheck(build: Build) -> Iterator[Hit]:
    """Nothing says how to see whether it still works."""
    if build.last is None:
        return
    stages = [stage for stage in build.stages if stage.number in build.shipped]
    names = [(instruction.name, instruction) for stage in stages for instruction in (step.instruction for step in stage.steps)]
    if not any(name == "HEALTHCHECK" for name, _ in names):
        yield hit(build.last.start, "no HEALTHCHECK")


def ssh_server(build: Build) -> Iterator[Hit]:
    """A way to log in over the network."""
    for _, _, instruction in build.steps("EXPOSE"):
        for word in instruction.words:
            if word.text in ("22", "22/tcp"):
                yield hit(instruction, "port 22 is that of a login service", word.place)
    for run, command in build.invocations():
        for package in installed(command) if run.shipped else ():
            if package.text.partition("=")[0] in ("openssh-server", "dropbear", "telnetd"):
                yield hit(run.instruction, f"{package.text} lets people log in over the network", package.place)


def insecure_build(build: Build) -> Iterator[Hit]:
    """A step asks for all privileges on the machine that builds."""
    for _, _, instruction in build.steps("RUN"):
        if instruction.flag("security") == "insecure":
            yield hit(instruction, "--security=insecure gives this step all privileges on the builder")


def host_network(build: Build) -> Iterator[Hit]:
    """A step is on the network of the machine that builds."""
    for _, _, instruction in build.steps("RUN"):
        if instruction.flag("network") == "host":
            yield hit(instruction, "--network=host puts this step on the builder's own network")


def engine_socket(build: Build) -> Iterator[Hit]:
    """The engine's socket is to be mounted; who has it, has the machine."""
    for _, _, instruction in build.steps("VOLUME"):
        for word in instruction.words:
            if ENGINE_SOCKETS.search(word.text):
                yield hit(instruction, f"{word.text} is the engine itself: who has it is root on the machine", word.place)


def system_workdir(build: Build) -> Iterator[Hit]:
    """The working directory lies in what the machine's kernel shows: with CVE-2024-21626 that was a way out of the container."""
    for _, step, instruction in build.steps("WORKDIR"):
        for word in instruction.words:
            path = expand(word.text, step.variables, build.dockerfile.escape).text
            if KERNEL.match(path):
                yield hit(instruction, f"WORKDIR {path[:80]} lies in a folder that the kernel shows", word.place)


def system_volume(build: Build) -> Iterator[Hit]:
    """A folder that the system lives in is a volume: what is mounted there is not what was built."""
    for _, _, instruction in build.steps("VOLUME"):
        for word in instruction.words:
            if SYSTEM.match(word.text):
                message = f"{word.text} of the image is a volume: what is mounted there decides how the system works"
                yield hit(instruction, message, word.place)


CHECKS: dict[str, Callable[[Build], Iterator[Hit]]] = {
    "df-secret-variable": secret_variable,
    "df-secret-argument": secret_argument,
    "df-secret-file": secret_file,
    "df-secret-command": secret_command,
    "df-healthcheck": healthcheck,
    "df-ssh-server": ssh_server,
    "df-insecure-build": insecure_build,
    "df-host-network": host_network,
    "df-engine-socket": engine_socket,
    "df-system-volume": system_volume,
    "df-system-workdir": system_workdir,
}
