"""Kim's convolutional network for sentences (arXiv 1408.5882)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PADDING = 0


class TextCNN(nn.Module):
    """Embedding, convolutions over 3, 4 and 5 words, maximum over the sentence, dropout, linear.

    The paper's sizes; its word vectors from outside are left to the caller
    (`net.embedding.weight.data[...] = ...`), so this is its variant CNN-rand. Token 0 is padding,
    a vector of zeros; as many zeros as a filter can reach over stand before and after.

    To explain it, name its embedding: `models.Classifier(net, embedding="embedding")`.

    Args:
        vocabulary: number of different tokens, padding included.
        classes: number of logits.
        dimension: of the embeddings.
        filters: of each width.
        widths: in words.
        dropout: share of the pooled features dropped in training.

    >>> TextCNN(vocabulary=50)(torch.tensor([[4, 9, 0, 0]])).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        vocabulary: int,
        classes: int = 2,
        *,
        dimension: int = 300,
        filters: int = 100,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dimension, padding_idx=PADDING)
        nn.init.uniform_(self.embedding.weight[1:], -0.25, 0.25)  # this project's choice
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(dimension, filters, width, padding=width - 1), nn.ReLU())
            for width in widths
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(filters * len(widths), classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (N, classes) of tokens (N, T)."""
        words = self.embedding(tokens).transpose(1, 2)
        pooled = [convolution(words).amax(2) for convolution in self.convolutions]
        logits: Tensor = self.fc(self.dropout(torch.cat(pooled, 1)))
        return logits
