"""Agreement with Quantus 0.6.0: same draws, one input at a time, its normalisation off.

Its Monotonicity, ROAD, Sensitivity-N and Infidelity are defective in that release and are not
compared; its PixelFlipping area needs an older NumPy, so its curves are.
"""

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import explain, metric

quantus = pytest.importorskip("quantus")

SAMPLES, SIDE, CHANNELS = 6, 8, 2
PLAIN = {"normalise": False, "disable_warnings": True, "display_progressbar": False}


def make_net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(CHANNELS, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * (SIDE - 4) ** 2, 5)).eval()


def make():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(SAMPLES, CHANNELS, SIDE, SIDE, generator=generator)
    model = make_net()
    target = model(images).argmax(1)
    return model, images, explain.InputXGradient()(model, images, target), target


def one_by_one(measure, model, images, maps, target, **options):
    """Quantus' score of each sample, called with that sample alone."""
    return torch.tensor(
        np.array(
            [
                measure(
                    model=model,
                    x_batch=images[[i]].numpy(),
                    y_batch=target[[i]].numpy(),
                    a_batch=maps[[i]].numpy(),
                    channel_first=True,
                    device="cpu",
                    **options,
                )[0]
                for i in range(len(images))
            ],
            dtype=np.float64,
        )
    )


def agree(found, expected):
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "measure"), [("gini", "Sparseness"), ("entropy", "Complexity")], ids=str
)
def test_sparsity(name, measure):
    model, images, maps, target = make()
    theirs = getattr(quantus, measure)(abs=True, **PLAIN)
    agree(metric.get(name)(maps), one_by_one(theirs, model, images, maps, target))


@pytest.mark.parametrize("features", [4, 32])
def test_pixel_flipping(features):
    model, images, maps, target = make()
    theirs = quantus.PixelFlipping(
        features_in_step=features, perturb_baseline="black", abs=False, **PLAIN
    )
    expected = one_by_one(theirs, model, images, maps, target, softmax=True)
    black = images.amin((1, 2, 3), keepdim=True)  # their "black" is each image's minimum
    steps = CHANNELS * SIDE**2 // features
    found = metric.perturbation_curve(model, images, maps, target, baseline=black, steps=steps)
    agree(found.score[:, 1:], expected)


def test_faithfulness_correlation():
    model, images, maps, target = make()
    drawn = []

    def replace(arr, indices, **_):
        """Theirs, keeping what was drawn: black is each image's minimum."""
        drawn.append(torch.from_numpy(indices[0]))
        changed = arr.copy()
        changed[0, indices[0]] = arr.min()
        return changed

    theirs = quantus.FaithfulnessCorrelation(
        nr_runs=40, subset_size=20, perturb_func=replace, abs=False, return_aggregate=False, **PLAIN
    )
    for i in range(SAMPLES):
        drawn.clear()
        one = slice(i, i + 1)
        expected = one_by_one(theirs, model, images[one], maps[one], target[one], softmax=False)
        subsets = torch.zeros(40, maps[0].numel(), dtype=torch.bool)
        subsets.scatter_(1, torch.stack(drawn), True)
        found = metric.faithfulness_correlation(
            model, images[one], maps[one], target[one],
            subsets=subsets.view(40, *images.shape[1:]), baseline=float(images[i].min()),
        )  # fmt: skip
        agree(found, expected)


@pytest.mark.parametrize(
    ("name", "measure"),
    [("max_sensitivity", "MaxSensitivity"), ("average_sensitivity", "AvgSensitivity")],
    ids=str,
)
def test_random_sensitivity(name, measure):
    model, images, maps, target = make()
    generator = torch.Generator().manual_seed(2)
    noise = 0.4 * torch.rand(15, *images.shape[1:], generator=generator) - 0.2
    step = iter(np.tile(noise.flatten(1).numpy(), (SAMPLES, 1)))
    theirs = getattr(quantus, measure)(
        nr_samples=len(noise), perturb_func=lambda arr, **_: arr + next(step)[None],
        return_aggregate=False, **PLAIN,
    )  # fmt: skip
    e = explain.InputXGradient()
    expected = one_by_one(
        theirs, model, images, maps, target, explain_func=explain.quantus(e), softmax=False
    )
    found = getattr(metric, name)(e, model, images, target, noise=noise)
    agree(found, expected)
    assert next(step, None) is None
