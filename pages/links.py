"""Links of the pages to other files of the repository: the files come along into the site."""

import re
from pathlib import Path, PurePosixPath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
PAGES = {"CONTRIBUTING.md": "contributing/house.md", "CHANGELOG.md": "changes.md"}
PAGES |= {"SECURITY.md": "security.md", "README.md": "index.md", "examples": "notebooks/index.md"}


def outside(page: PurePosixPath, target: str) -> str | None:
    """The path in the repository that a link of docs/`page` leaves docs/ for, if it does."""
    if re.match(r"[a-z]+:|/", target):
        return None
    parts: list[str] = []
    for part in (PurePosixPath("docs") / page.parent / target).parts:
        if part == "..":
            if not parts:
                raise PluginError(f"{page}: the link {target} leaves the repository")
            parts.pop()
        else:
            parts.append(part)
    return None if parts[:1] == ["docs"] else "/".join(parts)


def carried(page: str, text: str, files: Files, config: object) -> str:
    """The page's text with its links to files outside docs/ made links inside the site."""

    def moved(found: re.Match[str]) -> str:
        path = outside(PurePosixPath(page), found[2])
        if path is None:
            return found[0]
        place = PAGES.get(path) or f"files/{path}"
        if path not in PAGES:
            if not (ROOT / path).is_file():
                raise PluginError(f"{page}: the link {found[2]} leads to no file")
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))  # type: ignore[arg-type]
        up = "../" * (len(PurePosixPath(page).parts) - 1)
        return f"{found[1]}{up}{place}{found[3] or ''}{found[4]}"

    return LINK.sub(moved, text)


def page_of(path: str) -> str:
    """A Markdown file of the repository's root as a page: its links as they are from there."""
    here = PurePosixPath(PAGES[path])
    up = "../" * (len(here.parts) - 1)

    def moved(found: re.Match[str]) -> str:
        target = found[2]
        if re.match(r"[a-z]+:|/", target):
            return found[0]
        inside = target.removeprefix("docs/")
        place = inside if inside != target else f"../{target}"
        return f"{found[1]}{up}{place}{found[3] or ''}{found[4]}"

    return LINK.sub(moved, (ROOT / path).read_text(encoding="utf-8"))
