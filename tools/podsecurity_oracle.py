"""The generated pods in, what a real API server's own PodSecurity admission says about them out; compared with ours.

    python tools/podsecurity_oracle.py https://HOST:PORT TOKEN-FILE CA-FILE [VERSION...]

For somebody with a cluster of 1.25 or later at hand: it makes two namespaces a version, labelled with the level,
and pods in them with `dryRun=All`; nothing runs. Exit codes: 0 no difference, 1 there are some, 3 the server does not answer.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import podmaking
from pratique.workload import pss

PODS = 3_000
INVALID = 422  # refused before any standard was asked


def main() -> int:
    """Compare, print each difference, and say how many."""
    import ssl

    address, token, authority, *versions = sys.argv[1:]
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

    different = compared = 0
    for text in versions or ["latest"]:
        for level in ("baseline", "restricted"):
            name = f"pss-{level}-{text.replace('.', '-')}"
            labels = {"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": text}
            post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
            for number in range(PODS):
                pod = podmaking.make(number)
                pod["metadata"]["namespace"] = name
                status, message = post(f"/api/v1/namespaces/{name}/pods?dryRun=All", pod)
                if status == INVALID:
                    continue
                compared += 1
                theirs = not (status == 403 and "violates PodSecurity" in message)
                if theirs != (not pss.violations(pod, level, pss.parse_version(text))):
                    different += 1
                    print(f"pod {number}, {level}:{text}: the server says {message or 'yes'}")
    print(f"{compared} compared, {different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"the API server does not answer: {error}")
