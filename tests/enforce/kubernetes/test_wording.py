"""What a denial tells a cluster's user to type is an order, of the same things."""

from __future__ import annotations

import pytest

from pratique.enforce.kubernetes.wording import as_order

ASK = "pratique grant request --privilege exec.any --task TASK --reason TEXT --for 30m"
SAID = "request -p exec.any --task TASK --reason TEXT --for 30m"


@pytest.mark.parametrize(
    ("command", "order"),
    [
        (
            f"{ASK} --container shop/w-0/c --namespace shop",
            f"kubectl pratique -n shop {SAID} --pod w-0 -c c",
        ),
        (
            f"{ASK} --privilege run.cap:CHOWN --ticket TICKET --image reg.example/a@sha256:0 --namespace shop",
            f"kubectl pratique -n shop {SAID} -p run.cap:CHOWN --ticket TICKET --image reg.example/a@sha256:0",
        ),
        (ASK, f"kubectl pratique {SAID} --everywhere"),
        (f"{ASK} --container 'a b'", f"kubectl pratique {SAID} --everywhere"),
        ("", ""),
        ("pratique break-glass use", "pratique break-glass use"),
    ],
)
def test_commands_become_orders(command: str, order: str) -> None:
    """Namespace, pod and container by the options that kubectl's users know."""
    assert as_order(command) == order
