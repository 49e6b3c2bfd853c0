"""What can go wrong, by whose doing; `python -m aloft` ends with the exit code of each (the table of the README).

The message is one line: what went wrong, where, and what to do about it.
"""


class AloftError(Exception):
    """Every error that this package raises on purpose."""

    exit_code = 1


class UsageError(AloftError):
    """An argument, or a combination of them; an output that exists."""

    exit_code = 2


class InputError(AloftError, ValueError):
    """A file's content."""

    exit_code = 3


class InitError(InputError):
    """An init file, model or checkpoint that does not fit the other, or is none."""


class OutputExistsError(InitError):
    """What would be written is there already."""

    exit_code = 2


class ProgramError(AloftError):
    """The aloft program, started from here, failed; its own message is on stderr."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message, exit_code)  # both, so that it comes whole out of a worker process
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])
