"""A Dockerfile in, what its checks look at out: stages, what is run in each, and what of it reaches the image."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pratique.lint.hit import Hit
from pratique.lint.shell import Command, commands
from pratique.workload.dockerfile.instructions import Dockerfile, Instruction
from pratique.workload.dockerfile.stages import Stage, Step, stages
from pratique.workload.place import Mapped, Place, whole

MAX_INSTRUCTION = 200  # characters of an instruction that a report shows
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"))


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One RUN: its simple commands, and whether what it writes is in the image that is built."""

    instruction: Instruction
    step: Step
    commands: tuple[Command, ...]
    shipped: bool

    @property
    def every(self) -> tuple[Command, ...]:
        """All commands, those that sudo runs after the others: numbers in `piped_from` and `inside` are those of `commands`."""
        return (*self.commands, *(inner for command in self.commands if (inner := command.elevated) is not None))


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile taken apart. `shipped` are the numbers of the stages that the last one is built from, itself included."""

    dockerfile: Dockerfile
    stages: tuple[Stage, ...]
    shipped: frozenset[int]
    runs: tuple[Run, ...]

    @property
    def last(self) -> Stage | None:
        """The stage that becomes the image when nobody names another."""
        return self.stages[-1] if self.stages else None

    def steps(self, *names: str) -> Iterator[tuple[Stage, Step, Instruction]]:
        """Yield the instructions of these names in every stage, those in ONBUILD too."""
        for stage in self.stages:
            for step in stage.steps:
                instruction = step.instruction.inner or step.instruction
                if instruction.name in names:
                    yield stage, step, instruction

    def invocations(self) -> Iterator[tuple[Run, Command]]:
        """Yield every command of every RUN; what sudo runs is a command of its own."""
        for run in self.runs:
            for command in run.every:
                yield run, command


def take_apart(dockerfile: Dockerfile) -> Build:
    """Read stages and scripts. Raises BudgetExceededError."""
    found = stages(dockerfile)
    shipped, number = set(), len(found) - 1
    while number >= 0:
        shipped.add(number)
        number = found[number].parent
    runs = tuple(
        _run(step, step.instruction.inner or step.instruction, shipped=stage.number in shipped)
        for stage in found
        for step in stage.steps
        if (step.instruction.inner or step.instruction).name == "RUN"
    )
    return Build(dockerfile=dockerfile, stages=found, shipped=frozenset(shipped), runs=runs)


def _run(step: Step, instruction: Instruction, *, shipped: bool) -> Run:
    heredocs = step.instruction.heredocs
    found: list[Command] = []
    for script in _scripts(step, instruction):
        shift = len(found)
        found += [_moved(command, shift) for command in commands(script)]
    outer = [command.name for command in found]
    if heredocs and (not outer or outer[0] in _SHELLS):
        for heredoc in heredocs:
            first = heredoc.content.split("\n", 1)[0]
            if not first.startswith("#!") or "sh" in first.rsplit("/", 1)[-1]:
                shift = len(found)
                found += [_moved(command, shift) for command in commands(whole(heredoc.content, heredoc.line))]
    return Run(instruction=instruction, step=step, commands=tuple(found), shipped=shipped)


def _moved(command: Command, shift: int) -> Command:
    """Number what a command refers to among all commands of its RUN."""
    if not shift:
        return command
    return msgspec.structs.replace(
        command,
        piped_from=command.piped_from + shift if command.piped_from >= 0 else -1,
        inside=command.inside + shift if command.inside >= 0 else -1,
    )


def _scripts(step: Step, instruction: Instruction) -> Iterator[Mapped]:
    if not instruction.json:
        program = step.shell[0].replace("\\", "/").rsplit("/", 1)[-1].lower() if step.shell else "sh"
        if program in _SHELLS:
            yield instruction.rest
        return
    words = [word.text for word in instruction.words]
    if words and words[0].rsplit("/", 1)[-1] in _SHELLS and len(words) > 2 and words[1].startswith("-") and "c" in words[1]:
        yield Mapped(words[2], (0,), (instruction.words[2].place,))
    elif words:
        quoted = ["'" + word.replace("'", "'\\''") + "'" for word in words]
        starts = [0]
        for word in quoted[:-1]:
            starts.append(starts[-1] + len(word) + 1)
        yield Mapped(" ".join(quoted), tuple(starts), tuple(word.place for word in instruction.words))


def hit(instruction: Instruction, message: str, place: Place | None = None) -> Hit:
    """Return a Hit that is identified by its instruction."""
    return Hit(place or instruction.place, message, instruction.text, shown(instruction))


def shown(instruction: Instruction) -> str:
    """Return an instruction as a report shows it: one line, not too long."""
    text = " ".join(instruction.text.split())
    return text if len(text) <= MAX_INSTRUCTION else text[: MAX_INSTRUCTION - 1] + "…"
