"""Four threads on one model: every result is the single-threaded one, or a clear refusal."""

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from fuzz._outcome import Tally
from fuzz._values import small
from surefoot import attack, certify, decoy, explain, metric

THREADS = 4


class Attentive(nn.Module):
    """With attention, whose kernels are a flag of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = self.body(inputs)
        mixed, _ = self.attention(*[logits[:, None]] * 3, need_weights=False)
        return logits + mixed[:, 0]


def works(model: nn.Module) -> dict[str, Callable[[], Any]]:
    """What the threads call, by name: fixed seeds, so that each has one right result."""
    inputs = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = inputs.sum(1)
    plain = explain.Gradient()
    budget = attack.Linf(0.05, steps=2)
    found: dict[str, Callable[[], Any]] = {
        "Gradient": lambda: plain(model, inputs),
        "InputXGradient": lambda: explain.InputXGradient()(model, inputs),
        "IntegratedGradients": lambda: explain.IntegratedGradients(steps=3)(model, inputs),
        "SmoothGrad": lambda: explain.SmoothGrad(plain, samples=3)(model, inputs),
        "Decoy": lambda: explain.Decoy(plain, layer="body.0", decoys=4)(model, inputs),
        "make_decoys": lambda: decoy.make_decoys(model, inputs, layer="body.0", decoys=4).inputs,
        "TopK": lambda: attack.TopK(budget, k=5)(model, inputs, None, plain).inputs,
        "MassCenter": lambda: attack.MassCenter(budget, k=5)(model, inputs, None, plain).inputs,
        "Dissimilarity": lambda: attack.Dissimilarity(budget)(model, inputs, None, plain).inputs,
        "RandomSign": lambda: attack.RandomSign(budget)(model, inputs, None, plain).inputs,
        "adaptive TopK": lambda: (
            attack.TopK(budget, k=5)(
                model, inputs, None, explain.Decoy(plain, layer="body.0", decoys=4)
            ).inputs
        ),
        "randomisation": lambda: metric.random_logit(plain, model, inputs),
        "Smoothed": lambda: certify.Smoothed(plain, samples=4, guesses=2)(model, inputs).mask,
        "PGD": lambda: attack.PGD(budget)(model, inputs).inputs,
        "deletion": lambda: metric.deletion(model, inputs, maps, steps=3),
        "max_sensitivity": lambda: metric.max_sensitivity(plain, model, inputs, samples=2),
        "stability": lambda: metric.relative_representation_stability(
            plain, model, inputs, layer="body.0", samples=2
        ),
        "GuidedBackprop": lambda: explain.Captum("GuidedBackprop")(model, inputs),
        "DeepLift": lambda: explain.Captum("DeepLift")(model, inputs),
        "LayerGradCam": lambda: explain.Captum("LayerGradCam", layer="body.0")(model, inputs),
        "Saliency": lambda: explain.Captum("Saliency")(model, inputs),
    }
    return found


def flags() -> list[bool]:
    """The kernels that attention may take."""
    cuda = torch.backends.cuda
    return [cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()]


def state(model: nn.Module) -> list[Any]:
    """Modes, hooks and flags that must be as before."""
    hooks = [
        (len(one._forward_hooks), len(one._forward_pre_hooks), len(one._backward_hooks))
        for one in model.modules()
    ]
    return [[one.training for one in model.modules()], hooks, flags(), sorted(vars(model))]


def run(number: int, seed: int = 0) -> Tally:
    """So many calls in all, shared by the threads."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attentive().eval()
    calls = works(model)
    right = {name: call() for name, call in calls.items()}
    before, tallies = state(model), [Tally() for _ in range(THREADS)]

    def work(place: int) -> None:
        generator = random.Random(seed + place)
        for _ in range(number // THREADS):
            name = generator.choice(sorted(calls))
            tallies[place].judge(name, partial(called, calls[name], right[name]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = Tally()
    for one in tallies:
        tally.results += one.results
        tally.refused += one.refused
        tally.failures += one.failures
    tally.judge("modes, hooks and flags", lambda: equal(state(model), before))
    return tally


def called(call: Callable[[], Any], right: Any) -> bool:
    """Call; raises where the result is another."""
    return equal(call(), right)


def equal(found: Any, right: Any) -> bool:
    """Raise where two differ, tensors by more than rounding."""
    if isinstance(right, torch.Tensor):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)
    elif found != right:
        raise AssertionError(f"{found} is not {right}")
    return True
