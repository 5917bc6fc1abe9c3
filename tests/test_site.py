"""The site: built with warnings as errors, whole by itself, and good to read in a real browser."""

import asyncio
import html
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

for package in ("mkdocs", "material", "mkdocstrings", "latex2mathml", "nbconvert", "tornado"):
    pytest.importorskip(package)

from tests.browser import CHROMIUM, browser, served  # noqa: E402 (tornado is dask's)

pytestmark = pytest.mark.xdist_group("site")  # one build and one browser for all
ROOT = Path(__file__).parents[1]
AXE = Path(os.environ.get("AXE_CORE", ROOT / "node_modules/axe-core/axe.min.js"))
SOURCES = ("docs/**/*.md", "docs/**/*.ipynb", "pages/*.py", "src/**/*.py", "*.md", "mkdocs.yml")
# Of each kind of page one: widths and colours take turns, so that each meets both.
LOOKED_AT = [
    ("index.html", 375, True),
    ("start/five-minutes.html", 1440, False),
    ("understand/training.html", 375, False),
    ("attacks.html", 375, True),
    ("gallery.html", 1440, True),
    ("notebooks/explain.html", 375, False),
    ("reference/errors.html", 1440, True),
    ("reference/command-line.html", 375, False),
]

if os.environ.get("EVERY_PAGE"):  # by hand: some minutes
    EVERY = sorted(
        path.relative_to(ROOT / "site").as_posix() for path in ROOT.glob("site/**/*.html")
    )
    SIZES = [(375, False), (375, True), (1440, False), (1440, True)]
    OTHERS = ("404.html", "audit-example/photographs.html")
    LOOKED_AT = [(one, *size) for one in EVERY if one not in OTHERS for size in SIZES]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that `make docs` makes: the one that is there, if nothing has changed since."""
    ready = ROOT / "site" / "index.html"
    newest = max(path.stat().st_mtime for each in SOURCES for path in ROOT.glob(each))
    if ready.is_file() and ready.stat().st_mtime > newest:
        return ready.parent
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    told = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Links(HTMLParser):
    """What a page points to, and what can be pointed to in it."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.anchors |= {told[name] for name in ("id", "name") if told.get(name)}
        self.targets += [told[name] for name in ("href", "src") if told.get(name)]
        self.targets += [tag for tag in ("iframe", "object", "embed") if tag in told]


@pytest.fixture(scope="module")
def pages(site):
    """By path in the site."""
    found = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    return {name: Links(path.read_text(encoding="utf-8")) for name, path in found.items()}


def test_every_link_resolves_inside_the_site(site, pages):
    broken = []
    for page, links in pages.items():
        for target in links.targets if page != "404.html" else ():
            place, anchor = urldefrag(unquote(urljoin(page, target)))
            if re.match(r"https?:|mailto:|data:", target):
                continue
            known = place in pages or (site / place).is_file() or (site / place).is_dir()
            if not known or (anchor and place in pages and anchor not in pages[place].anchors):
                broken.append((page, target))
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site):
    """Not by an element of a page; links that a reader clicks are another matter."""
    fetching = re.compile(
        r"<(?:script|img|iframe|link|source|video)\b[^>]*?(?:src|href)=\"(https?:[^\"]+)"
    )
    for path in site.rglob("*.html"):
        outside = fetching.findall(path.read_text(encoding="utf-8"))
        assert [one for one in outside if not is_canonical(one)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\((?:\"|')?https?:[^)]*|@import[^;]*", styles) == []


def is_canonical(address):
    return address.startswith(os.environ.get("SITE_URL") or "none")


def test_every_public_name_has_its_place(site):
    """In the pages and in the inventory by which other projects link here."""
    from pages.reference import PACKAGES  # noqa: PLC0415 (an extra's)

    raw = (site / "objects.inv").read_bytes()
    inventory = zlib.decompress(raw.split(b"zlib.\n", 1)[1]).decode()
    for package in PACKAGES:
        module = __import__(f"surefoot.{package}", fromlist=["__all__"])
        for name in getattr(module, "__all__", ()):
            assert f"surefoot.{package}.{name} " in inventory


def test_every_option_is_told(site):
    from surefoot.cli._main import COMMANDS  # noqa: PLC0415 (an extra's)

    text = html.unescape((site / "reference/command-line.html").read_text(encoding="utf-8"))
    for name, module in COMMANDS.items():
        told = text.split(f'id="surefoot-{name}"')[1].split("<h2")[0]
        flags = [flag for one in module.parser()._actions for flag in one.option_strings]
        skipped = ("--print_config", "--help", "-h")
        plain = [flag for flag in flags if not flag.startswith(skipped) and "+" not in flag]
        assert [flag for flag in plain if f">{flag}<" not in told] == []


def test_equations_are_drawn_without_scripts(site):
    text = (site / "understand/decoys.html").read_text(encoding="utf-8")
    assert text.count('display="block"') == 3
    assert "$`" not in text
    assert "\\epsilon" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)


AXE_RUN = "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
AXE_RUN += "[v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html)]))"


@pytest.fixture(scope="module")
def looked_at(site, tmp_path_factory):
    """What a browser tells of some pages; one browser for those in light, one for those in dark."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    told = {}
    for dark in (False, True):
        views = [view for view in LOOKED_AT if view[2] == dark]
        told |= asyncio.run(look(site, views, tmp_path_factory.mktemp("profile"), dark))
    return told


async def look(site, views, profile, dark):
    """By page, width and whether dark: requests, errors, overflow, and what axe-core finds."""
    told = {}
    with served(site) as address:
        async with browser(profile, dark) as tab:
            for page, width, _ in views:
                await tab.open(f"{address}/{page}", width)
                axe = None
                if AXE.is_file():
                    await tab.run(AXE.read_text(encoding="utf-8") + "; 0")
                    axe = await tab.run(AXE_RUN)
                wide = "document.documentElement.scrollWidth - innerWidth"
                scheme = "document.body.getAttribute('data-md-color-scheme')"
                requests = tab.told("Network.requestWillBeSent")
                told[page, width, dark] = {
                    "wide": await tab.run(wide),
                    "scheme": await tab.run(scheme),
                    "outside": [
                        one["request"]["url"]
                        for one in requests
                        if not one["request"]["url"].startswith((address, "data:", "blob:"))
                    ],
                    "failed": [
                        one["response"]["url"]
                        for one in tab.told("Network.responseReceived")
                        if one["response"]["status"] >= 400
                    ],
                    "errors": tab.told("Runtime.exceptionThrown"),
                    "axe": axe,
                }
    return told


@pytest.mark.parametrize("view", LOOKED_AT, ids=lambda view: f"{view[0]} {view[1]} {view[2]}")
def test_pages_read_well(looked_at, view):
    told = looked_at[view]
    assert told["outside"] == []
    assert told["failed"] == []
    assert told["errors"] == []
    assert told["wide"] <= 0
    assert told["scheme"] == ("slate" if view[2] else "default")
    if told["axe"] is None:
        pytest.skip("axe-core is not installed: npm install --no-save axe-core")
    assert [one for one in told["axe"] if one[0] in ("serious", "critical")] == []


def test_the_search_works_from_a_folder(site, tmp_path):
    """Without a server, as a reader opens a downloaded site."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    async def asked():
        async with browser(tmp_path) as tab:
            await tab.open((site / "index.html").as_uri() + "?q=topk_intersection", 1440)
            for _ in range(200):
                found = await tab.run("document.querySelectorAll('.md-search-result__link').length")
                if found:
                    return found
                await asyncio.sleep(0.05)
            return 0

    assert asyncio.run(asked()) > 0
