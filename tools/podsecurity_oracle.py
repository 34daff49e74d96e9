"""Pods in, what the API server's own PodSecurity admission says about them out: recorded, and compared with the gate and lint.

    python tools/podsecurity_oracle.py build GOPATH PROGRAM
    python tools/podsecurity_oracle.py compare PROGRAM [FIRST [PODS]]
    python tools/podsecurity_oracle.py record PROGRAM ABOUT [PODS]
    python tools/podsecurity_oracle.py server https://HOST:PORT TOKEN-FILE CA-FILE [VERSION...]

`build` compiles podsecurity_oracle.go with upstream's sources: GOPATH/src/k8s.io/pod-security-admission holds `api` and `policy`
of the release that is wanted (1.34 or later), and Debian 13's golang-k8s-api-dev, golang-k8s-apimachinery-dev,
golang-k8s-component-base-dev and golang-k8s-sigs-yaml-dev what they import. `compare` asks the program about fresh pods. `record`
writes the two files that the tests read; ABOUT is a JSON file that says which release that is, from where, and what was changed.

`server` is for somebody with a cluster of 1.25 or later at hand: it makes two namespaces a version (v1.N; the server's own minor
at most), labelled with the level, and the recorded pods in them with `dryRun=All`; nothing runs.

Exit codes: 0 no difference, 1 there are some, 2 bad usage, 3 it could not be done.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import podmaking
import podreading
import podspelling

_GO = "/usr/lib/go-1.24/bin/go"
_DEBIANS = "/usr/share/gocode"
_PODS = 3_000  # of those that chance makes, recorded beside those that differ in one field
_FRESH = 100_000  # the first number of the pods that are compared and not recorded
_MADE, _REFUSED, _THERE, _INVALID = 201, 403, 409, 422  # the last: refused before any standard was asked


def build(gopath: str, program: str) -> int:
    """Compile the program that answers."""
    source = Path(__file__).with_suffix(".go")
    go = _GO if Path(_GO).exists() else "go"
    settings = {
        "GO111MODULE": "off",
        "GOPATH": f"{Path(gopath).absolute()}:{_DEBIANS}",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    return subprocess.run([go, "build", "-o", program, str(source)], env=os.environ | settings, check=False).returncode and 3


def _answers(program: str, asked: Sequence[Any], *options: str) -> list[Any]:
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    words = [str(Path(program).absolute()), *options]
    done = subprocess.run(words, input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(asked):
        raise ValueError(f"{len(answers)} answers about {len(asked)} pods")
    return answers


def _ask(program: str, pods: list[dict[str, Any]]) -> list[podreading.Case]:
    answers = _answers(program, pods)
    for number, answer in enumerate(answers):
        if "error" in answer:
            raise ValueError(f"pod {pods[number]['metadata']}: {answer['error']}")
    return [
        podreading.Case(number, pod, {level: podreading.changes(answer[level]) for level in podreading.LEVELS})
        for number, (pod, answer) in enumerate(zip(pods, answers, strict=True))
    ]


def _minors(cases: list[podreading.Case]) -> list[int]:
    newest = max(minor for case in cases for minor in case.boundaries())
    return list(range(newest + 2))


def compare(program: str, first: str = str(_FRESH), many: str = "20000") -> int:
    """Ask about fresh pods at every version, print each difference, and say how many."""
    pods = [podmaking.make(number) for number in range(int(first), int(first) + int(many))]
    cases = _ask(program, pods)
    minors, different = _minors(cases), 0
    for case in cases:
        for difference in podreading.differences(case, minors):
            different += 1
            print(difference, json.dumps(case.pod))
    print(f"{len(cases)} pods at v1.0 to v1.{minors[-1]}, both levels: {different} differences")
    return 1 if different else 0


def record(program: str, about: str, many: str = str(_PODS)) -> int:
    """Write the file that the tests read."""
    said = json.loads(Path(about).read_text("utf-8"))
    cases = _ask(program, [*podmaking.singles(), *map(podmaking.make, range(int(many)))])
    lines = [json.dumps(said | {"pods": len(cases)}, sort_keys=True)]
    for case in cases:
        answers = {level: [[since, sorted(checks)] for since, checks in case.said[level]] for level in podreading.LEVELS}
        lines.append(json.dumps({"pod": case.pod, **answers}, separators=(",", ":")))
    _write(podreading.RECORDED, lines)
    files = podspelling.files()
    lines = [json.dumps(said | {"files": len(files)}, sort_keys=True)]
    for text, answer in zip(files, _answers(program, files, "-yaml"), strict=True):
        lines.append(json.dumps({"text": text, **({"refused": True} if "error" in answer else answer)}, separators=(",", ":")))
    _write(podreading.FILES, lines)
    return 0


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), 9, mtime=0))
    print(f"{path}: {len(lines) - 1} cases, {path.stat().st_size} bytes")


def _poster(address: str, token: str, authority: str) -> Callable[[str, dict[str, Any]], tuple[int, str]]:
    import ssl

    context = ssl.create_default_context(cafile=authority)
    bearer = Path(token).read_text("ascii").strip()

    def post(path: str, item: dict[str, Any]) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        request = urllib.request.Request(address.rstrip("/") + path, json.dumps(item).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, str(json.loads(error.read()).get("message", ""))

    return post


def server(address: str, token: str, authority: str, *versions: str) -> int:
    """Ask a real API server about the recorded pods, print where it says something else, and say how many."""
    post, different, compared, invalid = _poster(address, token, authority), 0, 0, 0
    for text in versions or ("v1.25",):
        minor = int(text.removeprefix("v1."))
        for level in podreading.LEVELS:
            name = f"pss-{level}-{text.replace('.', '-')}"
            labels = {"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": text}
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            status, message = post("/api/v1/namespaces", namespace)
            if status not in (_MADE, _THERE):
                raise ValueError(f"the namespace {name}: {status} {message}")
            for case in podreading.recorded().cases:
                pod = case.pod | {"metadata": case.pod["metadata"] | {"namespace": name}}
                status, message = post(f"/api/v1/namespaces/{name}/pods?dryRun=All", pod)
                if status == _INVALID:
                    invalid += 1
                    continue
                if status != _MADE and not (status == _REFUSED and "violates PodSecurity" in message):
                    raise ValueError(f"pod {case.number}: {status} {message}")
                compared += 1
                if (status == _MADE) != (not case.violated(level, minor)):
                    different += 1
                    print(f"pod {case.number}, {level}:{text}: the server says {message or 'yes'}")
    print(f"{compared} compared, {invalid} that the server refuses beforehand, {different} differences")
    return 1 if different else 0


_ORDERS: dict[str, Callable[..., int]] = {"build": build, "compare": compare, "record": record, "server": server}


def _usage() -> Iterator[str]:
    yield from (line.strip() for line in str(__doc__).splitlines() if line.startswith("    python"))


def main() -> NoReturn:
    """Do what is asked for."""
    order, given = _ORDERS.get(sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if order is None or len(given) < order.__code__.co_argcount - len(order.__defaults__ or ()):
        print("\n".join(_usage()), file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(order(*given))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"podsecurity_oracle: {error}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
