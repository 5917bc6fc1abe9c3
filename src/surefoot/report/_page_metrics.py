"""Scores in plain words, for readers who do not know their names."""

import re

from surefoot import metric

_WORDS = {
    "topk_intersection": "the share of the most important places of one map that are among those "
    "of the other",
    "spearman": "whether places keep their order of importance: 1 entirely, 0 not at all",
    "kendall": "whether pairs of places keep their order of importance: 1 entirely, 0 not at all",
    "pearson": "how alike the patterns of both maps are: 1 the same, 0 unrelated",
    "cosine": "how alike the patterns of both maps are: 1 the same, 0 unrelated",
    "ssim": "how alike both maps are as pictures: 1 the same",
    "sensitivity": "how far the map moved for the way its input went, in the map's own units",
    "relative_sensitivity": "how far the map moved for the way its input went, as a share of the "
    "map's own size",
    "map_norm": "the size of the map itself, to read sensitivity by",
    "gini": "how few places hold most of the map: 0 spread evenly, 1 a single place",
}


def in_words(recipe: str) -> str:
    """What a score says; a metric's own first words where nothing plainer is known.

    >>> in_words("gini()")
    'how few places hold most of the map: 0 spread evenly, 1 a single place'
    >>> in_words("pointing_game()"), in_words("one_of_mine")
    ('whether the largest pixel lies on the object', '')
    """
    name = recipe.partition("(")[0]
    share = re.search(r"\bk=(0\.\d+)", recipe) if name == "topk_intersection" else None
    if name in _WORDS:
        return _WORDS[name] + (f"; of unrelated maps about {share[1]}" if share else "")
    known = metric.REGISTRY.get(name)
    first = ((known and known.function.__doc__) or "").strip().partition(";")[0].partition("\n")[0]
    return first[:1].lower() + first[1:].rstrip(".")
