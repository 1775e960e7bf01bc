"""Compiles a tree for the Python that runs this: ``python -m``-less, since any Python must be able to.

Standard input names the files, one per line, relative to the folder of the
first argument. What nobody looks at is left out, which makes the byte-code a
third smaller: the documentation of functions and, for a name after a "-", that
of classes and modules, and which line is which; an error in it has the line
where its function begins.
The byte-code says "unchecked-hash": Python takes it whatever a clock or a copy
did to the time of a file. Run it with PYTHONHASHSEED=0, so that sets are
written in one order, and with ``-X no_debug_ranges``, so that lines are told
and not columns.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNCHECKED_HASH = 0b01


def main() -> None:
    """Compile what standard input names."""
    root = Path(sys.argv[1])
    for line in sys.stdin.read().splitlines():
        name = line.removeprefix("-")
        source = (root / name).read_bytes()
        tree = ast.parse(source, name)
        for function in _functions(tree):
            if ast.get_docstring(function, clean=False) is not None:
                function.body[0] = ast.copy_location(ast.Pass(), function.body[0])
            _leave_out_annotations(function)
            if name != line:
                _put_on_one_line(function)
        if name != line:
            _leave_out_documentation(tree)
        code = compile(tree, name, "exec", dont_inherit=True, optimize=0)
        place = Path(importlib.util.cache_from_source(str(root / name), optimization=""))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(
            importlib.util.MAGIC_NUMBER
            + _UNCHECKED_HASH.to_bytes(4, "little")
            + importlib.util.source_hash(source)
            + marshal.dumps(code)
        )


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Give every function, the outer before those in it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def _leave_out_annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    function.returns = None
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None


def _leave_out_documentation(tree: ast.Module) -> None:
    """Leave out what classes and the module say of themselves; what only says that is not left empty."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            # Not in place of it: a module's imports from __future__ come before everything else.
            del node.body[0]
            if isinstance(node, ast.ClassDef) and not node.body:
                node.body.append(ast.copy_location(ast.Pass(), node))


def _put_on_one_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Let everything in a function be where it begins, but for the functions in it."""
    place = {"lineno": function.lineno, "end_lineno": function.lineno, "col_offset": 0, "end_col_offset": 0}
    for node in ast.walk(function):
        if hasattr(node, "lineno") and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            vars(node).update(place)


if __name__ == "__main__":
    main()
