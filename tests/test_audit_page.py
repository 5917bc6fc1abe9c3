"""The page of an audit: right as text, and whole in a real browser where one is installed."""

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import surefoot
from surefoot import AuditResult, SurefootError, attack, auditing, explain, report
from surefoot.cli import main
from surefoot.report import _page_gallery

for package in ("pandas", "pyarrow", "jinja2", "matplotlib"):
    pytest.importorskip(package)

HOSTILE = '<img src="http://evil.example/x.png" onerror="document.title=1">&amp;'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
AXE = Path(
    os.environ.get("AXE_CORE", Path(__file__).parents[1] / "node_modules/axe-core/axe.min.js")
)
browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Photographs(TensorDataset):
    names = tuple(f"{HOSTILE}{number}.jpg" for number in range(12))
    classes = ("</style><script>alert(1)</script>", "cat", "dog & bone")


def audited(folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3)]
        net = nn.Sequential(*layers).eval()
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = net(images).argmax(1)
    labels[4] = (labels[4] + 1) % 3
    budgets = [attack.Linf(size / 255, steps=2) for size in (2, 8)]
    return surefoot.audit(
        net,
        DataLoader(Photographs(images, labels), batch_size=4),
        explainers={"gradient": explain.Gradient(), "<b>ixg</b>": explain.InputXGradient()},
        attacks={
            "topk": attack.TopK(budgets, k=0.1),
            "jpeg": auditing.natural.JPEG(quality=50),
        },
        draws=2,
        block=4,
        about={"command": "python <audit>.py", "model": "a <small> net"},
        out=folder,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("audit")
    audited(place)
    return place


@pytest.fixture(scope="module")
def page(folder):
    return report.audit_page(AuditResult.load(folder))


class Parts(HTMLParser):
    """Tags and attributes, as a browser would see them."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def words(page):
    return html.unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))


def test_it_is_one_file_without_scripts_or_requests(page):
    parts = Parts()
    parts.feed(page)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & parts.tags
    assert not [name for name, _ in parts.attributes if name.startswith("on")]
    places = ("src", "href", "srcset", "action", "data", "poster", "style")
    sources = [value for name, value in parts.attributes if name in places]
    assert len(sources) == 2 * 3 * 5
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_pictures_are_stored_at_their_own_size():
    for side, kind in ((95, "png"), (96, "jpeg")):
        pixels = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
        head, _, data = _page_gallery._data(pixels).partition(",")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == f"data:image/{kind};base64"
        assert image.size == (side, side)
        if kind == "png":  # to the bit
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels)


def test_what_was_given_stands_as_text(page):
    text = words(page)
    assert HOSTILE in text  # as it was written
    assert HOSTILE not in page
    for given in ("<b>ixg</b>", "a <small> net", "python <audit>.py"):
        assert given in text
        assert given not in page


def test_it_tells_what_the_summary_says(folder, page):
    result = AuditResult.load(folder)
    table = result.summary()
    rows = table.query("metric == 'topk_intersection' and not control and goal != 'none'")
    text = " ".join(words(page).split())
    for explainer, group in rows.groupby("explainer"):
        worst = group.loc[group["mean"].idxmin()]
        share = worst["mean"]
        kind = "holds" if share >= 0.8 else "weakens" if share >= 0.5 else "does not hold"
        assert worst["attack"] == "topk linf 0.03137"
        sentence = f"{explainer} {kind}. Under topk, linf 8/255, {share:.3f}"
        assert sentence in text
        assert f"random changes of the same size leave {worst['floor']:.3f}" in text
    assert "Only 11 samples (of 12 that were looked at" in text
    assert "Without any intent, jpeg leaves" in text
    assert "measured by topk_intersection: the share of the most important places" in text
    assert "model gets 11 of 12 right" in text
    for part in ("How to read it", "What this does not show", "To run it again"):
        assert part in text
    for image in ("original", "perturbed", "difference, magnified", "map before", "map after"):
        assert page.count(f'alt="{image}:') == 2 * 3


def test_controls_are_set_apart_and_nothing_is_bold_without_a_test(page):
    table = page.split("<table>")[1].split("</table>")[0]
    ranked, apart = table.split("Set apart, not ranked")
    assert "random" not in ranked
    for name in ("random signs, gradient", "identical input", "random map, which ignores"):
        assert name in apart
    assert "<b>" not in apart


def test_the_best_is_bold_where_the_paired_test_says_so():
    def drawn(one):
        generator = torch.Generator().manual_seed(int(1e6 * one.double().sum()) % 997)
        return torch.rand(one.shape, generator=generator)

    def noise(model, inputs, target):
        return torch.rand(
            inputs.shape, generator=torch.Generator().manual_seed(int(1e6 * inputs.sum()) % 997)
        )

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = torch.rand(16, 20)
    result = surefoot.audit(
        net,
        (x, net(x).argmax(1)),
        explainers={"gradient": explain.Gradient(), "noise": noise},
        attacks={"signs": attack.RandomSign(attack.Linf(0.01), k=5)},
        metrics=["topk_intersection"],
        block=1,
        controls=False,
    )
    made = report.audit_page(result)
    p = result.compare("gradient", "noise")["p_holm"].max()
    assert p < 0.05
    lines = made.split("<tbody>")[1].split("</tr>")
    assert "gradient" in lines[0]
    assert "<b>" in lines[0]
    assert "<b>" not in lines[1]
    assert "No pictures" in made


def test_two_audits_side_by_side(folder, tmp_path, capsys):
    out = tmp_path / "both.html"
    assert main(["report", str(folder), str(folder), "-o", str(out)]) == 0
    text = " ".join(words(out.read_text()).split())
    for part in ("Audit A", "Audit B", "Side by side", "Scores of audit A", "Scores of audit B"):
        assert part in text
    said, wrote = capsys.readouterr()
    assert said.splitlines() == [f"{folder}: 11 samples"] * 2
    assert wrote == f"surefoot: wrote {out}\n"


@pytest.mark.parametrize("form", ["csv", "json", "md", "tex"])
def test_summaries_are_exported(folder, tmp_path, form):
    path = tmp_path / f"summary.{form}"
    assert main(["report", str(folder), "-o", str(path)]) == 0
    assert main(["report", str(folder), "-o", str(path)]) == 0  # its own may be written again
    content = path.read_text()
    table = AuditResult.load(folder).summary()
    mean = table.query("metric == 'spearman' and explainer == 'gradient' and attack == 'jpeg'")
    shown = {"csv": "{!r}", "json": "{:.12g}", "md": "{:.4g}", "tex": "{:.4g}"}[form]
    assert shown.format(mean["mean"].item())[:12] in content
    if form == "json":
        assert len(json.loads(content)["summary"]) == len(table)
    if form == "tex":
        assert r"topk\_intersection" in content
        assert content.count(r" \\") == len(table) + 1
    if form == "md":
        assert len(content.splitlines()) == len(table) + 2
    with pytest.raises(SurefootError, match="must end in"):
        AuditResult.load(folder).export(tmp_path / "summary.xls")


def test_an_audit_that_is_not_finished_has_a_page(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "half")
    (tmp_path / "half" / "audit.json").unlink()
    state = auditing._folder.Folder(folder).state()
    rest = {k: v for k, v in state.items() if k not in ("finished", "samples", "failed")}
    auditing._folder.Folder(tmp_path / "half").write_state(rest)
    sorted((tmp_path / "half" / "samples").iterdir())[-1].unlink()
    shutil.rmtree(tmp_path / "half" / "gallery")
    half = AuditResult.load(tmp_path / "half")
    assert len(half) == 7
    text = " ".join(words(report.audit_page(half)).split())
    assert "This audit is not finished: 8 of 12 samples were looked at" in text


PROBE = """
<script>
document.addEventListener("DOMContentLoaded", async () => {
  const root = document.documentElement, wide = () => root.scrollWidth > innerWidth;
  const told = {width: innerWidth, title: document.title, wide: wide()};
  try {
    told.paper = getComputedStyle(document.body).backgroundColor;
    document.querySelectorAll("details").forEach(one => one.open = true);
    told.wideOpen = wide();
    for (const one of document.images) one.loading = "eager";
    await new Promise(go => onload = go);
    told.pictures = [...document.images].map(one => one.complete && one.naturalWidth > 0);
    told.requests = performance.getEntriesByType("resource").map(one => one.name);
    told.requests = told.requests.filter(name => !name.startsWith("data:"));
    if (window.axe) {
      const found = await axe.run(document);
      told.axe = found.violations.map(v => [v.impact, v.id, v.nodes.map(one => one.html)]);
    }
  } catch (error) { failed.push(String(error)); }
  told.errors = failed;
  parent.postMessage(JSON.stringify(told), "*");
});
</script>
"""


def probed(page, place, width, dark):
    axe = f"<script>{AXE.read_text()}</script>" if AXE.is_file() else ""
    listening = "<script>window.failed=[];onerror=e=>{failed.push(String(e))}</script>"
    inner = html.escape(page.replace("</head>", f"{listening}{axe}{PROBE}</head>"))
    told = "onmessage = e => { document.body.innerHTML = ''; document.body.dataset.told = e.data }"
    path = place / "probe.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><body style='margin:0'><script>{told}</script>"
        f'<iframe style="border:0" width="{width}" height="900" srcdoc="{inner}"></iframe>'
    )
    options = ["--window-size=1500,1000", "--dump-dom", "--virtual-time-budget=20000"]
    if dark:
        options.append("--blink-settings=preferredColorScheme=0")
    found = chromium(path, place, *options)
    told = re.search(r'data-told="([^"]*)"', found)
    assert told, found[-500:]
    return json.loads(html.unescape(told[1]))


def chromium(path, place, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={place / 'profile'}", *options, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@browser
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (375, True)])
def test_it_is_whole_in_a_browser(page, width, dark, tmp_path):
    told = probed(page, tmp_path, width, dark)
    assert told["errors"] == []
    assert told["requests"] == []
    assert told["title"] == "Surefoot audit"
    assert told["width"] == width
    assert not told["wide"]
    assert not told["wideOpen"]
    assert len(told["pictures"]) == 2 * 3 * 5
    assert all(told["pictures"])
    assert told["paper"] == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --no-save axe-core")
    assert [one for one in told["axe"] if one[0] in ("serious", "critical")] == []


@browser
def test_it_prints(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page)
    chromium(path, tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 30
