"""A request, a policy, the grants that live and the moment in, one Decision out: pure, and total.

Nothing is allowed beyond the baseline and the grants; what cannot be decided is denied. Every denial carries the rule, the
attribute, a sentence, and the command that asks for what is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from pratique._kit.references import repository
from pratique.grant import needed as needs
from pratique.grant import privileges
from pratique.grant.asking import is_for, lasts
from pratique.grant.conditions import Asking
from pratique.grant.index import GrantIndex
from pratique.grant.lifecycle import unreviewed
from pratique.grant.needed import Need, needed
from pratique.grant.policy import CompiledEntitlement, Part, PrivilegePolicy
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request
from pratique.grant.rules import Broken
from pratique.grant.scopes import image_matches, is_digest
from pratique.grant.usable import Use, check
from pratique.model.privilege import PEER, Decision, Denial, Moment, Obligation
from pratique.workload.spec import DEFAULT_CAPABILITIES

MAX_TRIED = 200  # grants looked at for one privilege: more have nobody who holds them sensibly, and time is short at a gate


def decide(request: Request, policy: PrivilegePolicy, grants: GrantIndex, now: Moment) -> Decision:
    """Decide. Never raises: what goes wrong is a denial by the rule `internal`."""
    try:
        return _Case(request, policy, grants, now).decision()
    except Exception as error:  # noqa: BLE001 - a gate that cannot decide denies, and says so
        text = f"it could not be decided ({type(error).__name__})"
        return Decision(ruling="deny", reasons=(Denial(rule="internal", path="", text=text),), policy=policy.digest)


class _Case:
    def __init__(self, request: Request, policy: PrivilegePolicy, grants: GrantIndex, now: Moment) -> None:
        self._request = request
        self._policy = policy
        self._grants = grants
        self._now = now
        self._parts = policy.parts_for(request.subject, request.target)
        self._tried: dict[str, Use | str] = {}

    def decision(self) -> Decision:
        request = self._request
        if request.action == "read":
            return self._reading()
        wanted = self._needed()
        names = tuple(str(need.privilege) for need in wanted)
        denials = [*self._unknown(wanted), *self._ruled(names)]
        uses: list[Use] = []
        if not denials and wanted:
            uses, missing = self._cover(wanted)
            denials = self._missing(missing)
            if not denials and request.spec is not None and request.spec.restart not in (None, "", "no"):
                denials.append(_restarts(request.spec.restart))
        if denials:
            return Decision(ruling="deny", needed=names, reasons=tuple(denials), policy=self._policy.digest)
        return Decision(
            ruling="allow_with_grant" if uses else "allow",
            needed=names,
            grants=tuple(use.grant.id for use in uses),
            obligations=tuple(self._obligations(uses)),
            policy=self._policy.digest,
        )

    def _reading(self) -> Decision:
        """Looking needs nothing, so that operators can see; only a rule that names the action `read` says otherwise."""
        asking = Asking(self._request, (), self._now)
        broken = [one for part in self._parts if part.rules.reads for one in part.rules.broken(asking)]
        denials = tuple(_denied(one) for one in broken if "read" in one.rule.actions)
        return Decision(ruling="deny" if denials else "allow", reasons=denials, policy=self._policy.digest)

    # -- what is needed -------------------------------------------------------------------------------------------------------

    def _needed(self) -> list[Need]:
        """What each of the policies that apply needs: the strictest baseline holds."""
        found: dict[Privilege, Need] = {}
        for part in self._parts:
            for need in [*needs.needed_for(self._request, part.baseline), *self._image(part)]:
                found.setdefault(need.privilege, need)
        if len(self._parts) == 1:
            return list(found.values())
        left = set(privileges.fewest(found))
        return [need for need in found.values() if need.privilege in left]

    def _image(self, part: Part) -> list[Need]:
        target = self._request.target
        if self._request.action not in ("run", "ephemeral") or not part.scope.images:
            return []
        if any(image_matches(image, target) for image in part.scope.images):
            return []
        name = f"{repository(target.reference) or target.reference or '?'}@{target.digest or 'sha256:?'}"
        want = privileges.of("run.image", name)
        why = "" if is_digest(target.digest) else "; it is named without a digest"
        if privileges.covered(part.baseline.privileges, want):
            return []
        return [Need(want, "spec.image", f"the image is none of the policy's{why}")]

    # -- what is denied whatever was granted ----------------------------------------------------------------------------------

    def _unknown(self, wanted: Sequence[Need]) -> list[Denial]:
        spec, subject = self._request.spec, self._request.subject
        unknown = spec.unknown if spec is not None else ()
        found = [Denial(rule="unknown", path="spec", text=f"it asks for what is not understood here: {one}") for one in unknown]
        known = subject is not None and (
            self._request.point == "prompt" or (subject.strength >= PEER and subject.provider != "claimed")
        )
        if not known:
            if wanted:
                found += [
                    Denial(rule="identity", path=need.path, text=f"{need.text}, and nobody knows who asks for {need.privilege}")
                    for need in wanted
                ]
            elif not all(part.baseline.written.anonymous for part in self._parts):
                found.append(Denial(rule="identity", path="subject", text="nobody knows who asks"))
        return found

    def _ruled(self, names: tuple[str, ...]) -> list[Denial]:
        asking = Asking(self._request, names, self._now)
        return [_denied(broken) for part in self._parts for broken in part.rules.broken(asking)]

    # -- what grants give -----------------------------------------------------------------------------------------------------

    def _cover(self, wanted: Sequence[Need]) -> tuple[list[Use], list[tuple[Need, str]]]:
        """Choose few grants that cover what is needed; return them, and what none covers with why the nearest does not."""
        helps: dict[str, tuple[Use, set[int]]] = {}
        missing = []
        for number, need in enumerate(wanted):
            why = self._helpers(number, need, helps)
            if not any(number in covered for _, covered in helps.values()):
                missing.append((need, why))
        if missing:
            return [], missing
        left = set(range(len(wanted)))
        chosen: list[Use] = []
        while left:
            use, covered = max(helps.values(), key=lambda one: _worth(one, left))
            chosen.append(use)
            left -= covered
        return sorted(chosen, key=lambda use: use.grant.id), []

    def _helpers(self, number: int, need: Need, helps: dict[str, tuple[Use, set[int]]]) -> str:
        subject = self._request.subject
        assert subject is not None  # who is not known was denied before
        frozen = unreviewed(self._grants.broken(subject), self._policy, self._now)
        why = ""
        for tried, held in enumerate(self._grants.candidates(subject, need.privilege, self._request.target)):
            if tried == MAX_TRIED:
                return f"more than {MAX_TRIED} grants might hold"
            use = self._check(held.grant.id)
            if isinstance(use, str):
                why = f"{held.grant.id}: {use}"
            elif frozen and not use.grant.asked.break_glass:
                why = f"{held.grant.id} waits until {frozen[0].id}, for which the glass was broken, is reviewed"
            elif use.entitled is not None and not privileges.covered(use.entitled, need.privilege):
                why = f"{held.grant.id}: {use.grant.asked.entitlement} no longer gives it"
            else:
                helps.setdefault(held.grant.id, (use, set()))[1].add(number)
        return why

    def _check(self, name: str) -> Use | str:
        if name not in self._tried:
            grant = self._grants.get(name)
            self._tried[name] = "it is gone" if grant is None else check(grant, self._request, self._policy, self._now)
        return self._tried[name]

    def _missing(self, missing: Sequence[tuple[Need, str]]) -> list[Denial]:
        commands = self._commands([need.privilege for need, _ in missing])
        return [
            Denial(
                rule=f"privilege {need.privilege}",
                path=need.path,
                text=f"{need.text}: this needs {need.privilege}"
                + (f" ({why})" if why else "")
                + ("" if need.privilege in commands else ", and nothing entitles to it"),
                request=commands.get(need.privilege, ""),
            )
            for need, why in missing
        ]

    def _commands(self, missing: Sequence[Privilege]) -> dict[Privilege, str]:
        """Return the command that asks for each of the privileges; those of one entitlement are asked for together."""
        subject = self._request.subject
        entitlements = self._policy.entitlements(subject, self._request.target) if subject is not None else []
        found: dict[Privilege, str] = {}
        together: dict[str, tuple[CompiledEntitlement, list[Privilege]]] = {}
        for privilege in missing:
            for entitlement in entitlements:
                if entitlement.covers([privilege]) and subject is not None and is_for(entitlement, subject, self._now):
                    together.setdefault(entitlement.id, (entitlement, []))[1].append(privilege)
                    break
        for entitlement, asked in together.values():
            command = request_command(self._request, entitlement, asked)
            found.update(dict.fromkeys(asked, command))
        return found

    def _obligations(self, uses: Sequence[Use]) -> Iterable[Obligation]:
        request = self._request
        if request.action in ("run", "ephemeral", "exec", "change"):  # an engine's own doing in a container is a change
            baselines = [part.baseline.privileges for part in self._parts]
            has = [one for one in baselines[0] if all(privileges.covered(other, one) for other in baselines)]
            has += [one for use in uses for one in privileges.parse_all(use.grant.asked.privileges)]
            owed = needs.obligations(request.spec, has)
            for most in (use.grant.asked.scope.capabilities for use in uses):
                owed += [
                    Obligation("drop", name) for name in sorted(DEFAULT_CAPABILITIES) if most is not None and name not in most
                ]
            yield from dict.fromkeys(owed)
        if uses:
            yield Obligation("record")
            yield Obligation("kill_at", f"{min(use.ends for use in uses):.3f}")
            for taint in sorted({use.taint for use in uses} - {""}):
                yield Obligation("taint", taint)


def _worth(helper: tuple[Use, set[int]], left: set[int]) -> tuple[int, bool, str]:
    use, covered = helper
    return len(covered & left), not use.grant.asked.break_glass, use.grant.id


def request_command(request: Request, entitlement: CompiledEntitlement, asked: Sequence[Privilege]) -> str:
    """Return the command that asks for privileges, for this target and no other; TASK and TEXT are for the person to fill in."""
    target = request.target
    words = ["pratique", "grant", "request"]
    for privilege in privileges.fewest(asked):
        words += ["--privilege", str(privilege)]
    words += ["--task", "TASK", "--reason", "TEXT"]
    if entitlement.written.ticket.required:
        words += ["--ticket", "TICKET"]
    words += ["--for", lasts(entitlement.max_ttl or privileges.lifetime(asked))]
    if target.container and request.action not in ("run", "ephemeral"):
        words += ["--container", target.container]
    elif is_digest(target.digest):
        words += ["--image", f"{repository(target.reference)}@{target.digest}" if target.reference else target.digest]
    elif target.container:
        words += ["--container", target.container]
    host = "" if target.container else target.host  # a container is on one host
    narrow = (("--namespace", target.namespace), ("--cluster", target.cluster), ("--host", host))
    words += [word for option, name in narrow if name for word in (option, name)]
    return " ".join(map(shlex.quote, words))


def _denied(broken: Broken) -> Denial:
    path = next((name for name in broken.rule.condition.names if name.startswith(("spec.", "target.", "request."))), "")
    text = " ".join((broken.rule.message or broken.rule.condition.text).split())
    if broken.error:
        text = f"the rule could not be asked, so that it denies: {broken.error} ({text})"
    return Denial(rule=broken.rule.id, path=path, text=text)


def _restarts(policy: str | None) -> Denial:
    text = f"what runs with a grant does not start again by itself, and this restarts ({policy}): leave the restart policy out"
    return Denial(rule="restart", path="spec.restart", text=text)


__all__ = ["decide", "needed", "request_command"]
