"""What the code may know: imports go one way, the engine is a function of its input, money is never a float."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "engine", "backoffice", "connectors", "benchmarks")
FOREIGN = frozenset({".git", ".venv", "build", "dist", "node_modules", "__pycache__"})
"""Folders that are not the product's."""


def test_imports_keep_to_the_contracts() -> None:
    program = Path(sys.executable).parent / "lint-imports"

    ran = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_engine_imports_nothing_that_could_tell_it_more_than_its_input() -> None:
    allowed = {
        *("__future__", "bisect", "calendar", "collections", "dataclasses", "datetime", "enum", "fractions"),
        *("functools", "hashlib", "heapq", "itertools", "math", "operator", "re", "types", "typing", "zoneinfo"),
        *("msgspec", "engine", "schemas"),
    }

    found = {(str(path.relative_to(ROOT)), name) for path in sources("engine") for name in imported(tree_of(path))}

    assert {(path, name) for path, name in found if name.partition(".")[0] not in allowed} == set()


def test_the_engine_never_asks_for_the_time_or_for_chance() -> None:
    asking = {"now", "utcnow", "today", "time", "time_ns", "perf_counter", "monotonic", "uuid4", "urandom"}

    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in (*sources("engine"), *sources("schemas"))
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in asking
    ]

    assert found == []


def test_the_engine_does_not_depend_on_the_order_of_hashes() -> None:
    """`hash` differs from run to run, and so does the order of a set of texts."""
    found = [
        f"{path.relative_to(ROOT)}:{place.lineno}: {ast.unparse(place)}"
        for path in (*sources("engine"), *sources("schemas"))
        for place in ordered_by_hash(tree_of(path))
    ]

    assert found == []


@pytest.mark.parametrize("package", ["engine", "schemas"])
def test_there_is_no_float_where_money_is(package: str) -> None:
    assert [place for path in sources(package) for place in floats(path)] == []


@pytest.mark.parametrize(
    "code", ["rate = 0.5", "x = float(y)", "def f(x: float) -> int: ...", "y = x / 2", "x /= 2", "z: list[float]", "1j"]
)
def test_a_float_would_be_found(code: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(code)

    assert list(floats(file))


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    folders = [f"/{name}/".encode() for name in ("work", "home", "root", "Users")]

    found = [
        f"{path.relative_to(ROOT)}: {folder.decode()}"
        for path in files(ROOT)
        for folder in folders
        if folder in path.read_bytes()
    ]

    assert found == []


def test_every_module_says_what_it_is_about() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sources(package)
        if path.stat().st_size and not ast.get_docstring(tree_of(path))
    ]

    assert silent == []


# -- helpers ----------------------------------------------------------------------------------------------------------


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has moved"
    return found


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """Names of all modules that are imported, inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def ordered_by_hash(tree: ast.Module) -> Iterator[ast.expr]:
    """Calls of `hash`, and loops over a set that is written in place."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="hash")):
                yield node
            case (
                ast.For(iter=ast.Set() | ast.SetComp() as order)
                | ast.comprehension(iter=ast.Set() | ast.SetComp() as order)
            ):
                yield order


def floats(path: Path) -> Iterator[str]:
    """Where a float is written, made, named as a type, or comes of a division.

    `/` between Fractions is exact, but a reader can't see that it is between Fractions: `Fraction(a, b)` can be seen.
    Where there are paths, it joins them.
    """
    tree = tree_of(path)
    joins_paths = "pathlib" in imported(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()) | ast.Name(id="float" | "complex"):
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()) if not joins_paths:
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def files(folder: Path) -> Iterator[Path]:
    """The product's files, without what tools leave behind."""
    for path in sorted(folder.iterdir()):
        if path.name in FOREIGN or path.name.endswith((".egg-info", "_cache", ".hypothesis")) or path.is_symlink():
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path
