"""One request of an explainer, checked at the door, which travels with its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.gradients._run import predict
from surefoot.maps import Layout, known_layout, layout_of


@dataclass(frozen=True)
class Query:
    """One request, checked: what is explained, for which class, and whether a graph is wanted.

    `layout` is what the axes of the inputs mean, None where three axes are left unsaid.

    Explainers pass it down to the explainers they wrap; `expand` and `take` keep `target` and
    `extra` in step with the rows.
    """

    model: nn.Module
    inputs: Tensor
    target: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    create_graph: bool = False
    layout: Layout | None = None

    def needed_layout(self) -> Layout:
        """What the axes of the inputs mean.

        Raises:
            SurefootError: they have three axes and neither the call nor the model says.
        """
        return layout_of(self.inputs, layout=self.layout)

    def take(self, samples: slice | Tensor) -> "Query":
        """The same request for some of the samples, by slice, numbers or mask."""
        return replace(
            self,
            inputs=self.inputs[samples],
            target=self.target[samples],
            extra={name: value[samples] for name, value in self.extra.items()},
        )

    def expand(self, variants: Tensor) -> "Query":
        """The request for `variants` (N, V, ...) of each sample, flattened to N * V rows."""
        times = variants.shape[1]
        return replace(
            self,
            inputs=variants.flatten(0, 1),
            target=self.target.repeat_interleave(times),
            extra={name: value.repeat_interleave(times, 0) for name, value in self.extra.items()},
        )


def query(
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target = None,
    extra: Mapping[str, Tensor] | None = None,
    create_graph: bool | None = None,
    layout: Layout | None = None,
) -> Query:
    """Check a request and resolve its target; `target=None` is the class predicted for `inputs`.

    Whether a given target is within the model's classes is checked where its score is taken.
    `create_graph=None` means: if `inputs` require a gradient and gradients are enabled. `layout`
    is what the axes of `inputs` mean, where the model does not say so and it can be mistaken.
    """
    checks.check_model(model)
    checks.check_inputs(inputs)
    layout = known_layout(inputs, model, layout)
    extra = checks.check_extra(extra, len(inputs))
    if create_graph is None:
        create_graph = inputs.requires_grad and torch.is_grad_enabled()
    with torch.inference_mode(False):
        inputs = ordinary(inputs if create_graph else inputs.detach())
        extra = {name: ordinary(value) for name, value in extra.items()}
        if target is None:
            labels = predict(model, inputs, extra).argmax(1)
        else:
            labels = ordinary(checks.check_target(target, inputs))
    return Query(model, inputs, labels, extra, create_graph, layout)


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one made under `torch.inference_mode()`: autograd refuses those."""
    return tensor.clone() if tensor.is_inference() else tensor
