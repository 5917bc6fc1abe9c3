"""Photographs and class names, from files and from installed packages."""

from surefoot.data._labels import imagenet_labels, load_labels
from surefoot.data._photographs import load_image, locate, photographs

__all__ = ["imagenet_labels", "load_image", "load_labels", "locate", "photographs"]
