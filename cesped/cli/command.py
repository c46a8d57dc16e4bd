"""One command of the program: its function, its name and the examples under its help."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


class _ShownCommand(TyperCommand):
    """A command whose usage line leaves out arguments that its help leaves out."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line; a hidden argument has no name and no place there."""
        return [piece for piece in super().collect_usage_pieces(ctx) if piece != "[]..."]


HELP_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

BENCHMARK_DIR_HELP = (
    "Folder of the benchmark entries; else CESPED_BENCHMARK_DIR, else your data folder."
)

BenchmarkDir = Annotated[
    Path | None,
    typer.Option(
        "--benchmarkDir",
        "-b",
        metavar="DIR",
        help=BENCHMARK_DIR_HELP,
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="Where --backend torch computes: cuda, cuda:1, cpu; a GPU if there is one."
    ),
]

MemoryGb = Annotated[
    float | None,
    typer.Option(
        "--memory-gb",
        metavar="GB",
        help="Most memory --backend torch uses there; else 80 % of a GPU's free memory, or 4 GB.",
    ),
]

Halfset = Annotated[
    int, typer.Option("--halfset", "-p", min=0, max=1, help="Which half of the entry: 0 or 1.")
]

#: Ends of file names that no entry may be mistaken for; all but the first want `cesped convert`,
#: which the reader of star files says.
_PARTICLE_FILES = (".star", ".cs", ".pkl")


def names_a_file(source: str) -> bool:
    """Tell whether the user's word is a file of particles, and not the name of an entry."""
    return source.endswith(_PARTICLE_FILES)


@dataclass(frozen=True)
class Command:
    """A function with typer annotations, and how it is offered.

    Attributes
    ----------
    function : its docstring is the help text.
    name : the word after `cesped`.
    examples : command lines, one per line, shown under the help.
    open_options : True if options that are not declared reach the function's context.
    """

    function: Callable[..., None]
    name: str
    examples: str
    open_options: bool = False

    def add_to(self, app: typer.Typer) -> None:
        """Offer this command in `app`."""
        settings = dict(HELP_SETTINGS)
        if self.open_options:
            settings |= {"allow_extra_args": True, "ignore_unknown_options": True}
        lines = inspect.cleandoc(self.examples)
        app.command(
            self.name,
            help=inspect.cleandoc(self.function.__doc__ or ""),
            epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines.splitlines()),
            context_settings=settings,
            cls=_ShownCommand,
        )(self.function)


@dataclass(frozen=True)
class CommandGroup:
    """A word that is followed by one of several commands.

    Attributes
    ----------
    name : the word after `cesped`.
    help : text above the list of its commands.
    examples : command lines, one per line, shown under the help.
    commands : what may follow.
    """

    name: str
    help: str
    examples: str
    commands: tuple[Command, ...]

    def add_to(self, app: typer.Typer) -> None:
        """Offer these commands in `app`."""
        inner = new_app(no_args_is_help=True)
        lines = inspect.cleandoc(self.examples)
        inner.callback(
            help=inspect.cleandoc(self.help),
            epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines.splitlines()),
        )(_nothing)
        for command in self.commands:
            command.add_to(inner)
        app.add_typer(inner, name=self.name)


def _nothing() -> None:
    """Stand before the commands of a group, which share no option."""


def new_app(**settings: Any) -> typer.Typer:
    """Return a typer program with this package's habits: plain help, no shell completion."""
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=HELP_SETTINGS,
        **settings,
    )
