"""What must hold before a version is published: `python -m pages.release dist/* [--tag v1.2.3]`."""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = ("pyproject.toml", "LICENSE", "README.md", "src/surefoot/py.typed")
LARGEST = 3_000_000  # bytes of a wheel: larger networks are files of a release, beside it


def main(arguments: list[str] | None = None) -> int:
    """Print what falls short, and return how much does."""
    parser = argparse.ArgumentParser(prog="python -m pages.release", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="a wheel and an sdist")
    parser.add_argument("--tag", help="of the release; compared with the version")
    parser.add_argument("--torch", help="version to install first, such as 2.4.0; or oldest")
    parser.add_argument("--install", action="store_true", help="also in empty environments")
    settings = parser.parse_args(arguments)
    found = [*_written(settings.tag), *_packed(settings.files)]
    if settings.install:
        found += [line for file in settings.files for line in _installed(file, settings.torch)]
    print("\n".join(found) or "Ready.")
    return len(found)


def version() -> str:
    """As version.py has it."""
    text = (ROOT / "src/surefoot/version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "(.+)"', text)
    return found[1] if found else ""


def oldest_torch() -> str:
    """The lower end of the stated range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = " ".join(project["dependencies"])
    found = re.search(r"torch>=([\d.]+)", needs)
    return f"{found[1]}.0" if found else ""


def _written(tag: str | None) -> Iterator[str]:
    """What the project's files must say of a release."""
    own = version()
    if tag is None:
        return
    if tag.removeprefix("v") != own:
        yield f"the tag is {tag}, the version {own}"
    if "dev" in own:
        yield f"{own} is a development version"
    if f"## [{own}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"CHANGELOG.md has no section [{own}]"
    if f"version: {own}" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8"):
        yield f"CITATION.cff does not say version: {own}"
    if "[project.urls]" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8"):
        yield "pyproject.toml has no [project.urls]: where is the project's home?"


def _packed(files: list[Path]) -> Iterator[str]:
    """What wheel and sdist must hold, and must not."""
    for file in files:
        if file.suffix == ".whl":
            if file.stat().st_size > LARGEST:
                yield f"{file.name} has {file.stat().st_size} bytes, more than {LARGEST}"
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
            if "surefoot/py.typed" not in names:
                yield f"{file.name} has no py.typed, so users' type checkers would not look"
        else:
            with tarfile.open(file) as archive:
                names = [name.partition("/")[2] for name in archive.getnames()]
            yield from (f"{file.name} has no {name}" for name in WANTED if name not in names)
        if any(name.startswith(("site/", ".venv/")) for name in names):
            yield f"{file.name} holds what was built here"


def _installed(file: Path, torch: str | None) -> Iterator[str]:
    """Installed into an empty environment, outside the repository, does it run?"""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        wanted = oldest_torch() if torch == "oldest" else torch
        needs = [f"torch=={wanted}"] if wanted else []
        smoke = str(ROOT / "tests" / "smoke.py")
        for command in ([python, "-m", "pip", "install", *needs, str(file)], [python, smoke]):
            done = subprocess.run(command, cwd=folder, check=False)  # noqa: S603
            if done.returncode:
                yield f"{file.name}: {' '.join(command[1:4])} ended with {done.returncode}"
                return


if __name__ == "__main__":
    sys.exit(main())
