"""What a step of each objective costs, beside its counted passes times what one pass costs.

python benchmarks/training_cost.py [--batch 64] [--rounds 2] [--device cpu] [--output ...]

Passes and steps are timed in turns, in one process, on RAR's Fashion-MNIST network and random
images. The message is the ratio of a step to counts x units (`Objective.passes`): above 1, a
step does more than it says. On a CPU one thread is used and its own time counts.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from surefoot import gradients, models, train
from surefoot.gradients import Query

Run = Callable[[], object]

ATTACK = {"epsilon": 0.1, "steps": 5}
PATHS = {**ATTACK, "attack_points": 2, "points": 3}
OBJECTIVES = [
    train.PGD(**ATTACK),
    train.FGSM(0.1),
    train.FreeAT(0.1),
    train.TRADES(**ATTACK),
    train.SCAAT(**ATTACK),
    train.SaliencyGuided(),
    train.IGNorm(**PATHS),
    train.IGSumNorm(**PATHS),
    train.AttributionalRegularizers(**PATHS),
    train.InputGradientAlignment(0.1),
    train.IGR(train.PGD(**ATTACK), points=3),
    train.LocalGradientAlignment(),
    train.R2ET(),
    train.SmoothedCurvature(),
    train.InputGradientRegularization(),
    train.JacobianRegularization(),
    train.RightForRightReasons(),
]


def unit_runs(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Run]:
    """One pass of each kind, by its name in `train.Passes`."""

    def slope(points: Tensor, *, create_graph: bool) -> Tensor:
        return gradients.input_gradient(Query(model, points, y, {}, create_graph), "loss")

    def natural() -> None:
        train.Natural()(model, x, y).total.backward()

    def second_inputs() -> None:
        points = x.clone().requires_grad_(True)
        torch.autograd.grad(slope(points, create_graph=True).abs().sum(), points)

    return {
        "forward": lambda: gradients.predict(model, x, chunk=len(x)),
        "input_gradient": lambda: slope(x, create_graph=False),
        "parameters": natural,
        "second_inputs": second_inputs,
        "second_parameters": lambda: slope(x, create_graph=True).abs().sum().backward(),
    }


def seconds(run: Run, device: str) -> float:
    """The time of one run."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(runs: dict[str, Run], rounds: int, device: str) -> dict[str, float]:
    """Each run's median over rounds of all of them in turns, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            taken = seconds(run, device)
            if number:
                times[name].append(taken)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    """Measure all objectives and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/training_cost.json")
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = models.RARCNN().to(options.device)
    x = torch.rand(options.batch, 1, 28, 28, device=options.device)
    y = torch.randint(10, (options.batch,), device=options.device)
    steps: dict[str, Run] = {
        repr(o): lambda o=o: o(model, x, y).total.backward()  # type: ignore[misc]
        for o in OBJECTIVES
    }
    units = unit_runs(model, x, y)
    taken = interleaved({**units, **steps}, options.rounds, options.device)
    result = {
        "settings": {
            "batch": options.batch,
            "rounds": options.rounds,
            "device": options.device,
            "machine": platform.machine(),
            "torch": torch.__version__,
        },
        "milliseconds of a pass": {name: round(1000 * taken[name], 1) for name in units},
        "objectives": {
            repr(o): {
                "passes": repr(o.passes()),
                "milliseconds": round(1000 * taken[repr(o)], 1),
                "relative to natural": round(taken[repr(o)] / taken["parameters"], 2),
                "relative to passes": round(taken[repr(o)] / o.passes().seconds(taken), 3),
            }
            for o in OBJECTIVES
        },
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
