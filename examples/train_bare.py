"""An objective in a training loop of one's own: it takes the place of the loss function."""

import torch
from digits import accuracy, digits, network
from torch.utils.data import DataLoader

from surefoot import train


def main(count: int = 1500, epochs: int = 3) -> float:
    """Train with SCAAT; the accuracy on other digits."""
    training, others = digits(count)
    model = network()
    objective = train.SCAAT(epsilon=0.1, steps=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        model.train()
        for images, labels in DataLoader(training, batch_size=50, shuffle=True):
            loss = objective(model, images, labels)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
        print(", ".join(f"{name} {value:.3f}" for name, value in loss.terms.items()))
    return accuracy(model, others)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
