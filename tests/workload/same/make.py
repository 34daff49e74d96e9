"""Make the cases beside this file from real engines: one container each, as asked for, as inspected, and as started.

    python make.py docker DOCKER.sock IMAGE.tar EXEC-ROOT DATA-ROOT EXEC-ROOT
    python make.py podman PODMAN.sock IMAGE.tar ROOT ROOT RUNROOT

The image holds a static busybox and /etc/passwd with app (1234), toor (0) and root. The engine's own folders in the answers are
written as their usual ones. `create.json` is the input; `compose.yaml` was written by hand to say the same.
"""

import http.client
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text())


class Engine(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: object = None, raw: bytes | None = None) -> Any:
        content = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        self.request(method, path, content, {"Content-Type": "application/x-tar" if raw else "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:300]!r}")
        try:
            return json.loads(text)
        except ValueError:
            return text


def config_of(engine: str, root: str, name: str) -> Path:
    pattern = "*/io.containerd.runtime.v2.task/moby/{}/config.json" if engine == "docker" else "{}/userdata/config.json"
    found = list(Path(root).rglob(pattern.format(name).removeprefix("*/")))
    return found[0]


def said(text: str, data: str, run: str, engine: str) -> str:
    usual = "/var/lib/docker" if engine == "docker" else "/var/lib/containers/storage"
    text = re.sub(r"(?<![\w/])" + re.escape(data), usual, text)
    return re.sub(r"(?<![\w/])" + re.escape(run), "/run/containers/storage", text)


def main() -> None:
    engine, path, image, root, data, run = sys.argv[1:7]
    api = Engine(path)
    api.ask("POST", "/v1.41/images/create?fromSrc=-&repo=same&tag=latest", raw=Path(image).read_bytes())
    other = api.ask(
        "POST", "/v1.41/containers/create", {"Image": "same", "Cmd": ["/bin/sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
    )
    api.ask("POST", f"/v1.41/containers/{other['Id']}/start")
    made = [other["Id"]]
    for case, body in CASES.items():
        asked = json.loads(json.dumps(body).replace("OTHER", other["Id"]))
        asked = {"Image": "same", "Cmd": ["/bin/sleep", "600"], "StopTimeout": 1, **asked}
        asked["HostConfig"] = {"NetworkMode": "none", **asked.get("HostConfig", {})}
        if engine == "podman" and case == "seccomp-file":  # there the option is the path of a file
            continue
        folder = HERE / case
        folder.mkdir(exist_ok=True)
        name = api.ask("POST", "/v1.41/containers/create", asked)["Id"]
        made.append(name)
        api.ask("POST", f"/v1.41/containers/{name}/start")
        inspected = api.ask("GET", f"/v1.41/containers/{name}/json")
        config = config_of(engine, root, name).read_text()
        kept = json.loads(said(config, data, run, engine))
        kept["linux"]["devices"] = (kept["linux"].get("devices") or [])[::20]  # a privileged container has all of them
        syscalls = (kept.get("linux", {}).get("seccomp") or {}).get("syscalls")
        if syscalls and len(syscalls[0].get("names", ())) > 50:
            syscalls[0]["names"] = sorted(set(syscalls[0]["names"]))[::12]  # the list is long, and alike everywhere
        (folder / "create.json").write_text(json.dumps(asked, indent=1) + "\n")
        answer = json.loads(said(json.dumps(inspected), data, run, engine))
        (folder / f"{engine}-inspect.json").write_text(json.dumps(answer, indent=1) + "\n")
        (folder / f"{engine}-config.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
        api.ask("DELETE", f"/v1.41/containers/{name}?force=true&v=true")
        made.remove(name)
    for name in made:
        api.ask("DELETE", f"/v1.41/containers/{name}?force=true")


if __name__ == "__main__":
    os.umask(0o022)
    main()
