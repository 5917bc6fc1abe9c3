"""An explainer's text, JSON and equality."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch

from surefoot import SurefootError, explain, recipes
from surefoot.explain import (
    Decoy,
    ExpectedGradients,
    Explainer,
    Function,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    from_json,
    parse,
    to_json,
)

BUILT_INS = [
    Gradient(),
    Gradient("margin"),
    InputXGradient(score="loss"),
    IntegratedGradients(),
    IntegratedGradients(steps=7, baseline=-0.5, quadrature="right"),
    IntegratedGradients(baseline=float("inf")),
    Decoy(IntegratedGradients(steps=16), layer="blocks.2"),
    Decoy(Gradient(), bounds=(-1.0, 2.5), units="absolute", cap=0.1, include_original=True),
    SmoothGrad(),
    SmoothGrad(SmoothGrad(IntegratedGradients(), samples=3), std=1e-3, statistic="variance"),
]


@dataclasses.dataclass(frozen=True)
class Custom(Explainer):
    """Somebody's explainer, in their own module and without repr=False."""

    base: Explainer
    options: dict[str, object] = dataclasses.field(default_factory=dict)

    def attribute(self, request):
        return request.inputs


def middle(inputs):
    return inputs.mean(0)


def simple_map(model, inputs, target):
    return inputs


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_text_and_json_lead_back(explainer):
    assert parse(repr(explainer)) == explainer
    assert hash(parse(repr(explainer))) == hash(explainer)
    assert from_json(to_json(explainer)) == explainer


def test_repr_leaves_out_defaults_but_never_the_score():
    assert repr(Gradient()) == "Gradient(score='logit')"
    assert repr(SmoothGrad(std=0.2, chunk=3)) == "SmoothGrad(Gradient(score='logit'), std=0.2)"


def test_parse_takes_bare_names_positions_and_signs():
    assert parse("Gradient") == Gradient()
    assert parse(" SmoothGrad(InputXGradient, 5, std=+0.1) ") == SmoothGrad(
        InputXGradient(), 5, std=0.1
    )
    assert parse("IntegratedGradients(baseline=-1)").baseline == -1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Gradiant", "did you mean Gradient"),
        ("SmoothGrad(smaples=3)", "did you mean samples.*std"),
        ("SmoothGrad(samples=3, samples=4)", "each setting once"),
        ("Gradient('logit', 'logit')", "too many positional"),
        ("ExpectedGradients()", "baselines"),
        ("SmoothGrad(__import__('os'))", "unknown"),
        ("Gradient().attribute", "not allowed"),
        ("[Gradient() for x in y]", "not allowed"),
        ("Gradient(**{'score': 'logit'})", "not allowed"),
        ("Gradient(*['logit'])", "not allowed"),
        ("Gradient(score=f'{1}')", "not allowed"),
        ("Gradient(score=-'logit')", "not allowed"),
        ("Gradient(score=b'logit')", "not allowed"),
        ("IntegratedGradients(steps=2 ** 99)", "not allowed"),
        ("Function(print)", "unknown"),
        ("Function('os:remove')", "in Python"),
        ("ExpectedGradients(tensor('sha256:00', shape=(2,)))", "to_json"),
        ("Explainer()", "unknown"),
        ("SmoothGrad(", "cannot read"),
        ("(" * 400, "cannot read"),
        ("", "cannot read"),
        ("3", "not an explainer"),
        ("Gradient(score='logits')", r"Gradient's score is 'logits'; choose one of \['logit'"),
        ("SmoothGrad(samples='many')", "SmoothGrad's samples is 'many', expected int"),
        ("SmoothGrad(samples=2.5)", "is 2.5, expected int"),
        ("SmoothGrad(std=True)", "is True, expected float"),
        ("SmoothGrad(3)", "SmoothGrad's base is 3, expected Explainer"),
        ("[Gradient()]", "not an explainer"),
    ],
)
def test_parse_refuses(text, says):
    with pytest.raises(SurefootError, match=says):
        parse(text)


def test_tensors_compare_by_value_and_hash():
    one, same = (ExpectedGradients(torch.arange(6.0).view(2, 3)) for _ in range(2))
    other = ExpectedGradients(torch.arange(6.0).view(3, 2))
    double = ExpectedGradients(torch.arange(6.0).view(2, 3).double())
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, other, double}) == 3
    assert one != "ExpectedGradients"
    assert Gradient() != InputXGradient()
    assert Gradient(chunk=1) == Gradient(chunk=2)


def test_settings_that_cannot_be_hashed_do_not_crash():
    holder = Custom(Gradient(), {"array": np.ones(2), "list": [1, (2,)]})
    assert holder == holder
    assert isinstance(hash(holder), int)


def test_tensors_are_stored_by_digest():
    explainer = SmoothGrad(IntegratedGradients(baseline=torch.tensor([0.5, 1.0])))
    text, held = to_json(explainer), explain.tensors(explainer)
    (digest,) = held
    assert digest in text
    assert digest[7:19] in repr(explainer)
    assert from_json(text, held) == explainer
    with pytest.raises(SurefootError, match=f"{digest}, which is not among"):
        from_json(text)
    with pytest.raises(SurefootError, match="has changed"):
        from_json(text, {digest: torch.zeros(2)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_digest_knows_dtype_shape_and_bytes(dtype):
    digest = recipes.digest
    base = torch.tensor([[1, 0], [1, 1]]).to(dtype)
    assert digest(base) == digest(base.t().contiguous().t())
    others = [base.t(), base.view(4), base[:1], base[:0], base.view(4)[0], base.double()]
    assert len({digest(x) for x in [base, *others]}) == 1 + len(others)


@pytest.mark.parametrize(
    "explainer",
    [
        Function(simple_map),
        IntegratedGradients(baseline=middle),
        IntegratedGradients(baseline=torch.zeros_like),
        Custom(Gradient(), {"type": "a", "deep": [1.5, (None, True), {2: "b"}]}),
        Custom(Function(simple_map), {"kind": Gradient, "bad": float("-inf")}),
    ],
    ids=repr,
)
def test_code_is_stored_by_import_path(explainer):
    text = to_json(explainer)
    assert json.loads(text)["type"]
    assert from_json(text) == explainer
    assert pickle.loads(pickle.dumps(explainer)) == explainer  # noqa: S301


def test_custom_explainers_get_the_recipe_as_repr():
    assert repr(Custom(Gradient())) == "Custom(Gradient(score='logit'))"
    assert f"{__name__}:Custom" in to_json(Custom(Gradient()))


@pytest.mark.parametrize(
    "explainer",
    [
        Function(lambda model, inputs, target: inputs),
        IntegratedGradients(baseline=torch.ones(2).add),
        Custom(Gradient(), {"layer": torch.nn.Linear(1, 1)}),
        Custom(Gradient(), {"object": object()}),
    ],
    ids=["lambda", "method", "module", "object"],
)
def test_what_cannot_be_found_again_is_not_stored(explainer):
    assert repr(explainer)
    with pytest.raises(SurefootError, match="cannot be stored"):
        to_json(explainer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "{}",
        "[]",
        '{"type": "Gradiant"}',
        '{"type": "Gradient", "scoer": "logit"}',
        '{"type": "os:getcwd"}',
        '{"type": "no.such.module:Thing"}',
        '{"type": 3}',
        '{"type": "Function", "function": {"type": "import", "path": "os:nothing"}}',
    ],
)
def test_broken_json_is_refused(text):
    with pytest.raises(SurefootError):
        from_json(text)


def test_numpy_numbers_are_numbers():
    explainer = SmoothGrad(std=np.float64(0.25), samples=np.int64(4))
    assert (
        parse(repr(explainer)) == from_json(to_json(explainer)) == SmoothGrad(samples=4, std=0.25)
    )


def test_numbers_may_be_fractions():
    assert parse("IntegratedGradients(baseline=-4/255)").baseline == -4 / 255
    for text, says in [
        ("IntegratedGradients(baseline=1/0)", "divides by zero"),
        ("IntegratedGradients(baseline='a'/2)", "not allowed"),
        ("IntegratedGradients(baseline=True/2)", "not allowed"),
    ]:
        with pytest.raises(SurefootError, match=says):
            parse(text)
