"""`cesped compare`: is one prediction better than another, or only luckier."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..report.glossary import MORE_POSE_TERMS, POSE_TERMS
from ..vocabulary import PredictionType
from .command import BenchmarkDir, Command

if TYPE_CHECKING:
    from ..evaluation.comparison import ComparedFigure, Comparison
    from ..workflows.comparison import ComparedEntry

#: Differences with a larger p value are called chance.
LEVEL = 0.05
_LABEL_WIDTH, _WIDTH = 38, 12
_TERMS = POSE_TERMS | MORE_POSE_TERMS


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="FIRST",
            help="Folder of an evaluation; or, with --targetName, a star file of predictions, or "
            "two of both halves, joined by a comma.",
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="The same of the other one.")],
    target: Annotated[
        str | None,
        typer.Option("--targetName", "-t", metavar="NAME", help="Entry of the star files."),
    ] = None,
    prediction_type: Annotated[
        PredictionType | None,
        typer.Option("--predictionType", help="What the star files predict; SO3 if left out."),
    ] = None,
    ignore_symmetry: Annotated[
        bool, typer.Option("--ignore_symmetry", help="Measure errors as if there was none.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the random exchanges.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON instead.")
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Tell whether one prediction is better than another.

    Both must be of the same particles, which are compared one by one: a particle that is hard for
    both says nothing about which is better. If both were equally good, the two errors of any
    particle could be exchanged; p is how often random exchanges give a difference as large as
    the one that was found. The interval holds the true difference in 95 of 100 cases.

    The mean angular error decides; the other figures explain. What another training of either
    method would change is not in the test: for that, train with several seeds.

    Two folders that `cesped evaluate` wrote are compared at once. Star files need the name of
    their entry, and no reconstruction.
    """
    from ..workflows.comparison import compare_evaluations, compare_predictions
    from .progress_bar import make_progress

    if target is None:
        _refuse_star_options(first, second, prediction_type, ignore_symmetry)
        compared = compare_evaluations(first, second, seed)
    else:
        compared = compare_predictions(
            target,
            [Path(name) for name in first.split(",")],
            [Path(name) for name in second.split(",")],
            prediction_type or PredictionType.SO3,
            ignore_symmetry=ignore_symmetry,
            benchmark_dir=benchmark_dir,
            seed=seed,
            progress=make_progress(),
        )
    if as_json:
        names = {"target": compared.target, "first_name": first, "second_name": second}
        print(json.dumps(names | compared.comparison.as_dict(), indent=2))
    else:
        _print_comparison(compared, first, second)


def _refuse_star_options(
    first: str, second: str, prediction_type: PredictionType | None, ignore_symmetry: bool
) -> None:
    if first.endswith(".star") or second.endswith(".star"):
        raise typer.BadParameter("star files need --targetName, the entry whose particles they are")
    if prediction_type is not None or ignore_symmetry:
        raise typer.BadParameter(
            "--predictionType and --ignore_symmetry are for star files; an evaluation has its own"
        )


def _print_comparison(compared: "ComparedEntry", first: str, second: str) -> None:
    comparison = compared.comparison
    print()
    print(f"{compared.target}: {comparison.n_particles:,} particles, each compared with itself")
    print(f"  first   {first}")
    print(f"  second  {second}")
    print()
    heads = ("first", "second", "difference", "95 % interval", "p")
    widths = (_WIDTH, _WIDTH, _WIDTH, 2 * _WIDTH - 4, _WIDTH - 3)
    row = "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    print(" " * _LABEL_WIDTH + row)
    for figure in comparison.figures:
        cells = _cells(figure, comparison)
        row = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print(f"{_TERMS[figure.metric].label:<{_LABEL_WIDTH}}{row}")
    print()
    print(_verdict(comparison))
    print()


def _cells(figure: "ComparedFigure", comparison: "Comparison") -> tuple[str, ...]:
    term = _TERMS[figure.metric]
    low, high = (end * term.scale for end in figure.interval)
    least = 1 / (1 + comparison.n_flips)
    p_value = f"< {2 * least:.1g}" if figure.p_value <= least else f"{figure.p_value:.2g}"
    return (
        term.show(figure.first),
        term.show(figure.second),
        f"{figure.difference * term.scale:+.{term.decimals}f}",
        f"{low:+.{term.decimals}f} to {high:+.{term.decimals}f}",
        p_value,
    )


def _verdict(comparison: "Comparison") -> str:
    mean = comparison.figures[0]
    nearer = f"The first is nearer to the truth for {100 * comparison.share_first_nearer:.0f} % of "
    if mean.p_value > LEVEL:
        return (
            "Neither is shown to be better: such a difference of the mean angular error is not "
            f"rare by chance.\n{nearer}the particles."
        )
    better = "first" if mean.first_is_better else "second"
    return f"The {better} is better in the mean angular error.\n{nearer}the particles."


COMMANDS = (
    Command(
        compare,
        "compare",
        """
        cesped compare evaluations/mine evaluations/theirs
        cesped compare --targetName DEMO mine_0.star theirs_0.star
        cesped compare --targetName DEMO mine_0.star,mine_1.star theirs_0.star,theirs_1.star --json
        """,
    ),
)
