"""A local exported program (.pt2) as a module."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from surefoot.errors import SurefootError
from surefoot.files import read_bytes
from surefoot.models._program import harmless
from surefoot.programs import training_nodes


def load_exported(path: Path, trust: bool = False) -> nn.Module:
    """The module of an exported program, for any batch size.

    Args:
        path: of the file.
        trust: let it run code of whoever made it, as torch.export.load does.

    Raises:
        SurefootError: no such file, a damaged one, one that could run code, a program exported in
            training mode or for a fixed batch of several inputs.
    """
    if not zipfile.is_zipfile(path):
        reason = "is not an exported program" if path.is_file() else "does not exist"
        raise SurefootError(f"{path} {reason}; make one with torch.export.save(program, path)")
    content = read_bytes(path)
    # What was checked is what is loaded, not what the file has become meanwhile.
    given = io.BytesIO(content) if trust else harmless(content, path)
    try:
        program = torch.export.load(given)
    except Exception as error:  # a damaged archive fails in many ways
        raise SurefootError(
            f"cannot load the exported program {path} ({type(error).__name__}: {error})"
        ) from error
    _check_evaluation(program, path)
    batch = _batch_size(program)
    if batch not in (None, 1):
        raise SurefootError(
            f"{path} was exported for batches of exactly {batch}; export it with a dynamic first "
            'dimension: dynamic_shapes=({0: torch.export.Dim("batch")},)'
        )
    module = program.module()
    return module if batch is None else _OneByOne(module)


class _OneByOne(nn.Module):
    """Runs a program that takes a single input on any number of them."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.program(row) for row in torch.split(inputs, 1)])


def _check_evaluation(program: ExportedProgram, path: Path) -> None:
    for name in training_nodes(program.graph):
        raise SurefootError(
            f"{path} was exported in training mode ({name}), which cannot be undone; call "
            "model.eval() before torch.export.export"
        )


def _batch_size(program: ExportedProgram) -> int | None:
    """The fixed first dimension of the first input, or None where it is free."""
    names = program.graph_signature.user_inputs
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names[:1]:
            first = node.meta["val"].shape[0]
            return first if isinstance(first, int) else None
    return None
