"""Every error that a person can meet.

    PratiqueError                  anything this program raises on purpose
      UsageError                   exit 2: bad flags, configuration or files that people write
        ConfigurationError
        PolicyError
      VerificationError            exit 1: something signed does not verify: no part of it is believed
      GrantError                   exit 1: what is asked of a grant is against the rules, or comes too late
      CouldNotError                exit 3: the question could not be answered
        TargetError                the target cannot be opened or read
          TargetNotFoundError
          IntegrityError           a digest, diff_id, size or number is not as stated
        RegistryError              a registry refused or could not be reached
        FeedError                  an advisory feed could not be fetched or read
        DatabaseError              the advisory database is missing, damaged or of another version
        StoreError                 the store of grants is missing, locked, damaged or open to others
          LedgerError              the ledger cannot be written or does not end as its head says: no privilege is allowed
      BudgetExceededError          a limit on hostile input was reached; becomes a Gap
      ParseError                   bytes that are not what their name promises; becomes a Gap
      UnorderableVersionError      a version that its scheme cannot order; becomes a Gap

A person sees one line, `message` and `hint`; `--debug` shows the traceback.
"""

from __future__ import annotations

from typing import ClassVar


class PratiqueError(Exception):
    """Base of all errors raised on purpose; `hint` says what the person can do."""

    exit_code: ClassVar[int] = 3
    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        if hint:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(PratiqueError):
    """Bad usage: nothing was inspected."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A configuration file, variable or flag that is wrong."""


class PolicyError(UsageError):
    """A policy or waiver file that is wrong; the message begins with FILE:LINE:COLUMN."""


class VerificationError(PratiqueError):
    """Something signed does not verify: no part of it is believed, and what was there before is kept."""

    exit_code = 1


class GrantError(PratiqueError):
    """What is asked of a grant is against the rules, or comes too late."""

    exit_code = 1


class CouldNotError(PratiqueError):
    """The question could not be answered."""


class TargetError(CouldNotError):
    """The target cannot be opened or read."""


class TargetNotFoundError(TargetError):
    """There is nothing under that reference."""


class IntegrityError(TargetError):
    """Something is not what its digest, diff_id, size or number says: no part of it is believed."""


class RegistryError(CouldNotError):
    """A registry refused, or could not be reached."""


class FeedError(CouldNotError):
    """An advisory feed could not be fetched or read; the last good data is kept."""


class DatabaseError(CouldNotError):
    """The advisory database is missing, damaged or of a version that this program does not read."""


class StoreError(CouldNotError):
    """The store of grants is missing, locked, damaged, or may be written by others."""


class LedgerError(StoreError):
    """The ledger cannot be written, or does not end as its head says: no privilege is allowed."""


class BudgetExceededError(PratiqueError):
    """Hostile or huge input reached a limit; whoever catches it records a Gap."""


class ParseError(PratiqueError):
    """Bytes that are not what their name promises; whoever catches it records a Gap."""


class UnorderableVersionError(PratiqueError, ValueError):
    """A version that its scheme cannot order: never a silent "not vulnerable"."""

    def __init__(self, version: str, scheme: str) -> None:
        super().__init__(f"{version!r} is not a version that {scheme} orders")
        self.version = version
        self.scheme = scheme
