"""Count what makes code hard to read: `python -m tests.style` prints the figures and each finding."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.paths import ROOT

PACKAGE = ROOT / "rb_core"
OBLIQUE_OPENINGS = ("What", "Whether", "Of", "Where", "How", "Every", "Which", "Who", "Why", "As")
MAX_FUNCTION_LINES = 60
# Typer reads a command's options from its signature, and Gradio an endpoint's from its own.
ENTRY_POINT_DECORATORS = ("command", "callback")
# Methods and functions that have one meaning in every module by convention.
SHARED_NAMES = {"main"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A parsed module of the package, its dotted name, and the imports, classes and functions in its tree."""

    name: str
    path: Path
    tree: ast.Module
    nodes: tuple[ast.AST, ...]


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the package, sorted by path."""
    return tuple(parsed(path) for path in sorted(PACKAGE.rglob("*.py")))


def parsed(path: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = ast.Import | ast.ImportFrom | ast.Module | ast.ClassDef | Function
    return Module(module_name(path), path, tree, tuple(node for node in ast.walk(tree) if isinstance(node, kept)))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(module: Module, *, top_only: bool = False) -> set[str]:
    """Return the names a module imports; with `top_only` those that importing the module imports."""
    imported = set()
    for node in module.tree.body if top_only else module.nodes:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    return imported


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield (place, first line) of every docstring."""
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.Module | ast.ClassDef | Function):
                text = ast.get_docstring(node)
                if text:
                    yield f"{module.name}:{getattr(node, 'name', '')}", text.splitlines()[0]


def oblique_docstrings() -> list[str]:
    """Return the docstrings that open with a subordinate clause instead of a verb or a noun phrase."""
    return [f"{place}: {line}" for place, line in docstrings() if line.split(" ")[0] in OBLIQUE_OPENINGS]


def names_with_two_meanings() -> Mapping[str, list[str]]:
    """Return the types and public functions that two or more modules define, with the modules."""
    owners: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        for node in module.tree.body:
            is_type = isinstance(node, ast.ClassDef)
            is_public_function = isinstance(node, Function) and not node.name.startswith("_")
            if (is_type or is_public_function) and not _is_entry_point(node) and node.name not in SHARED_NAMES:
                owners[node.name].append(module.name)
    return {name: where for name, where in sorted(owners.items()) if len(where) > 1}


def private_imports() -> list[str]:
    """Return the imports of a private name of another module."""
    return [
        f"{module.name}: {name}"
        for module in modules()
        for name in sorted(imports(module))
        if name.startswith("rb_core.")
        and any(part.startswith("_") and part != "__version__" for part in name.split("."))
    ]


def import_cycles() -> list[str]:
    """Return the modules that import themselves through others, imports inside functions included."""
    known = {module.name for module in modules()}
    graph = {module.name: {_defined_in(name, known) for name in imports(module)} & known for module in modules()}
    return [name for name in graph if name in _reachable(graph, name)]


def long_functions() -> list[str]:
    """Return the functions that are longer than the limit without their docstrings.

    Typer entry points list their options and are left out.
    """
    return [
        f"{module.name}:{node.name}: {length} lines"
        for module in modules()
        for node in module.nodes
        if isinstance(node, Function) and not _is_entry_point(node)
        for length in [_length(node) - sum(_length(text) for text in _docstrings(node))]
        if length > MAX_FUNCTION_LINES
    ]


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _docstrings(function: ast.AST) -> list[ast.stmt]:
    """Return the docstrings of a function and of those inside it."""
    functions = [node for node in ast.walk(function) if isinstance(node, Function)]
    return [node.body[0] for node in functions if ast.get_docstring(node, clean=False) is not None]


def python_lines() -> int:
    """Return the number of lines of Python in the package."""
    return sum(len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules())


def readme_words() -> int:
    """Return the number of words of README.md, its front matter left out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return len(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).split())


def _is_entry_point(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", [])
    names = [ast.unparse(d.func if isinstance(d, ast.Call) else d).rpartition(".")[2] for d in decorators]
    return any(name in ENTRY_POINT_DECORATORS for name in names)


def _defined_in(imported: str, known: set[str]) -> str:
    """Return the module that an imported name belongs to; the name itself where it is a module."""
    return imported if imported in known else imported.rpartition(".")[0]


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached


def main() -> None:
    lines = list(docstrings())
    findings = {
        "docstrings with an oblique opening": oblique_docstrings(),
        "names with two meanings": [f"{name}: {', '.join(where)}" for name, where in names_with_two_meanings().items()],
        "private imports across modules": private_imports(),
        "modules in an import cycle": import_cycles(),
        f"functions above {MAX_FUNCTION_LINES} lines": long_functions(),
    }
    wanted = " ".join(sys.argv[1:])
    for title, found in findings.items():
        print(f"{title}: {len(found)}")
        for finding in found:
            if wanted in finding:
                print(f"    {finding}")
    print(f"docstrings: {len(lines)}")
    print(f"lines of Python in rb_core: {python_lines()}")
    print(f"words in README.md: {readme_words()}")


if __name__ == "__main__":
    main()
