"""Words swapped for near ones: as few as allowed, labels kept, maps moved; and embeddings moved."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from surefoot import SurefootError, attack, metric
from surefoot.attack import Ensemble, Linf, SwapWords, TopK, read_synonyms
from surefoot.explain import Explainer, Gradient, InputXGradient, reduce
from surefoot.models import Classifier, TextCNN

VOCABULARY, PADDING = 40, 0


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TextCNN(VOCABULARY, dimension=6, filters=5)
        net.embedding.weight.data[1:] *= 6
    return Classifier(net, embedding="embedding").double().eval()


@pytest.fixture
def tokens():
    found = torch.randint(1, VOCABULARY, (5, 9), generator=torch.Generator().manual_seed(1))
    found[0, 6:] = PADDING
    return found


def labels(model, tokens):
    return model(model.embed(tokens)).argmax(1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_at_most_the_share_is_swapped_and_labels_are_kept(model, tokens, share):
    r = SwapWords(share, candidates=6)(model, tokens, None, InputXGradient())
    words = (tokens != PADDING).sum(1)
    assert (r.changed.sum(1) <= (share * words).floor()).all()
    assert torch.equal(r.changed, r.tokens != tokens)
    assert (r.tokens[tokens == PADDING] == PADDING).all()
    assert (r.tokens[tokens != PADDING] != PADDING).all()
    assert torch.equal(labels(model, r.tokens), labels(model, tokens))
    # The scores are those of the maps of what came back.
    maps = [InputXGradient()(model, model.embed(t), r.target) for t in (tokens, r.tokens)]
    maps = [reduce(one, "sum_abs", "tokens") for one in maps]
    torch.testing.assert_close(r.scores["pearson"], metric.pearson(*maps))
    torch.testing.assert_close(r.after, maps[1])
    assert (r.scores["pearson"] < 1 - 1e-9).any() == (share > 0)


def test_one_swap_is_the_best_of_all_that_keep_the_label(model, tokens):
    """By trying every neighbour at the place whose masking matters most."""
    near, one = 7, tokens[1:2]
    r = SwapWords(1 / 9, candidates=near)(model, one, None, Gradient())
    table = model.embed(torch.arange(VOCABULARY)[None])[0]

    def pearson(other):
        maps = [Gradient()(model, model.embed(t), r.target).abs().sum(2) for t in (one, other)]
        return float(metric.pearson(*maps))

    def put(place, token):
        other = one.clone()
        other[0, place] = token
        return other

    masked = [pearson(put(place, PADDING)) for place in range(9)]
    for place in sorted(range(9), key=masked.__getitem__):
        alike = cosine_similarity(table[one[0, place]][None], table, dim=1)
        alike[[PADDING, int(one[0, place])]] = -math.inf
        tried = [put(place, int(token)) for token in alike.topk(near).indices]
        each = [pearson(t) for t in tried if labels(model, t) == labels(model, one)]
        if each and min(each) < 1:
            break
    assert float(r.scores["pearson"]) == pytest.approx(min(each))


def test_each_choice_of_the_paper_does_more_than_chance(model, tokens):
    """Means over sentences: swapping the best neighbour against any of them."""
    many = torch.randint(1, VOCABULARY, (30, 9), generator=torch.Generator().manual_seed(2))
    whole = SwapWords(0.4, candidates=6)
    both = replace(whole, order="random", choice="random")
    left = {
        name: float(recipe(model, many, None, Gradient()).scores["pearson"].mean())
        for name, recipe in {
            "whole": whole,
            "random synonym": replace(whole, choice="random"),
            "random": both,
            "restarts": replace(whole, restarts=3),
        }.items()
    }
    assert left["whole"] < left["random synonym"] - 0.1
    assert left["whole"] < left["random"] - 0.1
    assert left["restarts"] < left["whole"]
    again = both(model, many, None, Gradient())
    assert torch.equal(again.tokens, both(model, many, None, Gradient()).tokens)


def test_sentences_do_not_depend_on_each_other(model, tokens):
    recipe = SwapWords(0.4, candidates=4)
    whole = recipe(model, tokens, None, Gradient())
    alone = recipe(model, tokens[2:3], None, Gradient())
    assert torch.equal(whole.tokens[2:3], alone.tokens)


def test_synonyms_from_a_file_are_all_that_is_offered(model, tokens, tmp_path):
    vocabulary = {f"w{number}": number for number in range(1, VOCABULARY)}
    path = tmp_path / "synonyms.txt"
    lines = [f"w{number}\tw{number + 1}, unknown" for number in range(1, VOCABULARY - 1, 3)]
    path.write_text("\n".join(lines))
    synonyms = read_synonyms(path, vocabulary)
    assert synonyms[1] == (2,)
    assert synonyms[2] == (1,)
    assert 3 not in synonyms
    r = SwapWords(1.0, synonyms=synonyms)(model, tokens, None, Gradient())
    assert r.changed.any()
    pairs = zip(tokens[r.changed].tolist(), r.tokens[r.changed].tolist(), strict=True)
    assert all(now in synonyms[was] for was, now in pairs)
    path.write_text("nothing known")
    with pytest.raises(SurefootError, match="no line with two words"):
        read_synonyms(path, vocabulary)


def test_fixed_tokens_and_those_far_away_stay(model, tokens):
    held = tuple(range(1, 20))
    r = SwapWords(1.0, fixed=held)(model, tokens, None, Gradient())
    assert not r.changed[tokens < 20].any()
    assert (r.tokens[r.changed] >= 20).all()
    nothing = SwapWords(1.0, closeness=1.0)(model, tokens, None, Gradient())
    assert not nothing.changed.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 1.5}, "share=1.5"),
        ({"order": "first"}, "order='first'"),
        ({"choice": "best"}, "choice='best'"),
        ({"by": "gini"}, "by='gini'"),
        ({"candidates": 0}, "candidates"),
    ],
)
def test_settings_out_of_range_are_refused(model, tokens, settings, message):
    with pytest.raises(SurefootError, match=message):
        SwapWords(**settings)(model, tokens, None, Gradient())


def test_a_model_without_words_is_refused(tokens):
    with pytest.raises(SurefootError, match="embeds tokens"):
        SwapWords()(torch.nn.Linear(9, 2).eval(), tokens, None, Gradient())


@dataclass(frozen=True, repr=False)
class Plain(Explainer):
    """Gradient's map without a graph."""

    def attribute(self, request):
        return Gradient().attribute(replace(request, create_graph=False))


@pytest.mark.parametrize("explainer", [Gradient(), Plain()], ids=["slope", "queries"])
def test_the_ensemble_moves_embeddings_inside_its_budget(model, tokens, explainer):
    """Embeddings have no bounds; of explainers without a derivative it asks for maps alone."""
    x = model.embed(tokens)
    budget = Linf(0.05, steps=3, bounds=(-math.inf, math.inf))
    r = Ensemble(budget, k=3, effort="quick")(model, x, None, explainer)
    assert r.before.shape == x.shape
    assert r.label_kept.all()
    assert (r.inputs - x).abs().max() <= 0.05 * (1 + 1e-12)
    name = "topk_intersection"
    random = attack.RandomSign(budget, k=3)(model, x, None, explainer)
    assert r.scores[name].mean() <= random.scores[name].mean()
    if explainer == Gradient():
        single = TopK(budget, k=3)(model, x, None, explainer)
        assert (r.scores[name] <= single.scores[name]).all()
