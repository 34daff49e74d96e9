"""Files and images in, what a gate would deny about them out, as findings beside those of lint and scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from pratique.grant.prompt import ID, Asker, Book, about_spec, findings
from pratique.model.errors import ParseError, PratiqueError
from pratique.model.finding import Finding
from pratique.model.report import Reason, Verdict
from pratique.workload.image_config import extract
from pratique.workload.read import specs


class Forecast(NamedTuple):
    """Who would run things, and by which policy and grants that would be decided."""

    asker: Asker
    book: Book

    def file(self, path: str, content: bytes) -> tuple[Finding, ...]:
        """Return what would be denied about all that a file asks to run; of a file that cannot be read, lint says so."""
        try:
            found = specs(path, content)
        except PratiqueError:
            return ()
        return tuple(findings(path, [(spec, about_spec(spec, self.asker, self.book)) for spec in found]))

    def image(self, config: Mapping[str, Any], reference: str, digest: str) -> tuple[Finding, ...]:
        """Return what would be denied about running an image when nothing else is said."""
        try:
            spec = extract(config, subject=reference or "image")
        except (ParseError, TypeError, AttributeError, ValueError):
            return ()  # a configuration that is none; the scan says so
        place = msgspec.structs.replace(self.asker.target, reference=reference, digest=digest)
        answer = about_spec(spec, self.asker._replace(target=place), self.book)
        return tuple(findings("", [(spec, answer)]))

    def ruled(self, verdict: Verdict, found: Iterable[Finding]) -> Verdict:
        """Return the verdict, or that a gate would deny it: no waiver counts there."""
        denied = [one for one in found if one.id == ID]
        if not denied:
            return verdict
        count = "1 thing" if len(denied) == 1 else f"{len(denied)} things"
        reason = Reason("privileges", f"a gate would deny {count}", tuple(sorted({one.fingerprint for one in denied})))
        return Verdict(decision="deny", policy=verdict.policy, reasons=(reason, *verdict.reasons))
