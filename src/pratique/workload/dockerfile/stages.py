"""Instructions in, stages out: what each is built from, its variables, and the user that is in force at each instruction."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pratique.model.errors import BudgetExceededError
from pratique.workload.dockerfile.expand import Value, expand
from pratique.workload.dockerfile.instructions import Dockerfile, Instruction, Word

MAX_VARIABLES = 500  # a stage; real images have some dozens, and each instruction keeps what holds before it
_UNKNOWN = Value("", known=False)


class Step(msgspec.Struct, frozen=True):
    """One instruction in its stage: the variables and the user before it; `user` is None where nothing in the file set one."""

    instruction: Instruction
    variables: dict[str, Value]
    user: Value | None
    shell: tuple[str, ...] = ()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """From one FROM to the next. `base` is what FROM names, `parent` the number of the stage where that is one, else -1.

    `user` is the USER of its end, inherited from the stage it is built from; `said` is the instruction that set it.
    """

    number: int
    name: str
    start: Instruction
    image: Word | None
    base: Value
    parent: int
    steps: tuple[Step, ...]
    variables: dict[str, Value]
    user: Value | None
    said: Instruction | None


def stages(dockerfile: Dockerfile) -> tuple[Stage, ...]:
    """Divide a file at its FROM instructions. Raises BudgetExceededError for one with too many variables."""
    return tuple(_Reader(dockerfile).stages())


class _Reader:
    def __init__(self, dockerfile: Dockerfile) -> None:
        self._dockerfile = dockerfile
        self._globals: dict[str, Value] = {}
        self._done: list[Stage] = []

    def stages(self) -> Iterator[Stage]:
        groups: list[tuple[Instruction, list[Instruction]]] = []
        for instruction in self._dockerfile.instructions:
            if instruction.name == "FROM":
                groups.append((instruction, []))
            elif groups:
                groups[-1][1].append(instruction)
            elif instruction.name == "ARG":
                self._arguments(instruction, self._globals, {})
        for start, body in groups:
            stage = self._stage(start, body)
            self._done.append(stage)
            yield stage

    def _stage(self, start: Instruction, body: list[Instruction]) -> Stage:
        image = start.words[0] if start.words else None
        base = expand(image.text, self._globals, self._dockerfile.escape) if image is not None else _UNKNOWN
        parent = self._find(base.text) if base.known else -1
        above = self._done[parent] if parent >= 0 else None
        variables = dict(above.variables) if above is not None else {}
        user, said = (above.user, above.said) if above is not None else (None, None)
        shell: tuple[str, ...] = ()
        steps = []
        for instruction in body:
            steps.append(Step(instruction, variables, user, shell))
            if instruction.name == "USER" and instruction.words:
                user, said = expand(instruction.words[0].text, variables, self._dockerfile.escape), instruction
            elif instruction.name == "SHELL":
                shell = tuple(word.text for word in instruction.words)
            elif instruction.name in ("ARG", "ENV"):
                variables = dict(variables)
                self._set(instruction, variables)
                if len(variables) > MAX_VARIABLES:
                    raise BudgetExceededError(f"a stage with more than {MAX_VARIABLES} variables")
        named = len(start.words) > 2 and start.words[1].text.upper() == "AS"
        return Stage(
            number=len(self._done),
            name=start.words[2].text.lower() if named else "",
            start=start,
            image=image,
            base=base,
            parent=parent,
            steps=tuple(steps),
            variables=variables,
            user=user,
            said=said,
        )

    def _find(self, name: str) -> int:
        return next((stage.number for stage in reversed(self._done) if stage.name and stage.name == name.lower()), -1)

    def _set(self, instruction: Instruction, variables: dict[str, Value]) -> None:
        if instruction.name == "ARG":
            self._arguments(instruction, variables, self._globals)
            return
        before = dict(variables)  # all values of one ENV see what stood before it
        for name, value in instruction.pairs:
            if value is not None:
                variables[expand(name.text, before).text] = expand(value.text, before, self._dockerfile.escape)

    def _arguments(self, instruction: Instruction, variables: dict[str, Value], outer: dict[str, Value]) -> None:
        """Take the default: who builds may give another one, but the file is what is judged."""
        for name, value in instruction.pairs:
            key = expand(name.text, {}).text
            if value is not None:
                variables[key] = expand(value.text, variables, self._dockerfile.escape)
            else:
                variables[key] = outer.get(key, _UNKNOWN)
