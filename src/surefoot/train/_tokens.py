"""Tokens: what objectives differentiate and attack in their place are their embeddings."""

from torch import Tensor, nn

from surefoot import gradients
from surefoot.errors import SurefootError
from surefoot.models import Classifier


class Wrapper(nn.Module):
    """A model around another of the same inputs, for floats in single precision."""

    model: nn.Module


def embedded(model: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs as they are, or of integer tokens (N, T) the embeddings (N, T, D), with their graph.

    Raises:
        SurefootError: integers, and the model does not say what embeds them.
    """
    if not isinstance(inputs, Tensor) or inputs.is_floating_point():
        return inputs
    inner = model.model if isinstance(model, Wrapper) else model
    if not isinstance(inner, Classifier) or inner.embedding is None:
        raise SurefootError(
            f"inputs has dtype {inputs.dtype}, expected floating point: integers have no gradient. "
            "Scale pixels to [0, 1] with x.float() / 255; for tokens train "
            'surefoot.models.Classifier(model, embedding="..."), which names what embeds them'
        )
    found = inner.embed(inputs, create_graph=True)
    return found if inner is model else gradients.single(found)
