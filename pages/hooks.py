"""Mkdocs's hooks: pages that are made from the code, equations, and files that links need."""

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pages import links, maths, notebooks, options, recipes, reference

# What the theme leaves out for those who use a keyboard or a screen reader.
FOCUSABLE = {
    r"(<table\b[^>]*>)": r'<div class="wide" tabindex="0">\1',  # whatever classes it has
    r"(</table>)": r"\1</div>",
    r"<pre>(<span></span><code>)": r'<pre tabindex="0">\1',
}
SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'
OWN = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Equations in a line."""
    config.markdown_extensions.append(maths.Equations())  # type: ignore[arg-type]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of the code: the reference, the command line, recipes; and of the repository's root."""
    made = reference.pages() | options.pages() | recipes.pages() | notebooks.pages()
    made |= {links.PAGES[path]: links.page_of(path) for path in OWN}
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_nav(nav: Any, config: MkDocsConfig, files: Files) -> Any:
    """Files that pages link to must be known before the pages are rendered."""
    for file in list(files.documentation_pages()):
        links.carried(file.src_uri, file.content_string, files, config)
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/."""
    return links.carried(page.file.src_uri, markdown, files, config)


def on_page_content(html: str, **_: Any) -> str:
    """What is wider than the screen scrolls by itself, by keyboard, too."""
    for plain, focusable in FOCUSABLE.items():
        html = re.sub(plain, focusable, html)
    return html


def on_post_page(output: str, **_: Any) -> str:
    """The search has a name."""
    if SEARCH not in output:
        raise PluginError("the theme's search is written otherwise: see pages/hooks.py")
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')
