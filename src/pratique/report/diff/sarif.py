"""Differences in, SARIF out: what is introduced and nothing else, for code scanning of a change."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from pratique.report.diff import Compared
from pratique.report.sarif import REPORTER as WHOLE


class _Sarif:
    name = "sarif"
    media_type = WHOLE.media_type

    def write(self, compared: Compared, out: BinaryIO) -> None:
        """Write the findings of the newer report that the older does not have, or has less grave."""
        findings = []
        for change in compared.diff.findings:
            if change.introduced and change.new is not None:
                state = "new" if change.old is None else "updated"
                findings.append(msgspec.structs.replace(change.new, baseline=state))
        WHOLE.write(msgspec.structs.replace(compared.new, findings=tuple(findings)), out)


REPORTER = _Sarif()
