"""Evidence that only checks of an image ask for in, files of accounts and of secrets out."""

from __future__ import annotations

from collections.abc import Container, Sequence

import msgspec

from pratique.inventory.squash import Seen
from pratique.model.inventory import AccountFile, AccountsEvidence, Gap, SecretEvidence, SecretFile
from pratique.model.layer import LayerRecord

ACCOUNTS = frozenset(("etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"))  # no package is looked for in them
KEYS = "keys"  # the inspector of files with secrets
MAX_SECRETS = 2_000  # of one image; one of a hundred has a cause that ten show as well


def accounts(alive: Sequence[Seen], diff_ids: Sequence[str]) -> tuple[AccountFile, ...]:
    """Return the files of accounts that are there in the end, each with the layer that wrote it last."""
    return tuple(
        AccountFile(file=item.file, layer=diff_ids[seen.layer] if diff_ids else "", mode=item.mode, entries=item.entries)
        for seen in alive
        for item in seen.located.evidence
        if isinstance(item, AccountsEvidence)
    )


def unread(records: Sequence[LayerRecord]) -> list[Gap]:
    """Take out of the records, and return, what could not be read of files that may hold secrets."""
    found: list[Gap] = []
    for record in records:
        part = record.inspected.get(KEYS)
        if part is not None and part.gaps:
            found += [msgspec.structs.replace(gap, layer=record.diff_id) for gap in part.gaps]
            record.inspected[KEYS] = msgspec.structs.replace(part, gaps=())
    return found


def secrets(
    records: Sequence[LayerRecord], alive: Sequence[Seen], diff_ids: Sequence[str], owned: Container[str]
) -> tuple[SecretFile, ...]:
    """Return the files with keys or logins of every layer, those left out that a package of the distribution brought to all."""
    there = {id(item) for seen in alive for item in seen.located.evidence if isinstance(item, SecretEvidence)}
    found = [
        SecretFile(located.path, diff_id, item.what, id(item) not in there)
        for record, diff_id in zip(records, diff_ids, strict=True)
        for located in (record.inspected[KEYS].located if KEYS in record.inspected else ())
        for item in located.evidence
        if isinstance(item, SecretEvidence) and located.path not in owned
    ]
    return tuple(sorted(found)[:MAX_SECRETS])
