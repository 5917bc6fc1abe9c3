"""Every public name shows how it is used; the doctests run what it shows."""

import importlib
import inspect
import pkgutil

import pytest

import surefoot

PACKAGES = [
    name
    for _, name, package in pkgutil.iter_modules(surefoot.__path__)
    if package and hasattr(importlib.import_module(f"surefoot.{name}"), "__all__")
]


def shown(one):
    """Whether its own docstring, not that of a class above it, holds an example."""
    told = vars(one).get("__doc__") if inspect.isclass(one) else one.__doc__
    return ">>> " in (told or "")


def promised(module):
    """Classes and functions by name: those of `__all__`, or all that the module defines."""
    own = [name for name, one in vars(module).items() if defined_in(module, one)]
    found = {name: getattr(module, name) for name in getattr(module, "__all__", own)}
    return {n: one for n, one in found.items() if inspect.isclass(one) or inspect.isfunction(one)}


def defined_in(module, one):
    return getattr(one, "__module__", "") == module.__name__ and one.__name__[0] != "_"


def test_the_packages_are_those_with_promises():
    assert {"attack", "auditing", "decoy", "explain", "metric", "report", "train"} <= {*PACKAGES}


@pytest.mark.parametrize("package", [*PACKAGES, "errors"])
def test_every_public_name_has_an_example(package):
    told = promised(importlib.import_module(f"surefoot.{package}"))
    assert told
    assert [name for name, one in told.items() if not shown(one)] == []
