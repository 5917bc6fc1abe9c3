"""Files: written whole or not at all, read within bounds, with digests, one writer a folder."""

from surefoot.files._bounded import (
    check_archive as check_archive,
    gunzip as gunzip,
    is_file as is_file,
    is_folder as is_folder,
    read_bytes as read_bytes,
    read_text as read_text,
    within as within,
)
from surefoot.files._claim import claim as claim
from surefoot.files._sealed import (
    DamagedError as DamagedError,
    check_digest as check_digest,
    digest as digest,
    open_sealed as open_sealed,
    open_versioned as open_versioned,
    seal as seal,
)
from surefoot.files._structured import (
    check_entries as check_entries,
    parse_json as parse_json,
    read_json as read_json,
)
from surefoot.files._tensors import (
    check_tensor_suffix as check_tensor_suffix,
    read_tensors as read_tensors,
    write_tensors as write_tensors,
)
from surefoot.files._whole import make_folder as make_folder, write_whole as write_whole
from surefoot.files._yaml import check_yaml as check_yaml
