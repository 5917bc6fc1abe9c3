"""The pictures of an audit's page, each inside the page itself."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from surefoot.auditing import AuditResult
from surefoot.errors import optional
from surefoot.report._page_budgets import Budgeted, size
from surefoot.report._page_tables import Numbers, number

_QUALITY = 85
_SMALL = 96  # pixels, below which a picture is stored to the bit and magnified without blur


def gallery(result: AuditResult, numbers: Numbers) -> list[dict[str, Any]]:
    """Best, median and worst sample of each explainer, with their pictures."""
    classes = result.settings.get("classes")
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for shown in result.gallery():
        about = shown.about
        key = (about["model"], about["explainer"])
        several = len(result.settings["models"]) > 1
        group = groups.setdefault(
            key,
            {
                "name": ": ".join(key) if several else key[1],
                "attack": numbers.label(about["attack"]),
                "metric": about["metric"],
                "samples": [],
            },
        )
        group["samples"].append(
            {
                "rank": about["rank"],
                "name": about["name"] or f"sample {about['sample']}",
                "value": number(about["value"]),
                "class": _class(about["predicted"][0], classes),
                "largest": size(Budgeted("", "linf", about["largest"])),
                "small": _is_small(shown.before),
                "pictures": _pictures(shown),
            }
        )
    return list(groups.values())


def _class(number_: int, classes: Any) -> str:
    known = classes is not None and number_ < len(classes)
    return str(classes[number_]) if known else f"class {number_}"


def _pictures(shown: Any) -> list[Mapping[str, str]]:
    grey = (shown.difference.astype(np.int16) + 127).astype(np.uint8)
    each = {
        "original": shown.original,
        "perturbed": shown.perturbed,
        "difference, magnified": grey,
        "map before": _coloured(shown.before),
        "map after": _coloured(shown.after),
    }
    return [{"name": name, "data": _data(pixels)} for name, pixels in each.items()]


def _coloured(heat: Any) -> Any:
    colours = optional("matplotlib", "cli").colormaps["inferno"]
    return (colours(heat)[..., :3] * 255).round().astype(np.uint8).transpose(2, 0, 1)


def _data(pixels: Any) -> str:
    """(C, H, W) bytes as a picture that stands in the page."""
    pillow = optional("PIL.Image", "cli")
    flat = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    image = pillow.fromarray(np.ascontiguousarray(flat))
    kind, options = ("png", {}) if _is_small(flat) else ("jpeg", {"quality": _QUALITY})
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_small(pixels: Any) -> bool:
    """Of (H, W) or (H, W, C)."""
    return bool(max(pixels.shape[:2]) < _SMALL)
