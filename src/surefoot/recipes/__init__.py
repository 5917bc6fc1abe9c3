"""Recipes: frozen dataclasses of settings that are text, JSON, a value and an identity.

Explainers, budgets, attacks and objectives all are; a `Family` reads, stores and lists one sort.
"""

from surefoot.recipes._family import Family as Family, family as family
from surefoot.recipes._json import tensors as tensors, to_json as to_json
from surefoot.recipes._reader import Reader as Reader, check_settings as check_settings
from surefoot.recipes._recipe import Recipe as Recipe
from surefoot.recipes._values import digest as digest, freeze as freeze, show as show
