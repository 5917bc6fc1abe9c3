"""What the tests of metrics share: random inputs, and options that small maps can bear."""

import torch

from surefoot import metric

OPTIONS = {
    "topk_intersection": {"k": 20},
    "lens_recall": {"k": 20},
    "lens_precision": {"k": 20},
    "topk_localisation": {"k": 20},
    "faithfulness_correlation": {"runs": 8},
    "monotonicity_correlation": {"groups": 6, "samples": 2},
    "infidelity": {"samples": 6},
    "max_sensitivity": {"samples": 5},
    "average_sensitivity": {"samples": 5},
    "local_lipschitz": {"samples": 5},
    "relative_input_stability": {"samples": 5},
    "relative_output_stability": {"samples": 5},
    "relative_representation_stability": {"samples": 5, "layer": "2"},
    "deletion": {"steps": 5},
    "insertion": {"steps": 5},
    "morf": {"steps": 5, "region": 4},
    "lerf": {"steps": 5},
    "road": {"shares": (0.2, 0.7), "score": "probability"},
}


def get(name, **options):
    return metric.get(name, **{**OPTIONS.get(name, {}), **options})


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
