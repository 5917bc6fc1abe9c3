"""Oxford's 17 kinds of flowers, the data set that RAR calls Flower."""

import torch

from surefoot.data._folders import ReadFile
from surefoot.data._pictures import Pictures
from surefoot.data._places import Root, data_root, missing
from surefoot.data._splits import hold_out

# In the order of the pictures' numbers, 80 of each.
_CLASSES = (
    "daffodil,snowdrop,lily of the valley,bluebell,crocus,iris,tigerlily,tulip,fritillary,"
    "sunflower,daisy,coltsfoot,dandelion,cowslip,buttercup,windflower,pansy"
)
KINDS = 17
EACH = 80
_WAYS = ("unpack 17flowers.tgz, from Oxford's Visual Geometry Group, in the data root",)


def load_flowers17(
    split: str, root: Root = None, *, size: int = 128, held_out: float = 8
) -> Pictures:
    """Flower-17 from ROOT/jpg (or ROOT/17flowers/jpg), image_0001.jpg to image_1360.jpg.

    Split as RAR has it, 72 of each kind to train and 8 to test (1,224 and 136), at its 128
    pixels; which ones is this project's own fixed draw, for RAR's depends on its shuffling. The
    makers' three official splits are not used.

    Raises:
        SurefootError: a file is missing.
    """
    base = data_root(root)
    folders = [base / "17flowers" / "jpg", base / "flowers17" / "jpg", base / "jpg", base]
    names = [f"image_{number:04}.jpg" for number in range(1, EACH * KINDS + 1)]
    folder = next((f for f in folders if (f / names[0]).is_file()), folders[0])
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        wanted = [*absent[:2], f"... ({len(absent)} in all)"]
        raise missing("flowers17", root, wanted, folders, _WAYS)
    labels = tuple(label for label in range(KINDS) for _ in range(EACH))
    read = ReadFile(tuple(folder / name for name in names), labels, size)
    numbers = hold_out(torch.tensor(labels), held_out, split).tolist()
    return Pictures(read, numbers, tuple(_CLASSES.split(",")), name=f"flowers17/{split}")
