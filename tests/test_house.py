"""The rules of the house that no linter has: faces, short functions, short files."""

import ast
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).parents[1] / "src" / "surefoot"
FILES = sorted(SOURCE.rglob("*.py"))


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("surefoot", cache_dir=None)


def test_nobody_imports_the_face_of_their_own_package(graph):
    own = [
        (module, face)
        for module in graph.modules
        for face in graph.find_modules_directly_imported_by(module)
        if module.startswith(f"{face}.")
    ]
    assert own == []


def test_other_packages_are_known_by_their_faces_alone(graph):
    """What lies behind a face is nobody's but the package's own, underscore or not."""
    deep = [
        (module, found)
        for module in graph.modules
        for found in graph.find_modules_directly_imported_by(module)
        if found.split(".")[1:2] != module.split(".")[1:2] and found.count(".") > 1
    ]
    assert deep == []


def length(function):
    """Lines of code, without the docstring."""
    told = ast.get_docstring(function, clean=False) is not None
    first = function.body[0]
    text = first.end_lineno - first.lineno + 1 if told else 0
    return function.end_lineno - function.lineno + 1 - text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_fit_on_a_screen_and_files_in_the_head(path):
    text = path.read_text()
    assert text.count("\n") <= 350
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    assert [(one.name, length(one)) for one in functions if length(one) > 40] == []
