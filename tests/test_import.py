"""`import surefoot` loads little, and everything is there when it is asked for."""

import subprocess
import sys

import pytest

import surefoot

LOADED = "import sys, surefoot; print(sorted(n for n in sys.modules if n.startswith('surefoot.')))"


def ran(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


def test_importing_loads_neither_torch_nor_the_packages():
    """So it takes no longer than what a program imports besides."""
    assert ran("import sys, surefoot; print('torch' in sys.modules)") == "False"
    assert ran(LOADED) == "['surefoot.errors', 'surefoot.version']"


def test_every_promised_name_is_there():
    for name in surefoot.__all__:
        assert getattr(surefoot, name) is not None
        assert name in dir(surefoot)
    assert surefoot.audit.__module__.startswith("surefoot.auditing")
    assert surefoot.auditing.natural.Flip is not None


def test_what_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'explains'"):
        _ = surefoot.explains
    assert not hasattr(surefoot, "__wrapped__")
