"""Networks that people bring: each is explained, enhanced, attacked and measured.

To add one: a line in `NETWORKS` with a function that makes it and an input, and what
`models.Classifier` must be told.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot import attack, explain, maps, metric
from surefoot.models import Classifier

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

PAD, END = 1, 2
TOKENS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 4, 2, 1, 1]])
TEXT = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "num_labels": 3,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "max_position_embeddings": 32,
    "initializer_range": 0.4,
}
SEES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}
SEES |= {"image_size": 16, "patch_size": 4, "intermediate_size": 12, "initializer_range": 0.4}
CODER = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 1}
CODER |= {"decoder_layers": 1, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12}
CODER |= {"d_model": 8, "decoder_start_token_id": END}
T5 = {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2}
CONVNEXT = {"num_channels": 3, "hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2}
SWIN = {"image_size": 16, "patch_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2]}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic"}

Made = tuple[nn.Module, Tensor, dict[str, Any]]
CLASSES = {"num_labels": 3, "initializer_range": 0.4}


def text(name: str, embedding: str, **settings: Any) -> Callable[[], Made]:
    """A text classifier of transformers, its embedded tokens and their mask."""

    def make() -> Made:
        config = getattr(transformers, f"{name}Config")(**{**TEXT, **settings})
        net = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
        model = Classifier(net, embedding=embedding)
        return model, model.embed(TOKENS), {"attention_mask": (TOKENS != PAD).long()}

    return make


def image(name: str, **settings: Any) -> Callable[[], Made]:
    """An image classifier of transformers."""

    def make() -> Made:
        config = getattr(transformers, f"{name}Config")(**settings)
        net = getattr(transformers, f"{name}ForImageClassification")(config).eval()
        return Classifier(net), torch.rand(2, 3, 16, 16), {}

    return make


def plain(build: Callable[[], nn.Module], *shape: int, **told: Any) -> Callable[[], Made]:
    """A network of one's own, for inputs of that shape."""
    return lambda: (Classifier(build().eval(), **told), torch.rand(2, *shape), {})


class Recurrent(nn.Module):
    """An LSTM over steps (N, T, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, steps: Tensor) -> Tensor:
        return self.head(self.lstm(steps)[0][:, -1])


def convolutions(kind: type[nn.Module], pool: type[nn.Module], channels: int) -> nn.Module:
    layers = [kind(channels, 4, 3, stride=2, padding=1), nn.Tanh(), kind(4, 4, 3, padding=1)]
    return nn.Sequential(*layers, nn.Tanh(), pool(1), nn.Flatten(), nn.Linear(4, 3))


def wave() -> nn.Module:
    return convolutions(nn.Conv1d, nn.AdaptiveAvgPool1d, 2)


def block() -> nn.Module:
    return convolutions(nn.Conv3d, nn.AdaptiveAvgPool3d, 1)


def table() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))


def segmentation() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh(), nn.ConvTranspose2d(4, 3, 2, 2))


NETWORKS: dict[str, Callable[[], Made]] = {
    "bert": text("Bert", "bert.embeddings.word_embeddings"),
    "roberta": text("Roberta", "roberta.embeddings.word_embeddings"),
    "distilbert": text(
        "DistilBert",
        "distilbert.embeddings.word_embeddings",
        dim=8,
        n_layers=1,
        n_heads=2,
        hidden_dim=12,
    ),
    "deberta": text("Deberta", "deberta.embeddings.word_embeddings"),
    "electra": text("Electra", "electra.embeddings.word_embeddings", embedding_size=8),
    "albert": text("Albert", "albert.embeddings.word_embeddings", embedding_size=8),
    "gpt2": text("GPT2", "transformer.wte", n_embd=8, n_layer=1, n_head=2),
    "llama": text("Llama", "model.embed_tokens"),
    "qwen2": text("Qwen2", "model.embed_tokens", num_key_value_heads=2),
    "mistral": text("Mistral", "model.embed_tokens", num_key_value_heads=2),
    "t5": text("T5", "transformer.shared", decoder_start_token_id=0, **T5),
    "bart": text("Bart", "model.shared", **CODER),
    "vit": image("ViT", **SEES),
    "deit": image("DeiT", **SEES),
    "swin": image("Swin", window_size=2, **SWIN, **CLASSES),
    "convnext": image("ConvNext", **CONVNEXT, **CLASSES),
    "resnet": image("ResNet", num_labels=3, **RESNET),
    "lstm": plain(Recurrent, 7, 3, layout="tokens"),
    "signal": plain(
        lambda: convolutions(nn.Conv1d, nn.AdaptiveAvgPool1d, 2), 2, 16, layout="signal"
    ),
    "volume": plain(lambda: convolutions(nn.Conv3d, nn.AdaptiveAvgPool3d, 1), 1, 6, 6, 6),
    "table": plain(table, 9),
    "segmentation": plain(segmentation, 3, 8, 8, output="segmentation"),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def brought(request):
    torch.manual_seed(0)
    model, x, extra = NETWORKS[request.param]()
    low, high = float(x.min()) - 0.1, float(x.max()) + 0.1
    return model, x, extra, (low, high)


def test_it_is_explained(brought):
    model, x, extra, _ = brought
    e = explain.Gradient(score="probability")
    result = e.explain(model, x, extra=extra)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    assert result.attributions.shape == x.shape
    assert result.attributions.flatten(1).any(1).all()
    with torch.no_grad():
        told = {**extra, **(model.companions(x) if hasattr(model, "companions") else {})}
        ahead, behind = (model(x + s * 3e-3 * way, **told).softmax(1) for s in (1, -1))
    slope = ((ahead - behind) / 6e-3).gather(1, result.target[:, None])[:, 0]
    found = (result.attributions * way).flatten(1).sum(1)
    torch.testing.assert_close(found, slope, rtol=0.05, atol=2e-3)
    assert result.heatmap().shape[1:] == maps.places(result.layout, x)


def test_it_is_enhanced_by_decoys(brought):
    model, x, extra, bounds = brought
    e = explain.Decoy(explain.Gradient(score="probability"), decoys=4, patch=1, bounds=bounds)
    found = e.explain(model, x, extra=extra)
    assert found.attributions.shape == x.shape
    assert found.attributions.min() >= 0
    assert found.attributions.any()
    assert found.details["deviation"].max() <= e.epsilon * (1 + 1e-4)


def test_its_maps_are_attacked(brought):
    model, x, extra, bounds = brought
    topk = attack.TopK(attack.Linf(0.05, steps=2, bounds=bounds), k=2)
    found = topk(model, x, None, explain.Gradient(score="probability"), extra=extra)
    assert (found.inputs - x).abs().max() <= 0.05 + 1e-6
    assert found.layout == maps.layout_of(x, model)
    told = {**extra, **model.companions(x)}
    with torch.no_grad():
        clean, there = (model(p, **told).argmax(1) for p in (x, found.inputs))
    assert torch.equal(clean, there)
    assert (found.before - found.after).abs().max() > 0


def test_its_maps_are_measured(brought):
    model, x, extra, _ = brought
    result = explain.Gradient(score="probability").explain(model, x, extra=extra)
    h, target = result.heatmap(), result.target
    deleted = metric.deletion(model, x, h, target, extra=extra, steps=3)
    assert ((deleted >= 0) & (deleted <= 1)).all()
    start = result.confidence()
    all_gone = metric.perturbation_curve(model, x, h, target, extra=extra, steps=1).score
    torch.testing.assert_close(all_gone[:, 0], start)
    sensitive = metric.max_sensitivity(
        explain.Gradient(score="probability"), model, x, target, extra=extra, samples=2, radius=0.01
    )
    assert (sensitive > 0).all()
