"""Makes docs/pictures.md and its pictures: one of each layout and family of methods.

python examples/pictures.py            # all of them, some minutes on two cores
python examples/pictures.py signal     # one of them

Photographs and network are those of the extra `demo`; signals, sentences, records and volumes are
made here, and the small networks that read them are trained here, from seed 0.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from surefoot import attack, data, decoy, models, report
from surefoot.explain import Captum, Decoy, Gradient, IntegratedGradients, SmoothGrad

DOCS = Path(__file__).parents[1] / "docs"
NETWORK = "efficientnet-lite0"
MARK = "<!-- below: made by examples/pictures.py -->"
WIDE = 840  # pixels
LOAN = ["refused", "granted"]
PLACES = [(y, x) for y in (0, 64, 128) for x in (0, 64, 128)]
PICTURES: dict[str, Callable[[], Figure]] = {}


def shows(make: Callable[[], Figure]) -> Callable[[], Figure]:
    """Register a picture under its function's name; the docstring says what is to be seen."""
    PICTURES[make.__name__] = make
    return make


def photographs(*names: str) -> tuple[nn.Module, Tensor]:
    """The network of the demo, and photographs (N, 3, 224, 224)."""
    images = [data.load_image(data.locate(name), 224) for name in names]
    return models.load(NETWORK), torch.stack(images)


def trained(net: nn.Module, inputs: Tensor, labels: Tensor, steps: int = 200) -> nn.Module:
    """The network after so many steps of Adam on all of the data."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net.eval()


@shows
def paths() -> Figure:
    """Gradients along a path, at the width of a paper: what speaks for and against beside size."""
    model, images = photographs("chelsea", "coffee")
    found = IntegratedGradients(steps=16).explain(model, images)
    return report.picture(found, names=["chelsea", "coffee"], size="paper")


@shows
def noise() -> Figure:
    """Noise averaged away, smoothed; the largest tenth outlined and cut out for print."""
    model, images = photographs("coffee")
    found = SmoothGrad(Gradient(), samples=16).explain(model, images)
    panels = ["input", "map", "contours", "top"]
    return report.picture(found, names=["coffee"], size="paper", panels=panels, smooth=2)


@shows
def activations() -> Figure:
    """A layer's activations (captum's LayerGradCam), in one column of a paper."""
    model, images = photographs("chelsea")
    cam = Captum("LayerGradCam", layer="module._blocks.15")
    found = cam.explain(model, images)
    panels = ["input", "signed", "overlay"]
    return report.picture(found, names=["chelsea"], size="column", panels=panels, opacity=0.7)


@shows
def decoy_map() -> Figure:
    """A decoy map beside the map of the same method alone, as a slide."""
    model, images = photographs("coffee")
    plain = IntegratedGradients(steps=4)
    found = Decoy(plain, decoys=24).explain(model, images)
    base = plain(model, images, found.target)
    return report.picture(found, base=base, names=["coffee"], size="slide")


@shows
def decoys() -> Figure:
    """The decoys themselves: inputs that a layer cannot tell apart."""
    model, images = photographs("coffee")
    return report.decoys_picture(decoy.make_decoys(model, images, decoys=64), size="paper")


@shows
def attacked() -> Figure:
    """An attack: the same prediction, another map."""
    model, images = photographs("chelsea")
    budget = attack.Linf(2 / 255, steps=10)
    found = attack.TopK(budget, k=1000)(model, images, None, Gradient())
    clean, moved = (model(each).detach().softmax(1) for each in (found.originals, found.inputs))
    labels = models.card(model).labels
    whole = report.Attacked(found, clean, moved, labels=labels, names=["chelsea"])
    return report.attack_picture(whole, size="slide")


@shows
def attacked_record() -> Figure:
    """An attack on a record: the values it changed, and the same bars before and after."""
    net, fields, inputs = loans()
    budget, attacked = attack.Linf(0.3, steps=30, bounds=(-5, 5)), inputs[:1]
    found = attack.TopK(budget, k=8)(net, attacked, None, IntegratedGradients(steps=16))
    signs = attack.RandomSign(budget, k=8)(net, attacked, None, IntegratedGradients(steps=16))
    clean, moved = (net(each).detach().softmax(1) for each in (found.originals, found.inputs))
    whole = report.Attacked(found, clean, moved, signs.scores, 1, LOAN, ["loan 1"])
    return report.attack_picture(whole, features=fields, size="paper")


@shows
def segmentation() -> Figure:
    """A model that segments: the region it gives to the class, and what the class depends on."""
    torch.manual_seed(0)
    across = torch.linspace(-1, 1, 48)
    centres = 1.2 * torch.rand(40, 2) - 0.6
    far = (across.view(1, 48, 1) - centres[:, 0].view(-1, 1, 1)).square()
    far = far + (across.view(1, 1, 48) - centres[:, 1].view(-1, 1, 1)).square()
    masks = far < 0.08
    colour = torch.tensor([0.55, 0.2, 0.35]).view(1, 3, 1, 1) * masks[:, None]
    inputs = (0.25 + 0.15 * torch.rand(40, 3, 48, 48) + colour).clamp(0, 1)
    layers = [nn.Conv2d(3, 8, 7, padding=3), nn.Tanh(), nn.Conv2d(8, 2, 7, padding=3)]
    net = trained(nn.Sequential(*layers), inputs, masks.long(), 120)
    whole = models.Classifier(net, output="segmentation").eval()
    found = IntegratedGradients(steps=16).explain(whole, inputs[:1], 1)
    regions = net(inputs[:1]).argmax(1) == 1
    labels = ["background", "nucleus"]
    return report.picture(found, regions=regions, labels=labels, size="paper")


class Both(nn.Module):
    """A picture and a record, read by two networks whose logits are added."""

    def __init__(self) -> None:
        super().__init__()
        picture = [nn.Conv2d(3, 8, 7, padding=3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.picture = nn.Sequential(*picture, nn.Linear(8, 2))
        self.record = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, image: Tensor, record: Tensor) -> Tensor:
        """The sum of both."""
        return self.picture(image) + self.record(record)


@shows
def several_inputs() -> Figure:
    """Several inputs: a photograph and a record, each with its part of one explanation."""
    torch.manual_seed(0)
    pieces = [data.load_image(data.locate(name), 224) for name in ("chelsea", "coffee")]
    inputs = torch.stack([piece[:, y : y + 96, x : x + 96] for piece in pieces for y, x in PLACES])
    labels = torch.arange(2).repeat_interleave(len(PLACES))
    fields = torch.randn(len(inputs), 4)
    fields[:, 0] += 3.0 * labels
    net = Both()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs, fields), labels).backward()
        optimizer.step()
    found = IntegratedGradients(steps=16).explain(net.eval(), (inputs[4:5], fields[4:5]))
    names = [None, ["temperature", "weight", "age", "noise"]]
    labels, samples = ["animal", "drink"], ["case 1"]
    return report.picture(found, features=names, labels=labels, names=samples, size="paper")


@shows
def signal() -> Figure:
    """Signals: a line over the colours of its map, channel by channel; 8,000 samples."""
    torch.manual_seed(0)
    time = torch.linspace(0, 40, 8000)
    beats = torch.exp(-40 * (torch.remainder(time, 2) - 1).square())
    inputs = beats + 0.04 * torch.randn(40, 2, 8000)
    labels = torch.arange(40) % 2
    inputs[labels == 1, 0, 5000:5400] -= 0.8
    net = nn.Sequential(
        nn.Conv1d(2, 4, 65, stride=16, padding=32), nn.ReLU(), nn.AdaptiveMaxPool1d(8)
    )
    net = trained(nn.Sequential(net, nn.Flatten(), nn.Linear(32, 2)), inputs, labels, 60)
    found = IntegratedGradients(steps=16).explain(net, inputs[1:2], layout="signal")
    names, labels = ["lead I", "lead II"], ["even", "with a dip"]
    return report.picture(found, features=names, labels=labels, names=["recording 2"], size="paper")


@shows
def sentence() -> Figure:
    """Sentences: pieces joined, special tokens grey and out of the scale."""
    torch.manual_seed(0)
    good, bad = (
        ["un ##forgett ##able", "charm ##ing", "bril ##liant"],
        ["dull", "flat", "tire ##some"],
    )
    texts = [
        f"[CLS] a {a} film , and {b} throughout [SEP]"
        for kind in (good, bad)
        for a in kind
        for b in kind
    ]
    mixed = "[CLS] an un ##forgett ##able film , and tire ##some throughout [SEP]"
    split = [text.split() for text in (*texts, mixed)]
    words = sorted({word for text in split for word in text})
    longest = max(map(len, split))
    padded = [[*text, *["[PAD]"] * (longest - len(text))] for text in split]
    words.append("[PAD]")
    ids = torch.tensor([[words.index(word) for word in text] for text in padded])
    embedding = nn.Embedding(len(words), 8)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
    whole = nn.Sequential(embedding, net, Mean())
    trained(whole, ids[:-1], torch.arange(18) // 9)
    inputs = embedding(ids[[0, 18]]).detach()
    found = IntegratedGradients(steps=16).explain(
        nn.Sequential(net, Mean()).eval(), inputs, 0, layout="tokens"
    )
    features, names = [padded[0], padded[18]], ["review 1", "review 2"]
    labels = ["positive", "negative"]
    return report.picture(found, features=features, labels=labels, names=names, size="paper")


class Mean(nn.Module):
    """Over the tokens."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, T, K) to (N, K)."""
        return values.mean(1)


def loans() -> tuple[nn.Module, list[str], Tensor]:
    """A network that grants loans, the names of its fields, and 400 made records."""
    torch.manual_seed(0)
    fields = ["income", "debt", "age", "years at address", "late payments", "credit lines"]
    fields += [f"survey answer {n}" for n in range(1, 35)]
    inputs = torch.randn(400, len(fields))
    score = inputs[:, 0] - 1.5 * inputs[:, 1] - inputs[:, 4] + 0.3 * torch.randn(400)
    net = nn.Sequential(nn.Linear(len(fields), 16), nn.Tanh(), nn.Linear(16, 2))
    return trained(net, inputs, (score > 0).long(), 100), fields, inputs


@shows
def record() -> Figure:
    """Records: the fields that weigh most, with their values; the others summed in the caption."""
    net, fields, inputs = loans()
    found = IntegratedGradients(steps=16).explain(net, inputs[:1])
    return report.picture(found, features=fields, labels=LOAN, names=["loan 1"], size="column")


@shows
def volume() -> Figure:
    """Volumes: slices chosen along the depth."""
    torch.manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 20)] * 3, indexing="ij")
    inputs = 0.2 * torch.rand(24, 1, 20, 20, 20)
    labels = torch.arange(24) % 2
    for place in labels.nonzero().flatten().tolist():
        centre = 0.5 * torch.randn(3).clamp(-1, 1)
        far = sum((axis - c).square() for axis, c in zip(axes, centre, strict=True))
        inputs[place, 0] += 0.7 * (far < 0.1)
    pooled = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool3d(2), nn.Flatten())
    net = trained(nn.Sequential(pooled, nn.Linear(32, 2)), inputs, labels, 80)
    found = SmoothGrad(Gradient(), samples=16, std=0.1).explain(net, inputs[1:2], 1)
    labels = ["nothing", "a body"]
    return report.picture(found, labels=labels, names=["scan 1"], size="paper", slices=2)


def main(chosen: list[str]) -> None:
    """Make the chosen pictures, and the page of all."""
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    page = DOCS / "pictures.md"
    head, _, below = page.read_text(encoding="utf-8").partition(MARK)
    alts = {name: alt for alt, name in re.findall(r"!\[(.*?)\]\(pictures/(\w+)", below)}
    for name in chosen or PICTURES:
        figure = PICTURES[name]()
        dpi = int(WIDE / figure.get_size_inches()[0])
        (folder / f"{name}.webp").write_bytes(report.render(figure, ".webp", dpi))
        alts[name] = figure.alt.replace("[", "(").replace("]", ")")
        print(f"docs/pictures/{name}.webp")
    parts = [
        f"\n\n{' '.join((make.__doc__ or '').split())}\n\n![{alts[name]}](pictures/{name}.webp)"
        for name, make in PICTURES.items()
        if name in alts
    ]
    page.write_text(f"{head}{MARK}{''.join(parts)}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
