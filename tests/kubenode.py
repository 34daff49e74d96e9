"""A real node for a real API server, for tests: kubelet 1.20 with containerd and runc, on this machine, in folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import engineimages
from kubeserver import PROGRAM, ApiServer, Process
from loopback import free_port

KUBELET = PROGRAM.with_name("kubelet-1.20")
NAME = "localhost"  # the API server reaches a node by its name here
IMAGE = "docker.io/library/bb:1"
_SANDBOX = "docker.io/library/labelled:1"  # sleeps; nothing else is asked of what holds a pod's namespaces
_BRIDGE = "pqkube0"
# What a kubelet sets of its machine's kernel when it starts.
_SET = tuple(Path("/proc/sys") / name for name in (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
))  # fmt: skip
_NETNS = Path("/var/run/netns")
_TOOLS = ("containerd", "ctr", "runc", "busybox", "ip")


def missing() -> str:
    """Say what is not there, "" where all is."""
    if os.geteuid() != 0:
        return "needs root: it runs a node"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent or not Path("/usr/lib/cni/bridge").exists():
        return f"needs {', '.join(absent) or 'containernetworking-plugins'}"
    if not Path("/sys/fs/cgroup/memory").is_dir():
        return "needs control groups of version 1: the kubelet that Debian's sources give knows no others well"
    return "" if KUBELET.is_file() else f"needs a kubelet at {KUBELET}: build-apiserver.sh {KUBELET.parent} kubelet"


class Node:
    """One node; `stop` leaves nothing of it behind."""

    def __init__(self, folder: Path, api: ApiServer) -> None:
        folder.mkdir()
        self._folder = folder
        self._socket = folder / "containerd.sock"
        self._processes: list[Process] = []
        self._kernel = {path: path.read_text() for path in _SET if path.exists()}
        self._namespaces = _namespaces()
        try:
            self._start(api)
        except BaseException:
            self.stop()
            raise

    def _start(self, api: ApiServer) -> None:
        folder = self._folder
        (folder / "cni").mkdir()
        net = {
            "cniVersion": "0.4.0", "name": "pq",
            "plugins": [{"type": "bridge", "bridge": _BRIDGE, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.244.77.0/24"}]], "dataDir": str(folder / "ipam"),
            }}],
        }  # fmt: skip
        (folder / "cni" / "pq.conflist").write_text(json.dumps(net))
        (folder / "containerd.toml").write_text(
            f'version = 2\nroot = "{folder / "root"}"\nstate = "{folder / "state"}"\n[grpc]\naddress = "{self._socket}"\n'
            f'[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "{_SANDBOX}"\n'
            "restrict_oom_score_adj = true\n"  # a machine that is itself a guest may not lower it
            f'[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/usr/lib/cni"\nconf_dir = "{folder / "cni"}"\n'
            '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'
        )
        self._processes.append(Process(folder, "containerd", ["containerd", "--config", folder / "containerd.toml"]))
        archive = folder / "images.tar"
        archive.write_bytes(engineimages.archive())
        self._wait(lambda: self._ctr("version"))
        self._ctr("images", "import", str(archive), must=True)
        self._processes.append(Process(folder, "kubelet", self._kubelet(api)))
        ready = f"/api/v1/nodes/{NAME}"

        def is_ready() -> bool:
            said = api.ask("root", "GET", ready)
            conditions = said.body["status"].get("conditions", []) if said.status == 200 else []
            return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

        self._wait(is_ready, 180)

    def _kubelet(self, api: ApiServer) -> list[object]:
        folder = self._folder
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{api.port}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": "node"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        (folder / "kubelet.kubeconfig").write_text(json.dumps(config))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        endpoint = f"unix://{self._socket}"
        return [
            KUBELET, f"--kubeconfig={folder / 'kubelet.kubeconfig'}", f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'pki'}", f"--hostname-override={NAME}", "--container-runtime=remote",
            f"--container-runtime-endpoint={endpoint}", f"--image-service-endpoint={endpoint}", "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false", "--enforce-node-allocatable=", "--fail-swap-on=false", "--address=127.0.0.1",
            f"--port={free_port()}", "--healthz-port=0", "--read-only-port=0", "--anonymous-auth=true",
            "--authorization-mode=AlwaysAllow", f"--resolv-conf={folder / 'resolv.conf'}", "--eviction-hard=memory.available<1Mi",
            "--make-iptables-util-chains=false", "--image-gc-high-threshold=100", "--v=1",
        ]  # fmt: skip

    def _wait(self, done: object, seconds: float = 120) -> None:
        assert callable(done)
        end = time.monotonic() + seconds
        while not done():
            for process in self._processes:
                process.check()
            logs = "".join(process.log.read_text()[-1500:] for process in self._processes)
            assert time.monotonic() < end, logs
            time.sleep(0.2)

    def _ctr(self, *words: str, must: bool = False) -> bool:
        done = subprocess.run(
            ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *words], capture_output=True, text=True, check=False
        )
        assert not must or done.returncode == 0, done.stderr
        return done.returncode == 0

    def stop(self) -> None:
        for process in reversed(self._processes[1:]):
            process.stop()
        if self._processes:
            self._end_containers()
            self._processes[0].stop()
        for line in Path("/proc/mounts").read_text().splitlines()[::-1]:
            if line.split()[1].startswith(str(self._folder)):
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
        for name in _namespaces() - self._namespaces:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", _BRIDGE], check=False, capture_output=True)
        for path, before in self._kernel.items():
            path.write_text(before)
        for folder in sorted(Path("/sys/fs/cgroup").glob("*/k8s.io/**/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _end_containers(self) -> None:
        listed = subprocess.run(
            ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", "tasks", "list", "-q"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for name in listed.stdout.split():
            with contextlib.suppress(AssertionError):
                self._ctr("tasks", "delete", "--force", name)


def _namespaces() -> set[str]:
    """Return the network namespaces that plugins made for pods."""
    return {path.name for path in _NETNS.glob("cni-*")} if _NETNS.is_dir() else set()
