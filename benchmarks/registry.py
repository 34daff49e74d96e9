"""A registry, asked itself and through its gate, in; what the gate adds out: `python benchmarks/registry.py`. Fails over budget.

Asked one after the other on a connection that is kept, as a client does: what is shown is what the gate adds to each request.
Layers are streamed through it; the budget for them is a rate. Needs docker-registry, and `tests` on the path for its helper.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import imagebuilder
from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec
from pratique.enforce.registry.gate import UPSTREAM
from pratique.enforce.registry.tokens import Access, Tokens, load_signer
from registrygate import Gated, digest, gated, package

TIMES = 400
LAYER = 256 << 20  # bytes of the large layer
P50_ADDED, P99_ADDED = 3.0, 30.0  # milliseconds that the gate may add to a small request; what is late is mostly the machine
RATE = 100.0  # MB/s of a layer through the gate, on a machine with two cores that the registry and the client share
ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


class Side:
    """One connection to one of the two, with the token that it takes."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self._address, self._token = address, token
        self._connection = http.client.HTTPConnection(*address, timeout=60)

    def ask(self, method: str, path: str) -> tuple[int, int]:
        """Ask; return status and size of the answer."""
        self._connection.request(method, path, headers={"Authorization": f"Bearer {self._token}", **ACCEPT})
        answer = self._connection.getresponse()
        size = 0
        while part := answer.read(1 << 20):
            size += len(part)
        return answer.status, size


def timed(act: Callable[[], object], times: int) -> list[float]:
    """Return milliseconds of each call, sorted."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)


def main() -> int:
    spec = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))
    with tempfile.TemporaryDirectory() as folder, gated(Path(folder), admission=spec) as gate:
        return measure(gate)


def measure(gate: Gated) -> int:
    image = package("99", "harmless")
    gate.grant("push:team/app")
    token = gate.token("alice", "repository:team/app:pull,push")
    first = gate.push("team/app", image, "1", token)
    assert first.status == 201, first
    large = bytes(LAYER)
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    began = time.perf_counter()
    assert gate.ask("PUT", f"{at}&digest={digest(large)}", token, large).status == 201
    pushed = LAYER / 1e6 / (time.perf_counter() - began)
    manifest = json.loads(image.manifest)
    manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(large), "size": LAYER})
    manifest["layers"][-1]["mediaType"] = "application/vnd.example.thing"
    manifest["config"]["mediaType"] = "application/vnd.example.config"
    manifest["layers"] = manifest["layers"][-1:]
    put = gate.ask("PUT", "/v2/team/app/manifests/large", token, imagebuilder.encode(manifest), Content_Type=image.media_type)
    assert put.status == 201, put.body
    own = Tokens(load_signer(gate.place.folder / "gate/registry"), UPSTREAM)
    bare = Side(gate.upstream, own.issue("x", (Access("repository", "team/app", ("pull",)),), 600)[0])
    through = Side(gate.address, gate.token("bob", "repository:team/app:pull"))
    layer = str(json.loads(image.manifest)["layers"][0]["digest"])
    late = False
    for name, method, path in (
        ("manifest by tag", "GET", "/v2/team/app/manifests/1"),
        ("manifest by digest", "GET", f"/v2/team/app/manifests/{image.digest}"),
        ("HEAD of a manifest", "HEAD", "/v2/team/app/manifests/1"),
        ("a small layer", "GET", f"/v2/team/app/blobs/{layer}"),
        ("list of tags", "GET", "/v2/team/app/tags/list"),
    ):
        assert through.ask(method, path)[0] == 200
        without, with_ = (timed(partial(side.ask, method, path), TIMES) for side in (bare, through))
        p50, p99 = (with_[int(TIMES * part)] - without[int(TIMES * part)] for part in (0.5, 0.99))
        late |= p50 > P50_ADDED or p99 > P99_ADDED
        direct = statistics.median(without)
        print(f"{name:<20} {direct:6.2f} ms direct, the gate adds p50 {p50:5.2f} ms, p99 {p99:6.2f} ms")
    rates = {}
    for name, side in (("direct", bare), ("gate", through)):
        took = timed(partial(side.ask, "GET", f"/v2/team/app/blobs/{digest(large)}"), 3)
        rates[name] = LAYER / 1e6 / (took[1] / 1000)
    through_it = f"{rates['gate']:6.0f} through the gate, {pushed:6.0f} pushed"
    print(f"a layer of 256 MiB   {rates['direct']:6.0f} MB/s direct, {through_it}")
    times = timed(lambda: gate.login("bob", "repository:team/app:pull"), 50)
    print(f"{'a token':<20} {times[25]:6.2f} ms (the password known for a minute; the first costs a hash)")
    return 1 if late or rates["gate"] < RATE else 0


if __name__ == "__main__":
    sys.exit(main())
