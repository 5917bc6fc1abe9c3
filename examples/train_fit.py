"""The same with the library's own loop: validated, logged, resumable."""

import sys

from digits import accuracy, digits, network

from surefoot import attack, explain, train


def main(out: str | None = None, count: int = 1500, epochs: int = 3) -> float:
    """Train with IG-SUM-NORM; the accuracy on other digits."""
    training, others = digits(count)
    validation = train.Validation(
        adversary=attack.PGD(attack.Linf(0.1, steps=5)),
        audit=attack.TopK(attack.Linf(0.1, steps=10), k=8),
        explainer=explain.IntegratedGradients(steps=5),
    )
    trained = train.fit(
        network(),
        train.IGSumNorm(0.1, steps=2, points=3, attack_points=2),
        training,
        train.Loop(epochs=epochs, batch=50, optimizer="Adam(lr=1e-2)"),
        held_out=others,
        validation=validation,
        out=out,
        resume=out is not None,
    )
    print(", ".join(f"{name} {value:.3f}" for name, value in trained.figures.items()))
    return accuracy(trained.model, others)


if __name__ == "__main__":
    print(f"accuracy {main(*sys.argv[1:]):.3f}")
