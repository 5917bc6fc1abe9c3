"""Objectives in other people's loops: the examples, run."""

import importlib
import sys
import warnings
from pathlib import Path

import pytest
import torch

from surefoot import SurefootError, attack, explain, train

EXAMPLES = Path(__file__).parent.parent / "examples"
pytest.importorskip("sklearn")


@pytest.fixture
def example(monkeypatch):
    """Imports an example as if from its own folder."""
    monkeypatch.syspath_prepend(EXAMPLES)
    before = set(sys.modules)
    with warnings.catch_warnings():
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if name == "digits" or name.startswith("train_"):
            del sys.modules[name]


def test_a_bare_loop(example, capsys):
    assert example("train_bare").main(1000, 3) > 0.8
    assert "divergence" in capsys.readouterr().out


def test_the_own_loop(example, capsys, tmp_path):
    pytest.importorskip("lightning_fabric")
    first = example("train_fit").main(str(tmp_path), 1000, 3)
    assert first > 0.75
    assert "topk_intersection" in capsys.readouterr().out
    assert example("train_fit").main(str(tmp_path), 1000, 3) == first


def _quiet_lightning():
    # Advice of Lightning about loaders, and what it uses of others.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*number of training batches")


def test_lightning(example, tmp_path):
    pytest.importorskip("pytorch_lightning")
    _quiet_lightning()
    figures = example("train_lightning").main(str(tmp_path), 1000, 3)
    assert figures["accuracy"] > 0.75
    assert {"adversarial", "norm", "adversarial_accuracy", "kendall"} <= set(figures)
    assert 0 <= figures["topk_intersection"] <= 1
    assert 0 <= figures["random_topk_intersection"] <= 1


def test_the_callback_logs_what_the_validation_measures(example, tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")
    _quiet_lightning()
    module = example("train_lightning")
    _, others = module.digits(60)
    validation = train.Validation(
        adversary=attack.PGD(attack.Linf(0.1, steps=2)),
        audit=attack.TopK(attack.Linf(0.1, steps=2), k=8),
        explainer=explain.Gradient(),
        audited=4,
    )
    seen = []

    class Counting(train.Validation):
        def scores(self, model, data, *share):
            seen.append(model)
            return validation.scores(model, data, *share)

    callback = module.AttributionCallback(
        others, Counting(), every=2, prefix="held/", model=lambda robust: robust.network
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=3,
        default_root_dir=tmp_path,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = module.Robust(train.Natural())
    loader = module.DataLoader(others, batch_size=50)
    trainer.validate(model, loader, verbose=False)
    assert seen == []
    trainer.fit_loop.epoch_progress.current.processed = 1
    callback.every = 1
    trainer.validate(model, loader, verbose=False)
    assert seen == [model.network]
    for name, value in validation(model.network, others).items():
        assert float(trainer.callback_metrics[f"held/{name}"]) == pytest.approx(value, abs=1e-6)
    with pytest.raises(SurefootError, match="every=0"):
        module.AttributionCallback(others, every=0)
    with pytest.raises(SurefootError, match="the callback's data are empty"):
        module.AttributionCallback([])


def test_transformers(example, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    module = example("train_transformers")
    assert module.main(str(tmp_path), 1000, 3) > 0.2


def test_accumulated_pieces_step_as_far_as_the_whole(example, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    module = example("train_transformers")
    data, _ = module.digits(32)
    weights = []
    for batch, pieces in ((32, 1), (8, 4)):
        model = module.transformer()
        arguments = module.TrainingArguments(
            output_dir=str(tmp_path),
            use_cpu=True,
            max_steps=1,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=pieces,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0,
            remove_unused_columns=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        module.ObjectiveTrainer(
            *(train.Natural(), model, arguments), train_dataset=data, data_collator=module.collate
        ).train()
        weights.append(model.state_dict())
    start = module.transformer().state_dict()
    assert any(not torch.equal(start[name], value) for name, value in weights[0].items())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)


def test_an_objective_is_the_loss_of_a_trainer(example):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    module = example("train_transformers")
    model = module.transformer()
    objective = train.InputGradientRegularization()
    batch = module.collate([module.digits(8)[0][index] for index in range(8)])
    trainer = module.ObjectiveTrainer.__new__(module.ObjectiveTrainer)
    trainer.objective = objective
    total, outputs = trainer.compute_loss(model, dict(batch), return_outputs=True)
    wrapped = module.Classifier(model)
    expected = objective(wrapped, batch["pixel_values"], batch["labels"]).total
    torch.testing.assert_close(total, expected)
    assert outputs.logits.shape == (8, 10)
    total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
