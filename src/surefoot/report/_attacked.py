"""An attack's result as text: the scores beside those of random signs, and the predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from surefoot.attack import AttackResult, join_results
from surefoot.explain import reduce
from surefoot.maps import Parts
from surefoot.report._panel import class_name, percent, sample_name, short_name

_HEADS = {
    "kendall": "Kendall",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "mass_centre_shift": "centre moved",
    "region_mass": "in region",
    "distance": "distance",
}
_WIDTH = 22  # characters of a class, which must fit under a picture
_SHARES = ("topk_intersection", "region_mass")


@dataclass(frozen=True)
class Attacked:
    """An attack's result with what it must be read beside.

    Attributes:
        result: of the attack, N samples.
        clean: (N, K), the model's probabilities for the clean inputs; None if they are not known.
        moved: (N, K), the same for the perturbed inputs.
        control: the scores of random signs of the same size, by name, each (N,): the floor. Empty
            if the attack is itself the control.
        draws: of random signs, whose mean the control's scores are.
        labels: class names, in the order of the logits.
        names: of the samples, such as file names.
        counted: entries in the top k; None takes those of the attack on these maps.

    >>> import torch
    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 9), torch.nn.ReLU())
    >>> net = torch.nn.Sequential(net, torch.nn.Linear(9, 2)).eval()
    >>> found = TopK(Linf(0.1, steps=2), k=4)(net, torch.rand(2, 3, 4, 4), None, Gradient())
    >>> Attacked(found, names=["cat.jpg", "dog.jpg"]).name(1)
    'dog.jpg'
    """

    result: AttackResult
    clean: Tensor | None = None
    moved: Tensor | None = None
    control: Mapping[str, Tensor] = field(default_factory=dict)
    draws: int = 1
    labels: Sequence[str] | None = None
    names: Sequence[str] | None = None
    counted: int | None = None

    def name(self, row: int) -> str:
        """The sample's own name, if it has one."""
        return sample_name(self.names, row)

    def predictions(self, row: int) -> tuple[str, str]:
        """The predicted class and its probability, before and after."""
        if self.clean is None or self.moved is None:
            return "", "prediction"
        label = int(self.clean[row].argmax())
        before, after = (percent(float(each[row, label])) for each in (self.clean, self.moved))
        name = class_name(label, self.labels, _WIDTH)
        return f"{name}, {before}", f"{name}, {after}"

    @classmethod
    def of(cls, result: "AttackResult | Attacked") -> "Attacked":
        """A result alone, or with what it is read beside."""
        return result if isinstance(result, Attacked) else cls(result)

    def kept(self, row: int) -> bool:
        """Whether some iterate kept the prediction."""
        return bool(self.result.label_kept[row])

    def explained(self, row: int) -> str:
        """The class explained."""
        return class_name(int(self.result.target[row]), self.labels)

    def heads(self) -> list[str]:
        """The names of the scores."""
        top = {"topk_intersection": f"top {self.k()} left"}
        return [(top | _HEADS).get(name, name) for name in self.result.scores]

    def k(self) -> int:
        """The number of entries whose overlap is scored, of all inputs together."""
        if self.counted is not None:
            return self.counted
        attack, layout = self.result.attack, self.result.layout
        if isinstance(layout, Parts):
            each = [
                reduce(one[:1], attack.reduction, layout.needed(number)).flatten(1)
                for number, one in enumerate(self.result.before)
            ]
            return attack.entries(torch.cat(each, 1))
        return attack.entries(reduce(self.result.before[:1], attack.reduction, layout))

    def parts(self) -> "list[Attacked]":
        """The same for each of several inputs; of one input, itself."""
        result, layout = self.result, self.result.layout
        if not isinstance(layout, Parts):
            return [self]
        names = ("originals", "inputs", "before", "after")
        return [
            replace(
                self,
                result=replace(
                    result,
                    layout=layout.layouts[number],
                    **{name: getattr(result, name)[number] for name in names},
                ),
                counted=self.k(),
            )
            for number in range(len(layout.layouts))
        ]

    def scores(self, row: int) -> list[tuple[str, list[str]]]:
        """The attack's scores and, below them, the control's, each after who they belong to."""
        kind = type(self.result.attack).__name__
        lines = [(kind if self.kept(row) else f"{kind}: none found", self.result.scores)]
        if self.control:
            many = f"mean of {self.draws} random signs" if self.draws > 1 else "random signs"
            lines.append((many, self.control))
        return [
            (who, [_shown(name, scores, row) for name in self.result.scores])
            for who, scores in lines
        ]

    def maps(self) -> str:
        """The short name of the explainer whose maps are shown."""
        return short_name(self.result.explainer)


def join(parts: Sequence[Attacked]) -> Attacked:
    """The same attack's results as one batch, without labels and names.

    Scores that not all of them have are left out.

    >>> import torch
    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 9), torch.nn.ReLU())
    >>> net = torch.nn.Sequential(net, torch.nn.Linear(9, 2)).eval()
    >>> found = TopK(Linf(0.1, steps=2), k=4)(net, torch.rand(2, 3, 4, 4), None, Gradient())
    >>> len(join([Attacked(found), Attacked(found)]).result)
    4
    """
    shared = [name for name in parts[0].control if all(name in each.control for each in parts)]
    return Attacked(
        join_results([each.result for each in parts]),
        _joined([each.clean for each in parts]),
        _joined([each.moved for each in parts]),
        {name: torch.cat([each.control[name] for each in parts]) for name in shared},
        parts[0].draws,
    )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [each for each in parts if each is not None]
    return torch.cat(known) if len(known) == len(parts) else None


def attack_table(attacked: Attacked) -> list[str]:
    """The lines of a table: each sample's scores beside the control's, and its prediction.

    >>> import torch
    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 9), torch.nn.ReLU())
    >>> net = torch.nn.Sequential(net, torch.nn.Linear(9, 2)).eval()
    >>> found = TopK(Linf(0.1, steps=2), k=4)(net, torch.rand(2, 3, 4, 4), None, Gradient())
    >>> table = attack_table(Attacked(found, names=["cat.jpg", "dog.jpg"]))
    >>> len(table), table[0].split()[:3]
    (3, ['top', '4', 'left'])
    """
    rows = [["", "", *attacked.heads(), "prediction"]]
    for row in range(len(attacked.result)):
        before, after = attacked.predictions(row)
        said = f"{before} -> {after.rpartition(', ')[2]}, kept"
        if not attacked.kept(row):
            said = f"{before}; no iterate kept it, so the scores are those of no change"
        for number, (who, scores) in enumerate(attacked.scores(row)):
            rows.append(
                [attacked.name(row), who, *scores, said] if not number else ["", who, *scores, ""]
            )
    return _aligned(rows)


def _aligned(rows: list[list[str]]) -> list[str]:
    """The cells in columns: names to the left, numbers to the right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(wide) - 1
    return [
        "  ".join(
            cell.ljust(width) if place in (0, 1, last) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]


def _shown(name: str, scores: Mapping[str, Tensor], row: int) -> str:
    if name not in scores or scores[name][row].isnan():
        return "-"
    value = float(scores[name][row])
    if name in _SHARES:
        return f"{value:.1%}".replace("%", " %")
    return f"{value:.1f} px" if name == "mass_centre_shift" else f"{value:.3f}"
