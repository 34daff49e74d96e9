"""How oracle.json was made: `python make.py` where the package `dockerfile` 3.4.0 (the builder's own parser) is installed."""

from __future__ import annotations

import json
import random
from pathlib import Path

LINES = (
    "FROM a", "FROM --platform=linux/amd64 a:1 AS b", "RUN ", "run echo \\\n", 'RUN ["a","b c"]', "RUN ['a']", "RUN -- x",
    "COPY --from=b --chown=1:1 a b", 'COPY ["a b","c"]', "ADD x y", 'ENV a=b c="d e"', "ENV a b c", "ENV a", "ENV a=b c",
    "LABEL x='y z' w=\\\"q", "ARG A", "ARG A=1 B", 'ARG "A=1 2"', "CMD x y", 'CMD ["x", 1]', "CMD []", 'ENTRYPOINT ["x"]',
    "EXPOSE 80 90/tcp", "HEALTHCHECK NONE", 'HEALTHCHECK --interval=5s CMD ["a"]', "HEALTHCHECK CMD  a  b ", "ONBUILD RUN x",
    "ONBUILD COPY --from=x a b", "ONBUILD RUN cat <<A", "USER  root ", "WORKDIR /a b", 'VOLUME ["/a"]', "VOLUME /a /b",
    "STOPSIGNAL 9", 'SHELL ["a"]', "MAINTAINER me you", "RUN cat <<EOF", "RUN cat <<-EOF >x <<'E2'", "RUN a <<EOF",
    "COPY <<EOF /x", "EOF", "\tEOF", "E2", "A", "# c", "  # c", "#escape=`", "# syntax=x", "# escape=\\", "", "  ", "\\", "\\ ",
    "a\\", "b \\", "&& c \\\\", "`", "x `", '"', "'", "foo bar", "RUN --mount=type=cache,target=/x --network=none make",
    'RUN --a="b c" d', "\t", "RUN a # b", "RUN a \\\n# c\n\n  b", "$X", 'RUN echo "<<EOF"', "RUN echo $((1<<3))",
    "run x <<EOF | y <<EOF2", "EOF2", 'RUN <<"E F"', "E F", "é x", 'ENV é="ü"', "ENV a='b\\'", 'ENV a="b\\" c" d=e',
    "ENV a=b\\ c d=e\\",
)  # fmt: skip
ENDS = ("\n", "\n", "\n", "\r\n", " ", "", "\\\n")


def texts() -> list[str]:
    """Return each line by itself, and lines put together at random, always the same."""
    chance = random.Random(5)
    alone = [f"FROM a\n{line}\n" for line in LINES]
    return alone + ["".join(chance.choice(LINES) + chance.choice(ENDS) for _ in range(chance.randint(1, 7))) for _ in range(500)]


def answers() -> list[object]:
    """Ask the oracle."""
    import dockerfile  # type: ignore[import-not-found]

    found: list[object] = []
    for text in texts():
        try:
            commands = dockerfile.parse_string(text)
        except dockerfile.GoParseError as error:
            found.append(str(error))
            continue
        found.append(
            [
                [
                    c.cmd,
                    c.sub_cmd,
                    c.json,
                    c.start_line,
                    c.end_line,
                    c.flags,
                    c.value,
                    [[h.name, h.file_descriptor, h.content] for h in c.heredocs],
                ]
                for c in commands
            ]
        )
    return found


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers())
    Path(__file__).with_name("oracle.json").write_text(f"[\n{lines}\n]\n", "utf-8")
