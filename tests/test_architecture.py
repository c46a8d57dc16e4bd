"""The house has one staircase: a module may import its own floor or a lower one."""

import ast
from pathlib import Path

PACKAGE = "cesped"
FLOORS = (  # ground floor first; names on one line are wings that may not see each other
    {"errors"},
    {"vocabulary", "progress"},
    {"progress_bars"},
    {"geometry", "io"},
    {"physics"},
    {"data", "models"},
    {"reconstruction"},
    {"training"},
    {"inference", "evaluation"},
    {"report"},
    {"leaderboard"},
    {"workflows"},
    {"cli"},
    {"particlesDataset", "evaluateEntry", "trainEntry", "inferEntry", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def imported_rooms(path, root, package):
    """Yield `(line, room)` for each in-package import, including those inside functions."""
    parts = (package, *path.relative_to(root).with_suffix("").parts)
    home = parts[:-1]  # for a module and for an __init__ alike: its own package
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
            stem = ".".join(filter(None, (base, node.module)))
            targets = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            head, _, rest = target.partition(".")
            if head == package and rest:
                yield node.lineno, rest.partition(".")[0]


def broken_stairs(root, package=PACKAGE, level=LEVEL):
    """Return one line of text per import that climbs, or crosses between wings."""
    faults = []
    for path in sorted(Path(root).rglob("*.py")):
        here = path.relative_to(root).with_suffix("").parts[0]
        if here == "__init__":
            continue  # the porch: lazy re-exports only, covered by test_public_api
        for line, room in imported_rooms(path, root, package):
            if room == here or room not in level:
                continue
            if here not in level or level[room] >= level[here]:
                faults.append(f"{path.relative_to(root)}:{line} {here} -> {room}")
    return faults


def test_imports_only_go_down():
    root = Path(__file__).resolve().parents[1] / PACKAGE
    assert broken_stairs(root) == []
