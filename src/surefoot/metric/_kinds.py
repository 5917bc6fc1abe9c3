"""The kinds of metrics: what each is given, and what help() says of it wherever it is taken."""

import math

# In the order of the metrics' positional arguments.
PAIR = ("a", "b")
MAP = ("a",)
MASK = ("h", "mask")
MODEL_MAP = ("model", "images", "h", "target")
MODEL_ATTRIBUTIONS = ("model", "images", "attributions", "target")
MOVED = ("h", "h2", "images", "images2")
EXPLAINER = ("explainer", "model", "images", "target")

ONE, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
UP, DOWN = True, False  # higher is better, lower is better

_MODEL = """
Args:
    model: module from images (N, ...) to logits (N, K), in evaluation mode.
    images: floating point (N, ...).
    h: maps, (N, H, W) for images, (N, T) for tokens, or shaped like the inputs.
    target: class index, one for each sample, or None for the class predicted for the images.
    region: side of the patches that go together, 1 for pixels.
    steps: number of steps S; None takes 32, or as many as there are places (or regions).
    share: of all places removed in the end, in (0, 1].
    shares: of the places, each in (0, 1).
    baseline: what replaces a place: "mean", "blur", "black", "noise", a number, a tensor or a
        callable, see `perturbation_curve`.
    score: F, see `explain.Gradient`.
    seed: of the draws.
    extra: further keyword inputs of the model, each with leading dimension N.
    layout: what the axes of the images mean, where neither the model nor the map tells.
    chunk: images sent through the model at once; None chooses. It does not change results.

Raises:
    SurefootError: a training-mode model, inputs that are not finite, a map that does not fit, a
        target out of range, an unknown baseline or score, or more steps, shares or regions than
        the map has.
"""

# `measure` completes docstrings from these, section by section and argument by argument.
SHARED = {
    PAIR: """
Args:
    a: maps (N, ...), flattened as they are.
    b: maps of the same shape.

Raises:
    SurefootError: shapes or devices differ, or values are not finite.
""",
    MAP: """
Args:
    a: maps (N, ...), flattened as they are.

Raises:
    SurefootError: not a batch of finite maps.
""",
    MASK: """
Args:
    h: maps (N, ...).
    mask: the object, shaped like `h`, bool or 0 and 1.

Raises:
    SurefootError: shapes differ, values are not finite, or the mask is not 0 and 1.
""",
    MODEL_MAP: _MODEL,
    MODEL_ATTRIBUTIONS: _MODEL,
    EXPLAINER: """
Args:
    explainer: callable (model, inputs, target) -> maps (N, ...), each sample by itself.
    model: module from images (N, ...) to logits (N, K), in evaluation mode.
    images: floating point (N, ...).
    target: class index, one for each sample, or None for the class predicted for the images, held
        while they are nudged.
    radius: of the uniform draws, in input units (L-infinity).
    samples: number of draws, shared by all samples.
    seed: of the draws.
    noise: the nudges themselves, (M, ...), instead of drawn ones.
    extra: further keyword inputs of model and explainer, each with leading dimension N.
    layout: what the axes of the images mean, where the explainer needs it and the model does not
        tell.
    chunk: images explained at once; None chooses. It does not change results.

Raises:
    SurefootError: a training-mode model, inputs that are not finite, a target out of range, an
        explainer that does not give one finite map a row, or noise of another shape.
""",
}
