"""What people try at a registry's gate, as data: each is first shown to do its harm where nobody looks, then it is refused.

That is a registry that nobody guards, or a gate that forgets the check in question. The refusal is in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec
from pratique.enforce.registry.access import AccessSpec, Readers
from registryattacks import Attack, Attempt, Operation, Sides, both, denials, load, operations
from registrygate import gated

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
ATTACKS, OPERATIONS = load(), operations()
ADMISSION = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))
ACCESS = AccessSpec(
    readers=(Readers(repositories=("team/*",), anybody=True), Readers(repositories=("secret/*",), ids=("unix:alice",)))
)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("attacks")
    with gated(folder / "gated", access=ACCESS, admission=ADMISSION) as found, both(found, folder / "bare") as made:
        yield made


def test_there_are_many() -> None:
    """All families are there, no two are one, and few have nothing to show without a gate; those say why."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 130
    without = [attack for attack in ATTACKS if attack.only_gated]
    assert len(without) <= 12
    assert all(len(attack.only_gated) > 30 for attack in without)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_stopped(sides: Sides, attack: Attack) -> None:
    """It works where nobody looks; the gate refuses it with a sentence, and has it on record."""
    if not attack.only_gated:
        free = Attempt(attack, sides.free(attack))
        said = free.run()
        assert free.worked(said), f"without a gate it does nothing, so that it proves nothing: {said}"
    before = len(denials(sides.held.gated))
    held = Attempt(attack, sides.held)
    said = held.run()
    assert not held.worked(said) or said.status not in range(200, 300), f"the gate lets it through: {said}"
    assert said.status in attack.refused.status, said
    if said.body and said.status >= 400:
        assert "pratique: " in said.why, said
        assert attack.refused.says in said.why, said
    if attack.refused.recorded:
        now = denials(sides.held.gated)
        # One that is like many before it is counted, and written when the counting ends; those before it are there.
        alike = [line for line in now if line.reason and line.reason[:60] in said.body.decode("latin-1")]
        assert len(now) > before or alike, "it is not in the ledger"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_ordinary_work_goes_on(sides: Sides, operation: Operation) -> None:
    """The same answer with the gate and without it, body included."""
    free, held = Attempt(operation, sides.bare), Attempt(operation, sides.held)
    wanted, said = free.run(), held.run()
    assert said.status == wanted.status, (wanted, said)
    assert free.worked(wanted), wanted
    assert held.worked(said), said
    if wanted.status == 200 and operation.name not in ("the-version", "list-tags"):  # which say of themselves how they write JSON
        assert said.body == wanted.body.replace(free.words["repo"].encode(), held.words["repo"].encode())
