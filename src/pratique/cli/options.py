"""What every command's options have in common: flag, then environment, then configuration files; lists are split at commas."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from pratique.model.errors import ConfigurationError, UsageError

F = TypeVar("F", bound=Callable[..., Any])

MAX_CONFIGURATION = 1 << 20  # bytes; a configuration is a page of text
FILE_NAME = "pratique.toml"
_CONFIGURED = "pratique.configured"  # where a command's context keeps what the files say

# Every long option of every command that a configuration may set; a test compares this list with the commands themselves.
KEYS = frozenset(
    (
        "all-platforms", "as-of", "attestation-key", "attestations",
        "baseline", "cache-dir", "database", "debug", "environment", "fail-on", "files", "format",
        "image-checks", "insecure-registry", "key", "kubernetes-version", "max-age", "mirror", "namespace",
        "no-cache", "now", "offline", "only",
        "only-fixed", "only-new", "output", "platform", "policy", "quiet", "registry-mirror", "severity", "stage", "store",
        "privileges", "record", "team", "template", "timeout", "trusted-registry", "trusted-root",
        "vex", "vex-author", "vex-key", "waivers",
    )
)  # fmt: skip


class Setting(click.Option):
    """An option that may also come from PRATIQUE_<FLAG> or a configuration file; a repeatable one takes commas in all places."""

    def __init__(self, declarations: list[str], **attributes: Any) -> None:
        long = next(name for name in declarations if name.startswith("--")).split("/")[0]
        attributes.setdefault("envvar", "PRATIQUE_" + long[2:].upper().replace("-", "_"))
        attributes.setdefault("show_default", False)
        self._commas = bool(attributes.pop("commas", attributes.get("multiple", False)))
        super().__init__(declarations, **attributes)

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Ask the configuration files, too; they are read when a command is to run, never for --version or --help."""
        value, source = super().consume_value(ctx, opts)
        if source is not ParameterSource.DEFAULT:
            return value, source
        values = ctx.meta.get(_CONFIGURED)
        if values is None:
            values = ctx.meta[_CONFIGURED] = configured()
        key = str(self.name)
        return (self._checked(values[key]), ParameterSource.DEFAULT_MAP) if key in values else (value, source)

    def _checked(self, value: Any) -> Any:
        """Return what a configuration says in the shape that click expects. Raises ConfigurationError for any other."""
        name = str(self.name).replace("_", "-")
        items = value if self.multiple and isinstance(value, list) else [value]
        if self.is_flag and not isinstance(value, bool):
            raise ConfigurationError(f"{name} in a configuration is true or false, not {value!r}")
        if not self.is_flag and not all(isinstance(item, str) or type(item) is int for item in items):
            raise ConfigurationError(f"{name} in a configuration cannot be {value!r}")
        if self.is_flag:
            return value
        return [str(item) for item in items] if self.multiple else str(value)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        value = self.resolve_envvar_value(ctx)
        return value.split(",") if value is not None and self.multiple else value

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        if self.multiple and self._commas and value:
            values = [value] if isinstance(value, str) else value
            value = [part.strip() for text in values for part in str(text).split(",") if part.strip()]
        return super().type_cast_value(ctx, value)


def setting(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option of the class Setting."""
    return click.option(*declarations, cls=Setting, **attributes)


def configured() -> dict[str, Any]:
    """Return what configuration files say, by option name; the nearest pratique.toml goes before the user's own file.

    Raises ConfigurationError for unknown keys and unreadable files.
    """
    values: dict[str, Any] = {}
    for path in (_user_file(), nearest()):
        if path is not None:
            values.update(_read(path))
    return values


def _user_file() -> Path | None:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    path = Path(base, "pratique", "config.toml")
    return path if path.is_file() else None


def nearest() -> Path | None:
    """Return the pratique.toml that is nearest from the working directory up."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    return next((folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        if path.stat().st_size > MAX_CONFIGURATION:
            raise ConfigurationError(f"{path}: larger than {MAX_CONFIGURATION} bytes")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    values = {}
    for key, value in data.items():
        name = key.replace("_", "-")
        if name not in KEYS:
            import difflib  # noqa: PLC0415 - only for who mistyped

            near = difflib.get_close_matches(name, KEYS, 1)
            raise ConfigurationError(f"{path}: unknown key {key!r}", hint=f"did you mean {near[0]!r}?" if near else "")
        values[name.replace("-", "_")] = value
    return values


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration(text: str) -> int:
    """Read a duration, a number and s, m, h, d or w, as seconds. Raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or len(number) > 9:
        raise UsageError(f"{text!r} is no duration", hint="write a number and s, m, h, d or w, such as 7d")
    return int(number) * _UNITS[unit]


def mirror_address(text: str | None) -> str:
    """Read --mirror; "" where none is given. Raises UsageError."""
    if text and not text.lower().startswith(("http://", "https://", "file://")):
        raise UsageError(f"--mirror {text!r} is no address", hint="http://, https:// and file:// are understood")
    return text or ""


_SIZES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def size(text: str) -> int:
    """Read a size, a number and B, kB, MB, GB, TB or KiB to TiB, as bytes. Raises UsageError."""
    number = text.strip().rstrip("BbKkMmGgTtIi ")
    unit = text.strip()[len(number) :].strip().upper()
    if unit not in _SIZES or not number.replace(".", "", 1).isdigit() or len(number) > 12:
        raise UsageError(f"{text!r} is no size", hint="write a number and kB, MB, GB or KiB, MiB, GiB, such as 2GB")
    return int(float(number) * _SIZES[unit])
