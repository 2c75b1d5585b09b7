"""Does a test fail when the engine is wrong? Small errors, put into a copy of the tree one at a time, must turn it red.

    PYTHONPATH=tests python -m mutations                    all that are listed here; prints those that no test noticed
    PYTHONPATH=tests python -m mutations offers             only those of engine/offers.py
    PYTHONPATH=tests python -m mutations --generated 50     and as many more, drawn from all operators and numbers

A whole run takes some seconds for each error that is noticed and a minute for each that is not: half an hour at least.
A mutant that stays alive is either the same program (then take it off the list) or a test that is missing.
"""

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("engine", "schemas", "backoffice", "connectors", "deploy", "tests", "pyproject.toml")
TIMEOUT_SECONDS = 150
"""Thrice what the tests below take when nothing is wrong; a mutant that never ends counts as noticed."""

PRICING, PREFIX, DECISION, PARTITION = (
    f"tests/test_{name}_properties.py" for name in ("pricing", "prefix", "decision", "partition")
)
TABLES = "tests/test_tables.py"
AGAIN = "tests/test_again.py"
ORDER = {
    "again": (AGAIN,),
    "rating": (PARTITION, TABLES, AGAIN),
    "bands": (PRICING, TABLES, PREFIX),
    "charges": (PRICING, DECISION, TABLES),
    "rounding": (PRICING, TABLES),
    "tariffs": (PRICING, PREFIX, TABLES),
    "locks": (PREFIX, DECISION, TABLES),
    "offers": (DECISION, PREFIX, TABLES),
    "prefixes": (PREFIX,),
    "prices": (PREFIX, DECISION, TABLES),
    "decisions": (DECISION, PARTITION, TABLES),
    "reference": (DECISION, PREFIX, TABLES),
    "ncv": (DECISION, PARTITION, TABLES),
}
"""What is asked first about a module; the tests that know it best stop a run early."""


class Mutant(NamedTuple):
    """An error in a module of the engine: a piece of text that stands there once, and what takes its place."""

    module: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.module}: {' '.join(self.old.split())}  ->  {' '.join(self.new.split())}"


def listed() -> list[Mutant]:
    """The errors that `mutants.txt` lists."""
    text = Path(__file__).with_name("mutants.txt").read_text()
    module = ""
    found: list[Mutant] = []
    old: list[str] = []
    new: list[str] = []
    for line in [*text.split("\n\n", maxsplit=1)[1].splitlines(), ""]:
        sign, part = line[4:5], line[6:]
        if new and sign != "+":
            found.append(Mutant(module, "\n".join(old), "\n".join(new)))
            old, new = [], []
        if sign == "-":
            old.append(part)
        elif sign == "+":
            new.append(part)
        elif line:
            module = line
    return found


def fits(mutant: Mutant, root: Path = ROOT) -> bool:
    """Whether the text that is to be replaced stands in its module, and only once."""
    return source_of(mutant.module, root).read_text().count(mutant.old) == 1


def source_of(module: str, root: Path) -> Path:
    """The file of an engine's module."""
    return root / "engine" / f"{module}.py"


@contextmanager
def copy_of_the_tree(root: Path = ROOT) -> Iterator[Path]:
    """A tree of its own to break."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        for part in COPIED:
            if (root / part).is_dir():
                shutil.copytree(root / part, Path(name, part), ignore=shutil.ignore_patterns("__pycache__", ".*"))
            elif (root / part).exists():
                shutil.copy(root / part, Path(name, part))
        yield Path(name)


def noticed(mutant: Mutant, tree: Path, tests: Sequence[str] = ()) -> bool:
    """Whether the tests (those of the module, unless told) fail with the error in the tree, which is mended again."""
    path = source_of(mutant.module, tree)
    right = path.read_text()
    path.write_text(right.replace(mutant.old, mutant.new))
    try:
        return not passes(tree, tests or ORDER.get(mutant.module, (PARTITION, TABLES)))
    finally:
        path.write_text(right)


def passes(tree: Path, tests: Sequence[str]) -> bool:
    """Whether the tests pass in this tree; the same examples each time."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "mutations", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tree), str(tree / "tests")))}
    # What has nothing to do with the engine need not be asked again.
    command += ["-k", "not each_cell_of_the_table"]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    assert done.returncode in (0, 1, 2), done.stdout.decode() + done.stderr.decode()
    return done.returncode == 0


def pytest_configure() -> None:
    """As a plugin of the runs above: examples that do not change, and no search for the smallest one."""
    settings.register_profile("mutants", derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutants")


# -- generated mutants -----------------------------------------------------------------------------------------------

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.FloorDiv: ast.Mult}


def generated(root: Path = ROOT) -> list[Mutant]:
    """Every operator turned, number raised and `not` dropped, where its line is the only one of its kind."""
    found = []
    for path in sorted((root / "engine").glob("*.py")):
        text = path.read_text()
        lines, tree = text.splitlines(), ast.parse(text)
        asserted = {part for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in ast.walk(node)}
        for node in ast.walk(tree):
            after = None if node in asserted else _turned(node)
            if after is None or not isinstance(node, ast.expr) or node.lineno != node.end_lineno:
                continue
            line = lines[node.lineno - 1]
            before, behind = line.encode()[: node.col_offset], line.encode()[node.end_col_offset :]
            mutant = Mutant(path.stem, line, f"{before.decode()}({after}){behind.decode()}")
            if lines.count(line) == 1 and text.count(line) == 1:
                found.append(mutant)
    return found


def _turned(node: ast.AST) -> str | None:
    """The expression with one thing changed; None where there is nothing to change."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            return ast.unparse(ast.Compare(node.left, [_COMPARED[type(op)]()], node.comparators))
        case ast.BinOp(op=op) if type(op) in _COUNTED:
            return ast.unparse(ast.BinOp(node.left, _COUNTED[type(op)](), node.right))
        case ast.BoolOp(op=ast.And()):
            return ast.unparse(ast.BoolOp(ast.Or(), node.values))
        case ast.BoolOp(op=ast.Or()):
            return ast.unparse(ast.BoolOp(ast.And(), node.values))
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return ast.unparse(node.operand)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return str(value + 1)
    return None


def main() -> int:
    """Runs the mutants; the exit code is 1 when one of them lives."""
    parser = ArgumentParser(prog="mutations", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("modules", nargs="*", help="modules of the engine, by name; all if none is named")
    parser.add_argument("--generated", type=int, default=0, metavar="N", help="so many drawn ones, too")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to copy")
    options = parser.parse_args()
    mutants = listed() + random.Random(options.seed).sample(generated(options.root), options.generated)
    living = []
    with copy_of_the_tree(options.root) as tree:
        if not passes(tree, (DECISION, PREFIX, PRICING, PARTITION, TABLES, AGAIN)):
            print("the tests fail before anything is wrong: mend that first", file=sys.stderr)
            return 2
        for mutant in mutants:
            if options.modules and mutant.module not in options.modules:
                continue
            word = "does not fit"
            if fits(mutant, tree):
                word = "noticed" if noticed(mutant, tree) else "LIVES"
            print(f"{word:8} {mutant}", flush=True)
            if word != "noticed":
                living.append(mutant)
    print(f"{len(living)} not noticed")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
