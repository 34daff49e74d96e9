"""A Dockerfile in, what an image made from it asks for when nothing else is said out: the last stage's user, ports, variables."""

from __future__ import annotations

from pratique.workload.dockerfile.instructions import Dockerfile
from pratique.workload.dockerfile.stages import Stage, stages
from pratique.workload.spec import Spec, Variable, number_of


def extract(dockerfile: Dockerfile) -> Spec | None:
    """Return the Spec of the last stage, None without one. A user that a build argument decides is None, as if none were set."""
    found = stages(dockerfile)
    return spec_of(found[-1]) if found else None


def spec_of(stage: Stage) -> Spec:
    """Return what an image of this stage asks for."""
    user = stage.user.text if stage.user is not None and stage.user.known else None
    name, _, group = (user or "").partition(":")
    variables = []
    for step in stage.steps:
        if step.instruction.name == "ENV":
            for key, value in step.instruction.pairs:
                if value is not None:
                    variables.append(
                        Variable(key.text, stage.variables[key.text].text if key.text in stage.variables else "", key.place)
                    )
    places = {"user": stage.said.place} if stage.said is not None else {}
    return Spec(
        format="dockerfile",
        subject=f"stage {stage.name or stage.number}",
        place=stage.start.place,
        image=stage.base.text,
        user=name or None,
        group=group or None,
        uid=number_of(name),
        gid=number_of(group),
        environment=tuple(variables),
        places=places,
    )
