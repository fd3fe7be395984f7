"""Every kernel has its slow twin, and every twin its kernel."""

import ast
import importlib
from pathlib import Path

import pytest

import fastmark.kernels

COMPILED = ("kernel", "inline")


def public_functions(path, decorators=None):
    """Names of a file's public functions: all, or those under one of some decorators."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    if decorators is not None:
        functions = [f for f in functions if any(ast.unparse(d) in decorators for d in f.decorator_list)]
    return {f.name for f in functions if not f.name.startswith("_")}


# the others compile and list kernels, and have none themselves
FILES = sorted(p for p in Path(fastmark.kernels.__path__[0]).glob("*.py") if public_functions(p, COMPILED))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_public_kernel_has_a_twin_of_the_same_name(path):
    kernels = public_functions(path, COMPILED)
    twins = importlib.import_module(f"reference.{path.stem}")
    assert kernels <= public_functions(Path(twins.__file__))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_twin_has_its_kernel(path):
    twins = importlib.import_module(f"reference.{path.stem}")
    assert public_functions(Path(twins.__file__)) <= public_functions(path, COMPILED)
