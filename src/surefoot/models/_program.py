"""What may stand in a stranger's exported program: tensors, and a graph of known operators.

torch.export.load runs code of whoever made the file: it unpickles, resolves any name under torch,
evaluates expressions, and makes Python source of the graph's names. So an archive is read here
first, entry by entry; what is not known to be harmless is refused, and what is not needed (stack
traces, source paths) is left out. What torch then loads is a new archive of what was checked.
"""

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from surefoot.errors import SurefootError
from surefoot.files import check_archive, parse_json

_TRUST = (
    "if you trust whoever made it, pass trust=True to surefoot.models.load; else ask for the "
    "weights alone"
)
_NAME = re.compile(r"[A-Za-z0-9_.]*")
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims|quantized_decomposed)\.\w+(\.\w+)?")
_REFUSED_OPERATORS = {"from_file", "save"}
_CALLS = re.compile(
    r"torch\.ops\.higher_order\.(cond|scan|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|_operator\.(abs|add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|pow|sub)"
    r"|_operator\.truediv|math\.(ceil|floor|pow|sqrt|trunc)"
    r"|torch\.sym_(float|int|ite|max|min|not|sqrt|sum)"
)
# What sympy knows and may be called in a shape.
_FUNCTIONS = re.compile(
    "Add|And|CeilDiv|CeilToInt|CleanDiv|Eq|Equality|FloorDiv|FloorToInt|Ge|GreaterThan|Gt|Identity"
    "|IntTrueDiv|Integer|Le|LessThan|Lt|Max|Min|Mod|ModularIndexing|Mul|Ne|Not|Or|PythonMod"
    "|Rational|StrictGreaterThan|StrictLessThan|Symbol|ToFloat|TruncToInt|Unequality|Where"
)
# Larger powers, or powers of powers, would fill the memory.
_POWER = re.compile(r"(Pow|PowByNatural)\(((?!Pow).)*, Integer\(-?\d\)\)")
_SYMBOL = re.compile(r"[a-z]\w*")
_EXPRESSION = (
    *(ast.Expression, ast.Name, ast.Load, ast.Compare, ast.cmpop, ast.keyword),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
    *(ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.BoolOp, ast.boolop),
)
_LONGEST = 2000
_STRUCTURES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
# Names that become source, attributes or keys; those ending in _name or _names do, too.
_NAMES = {"name", "fqn", "forward_arg_names", "buffer_name", "graph_module", "path_name"}


def harmless(content: bytes, path: object) -> io.BytesIO:
    """The archive of an exported program, with nothing left in it that could run code.

    Raises:
        SurefootError: it holds something else; the message names the entry and says how to trust
            the file on purpose.
    """
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(made, "w") as clean:
            check_archive(given, path)
            for name in given.namelist():
                kept = _entry(given, name, path)
                if kept is not None:
                    clean.writestr(name, kept)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise SurefootError(f"{path} is no exported program, or damaged: {error}") from error
    made.seek(0)
    return made


def _entry(archive: zipfile.ZipFile, name: str, path: object) -> bytes | None:
    """What is kept of one entry; None for what is not needed."""
    _, _, inside = name.partition("/")
    where = f"{path}: {name}"
    content = archive.read(name)
    if inside.startswith("data/aotinductor/"):
        raise SurefootError(f"{where} is compiled code, which would run; {_TRUST}")
    if "custom_obj" in inside or "opaque_obj" in inside:
        raise SurefootError(f"{where} is an object of other code, which would run; {_TRUST}")
    if name.endswith(".pt"):
        _check_tensors(content, where)
        return content
    if name.endswith(".json"):
        return _checked_json(content, where, _sizes(archive, name))
    folders = ("data/weights/", "data/constants/", ".data/")
    files = {"archive_format", "archive_version", "byteorder"}
    known = name == "version" or inside in files or inside.startswith(folders)
    return content if known else None


def _check_tensors(content: bytes, where: str) -> None:
    """Raise unless a reader that takes tensors and plain values alone reads it."""
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle fails in many ways
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"a pickle that holds {code[1]}" if code else "no pickle of tensors alone"
        raise SurefootError(
            f"{where} is {what}: loading it would run code of whoever made it, so it is refused; "
            f"{_TRUST}"
        ) from error


def _sizes(archive: zipfile.ZipFile, name: str) -> Mapping[str, int]:
    folder = name.rpartition("/")[0]
    return {
        one.filename.removeprefix(f"{folder}/"): one.file_size
        for one in archive.infolist()
        if one.filename.startswith(f"{folder}/")
    }


def _checked_json(content: bytes, where: str, sizes: Mapping[str, int]) -> bytes:
    value = parse_json(content, where)
    if not isinstance(value, dict):
        raise SurefootError(f"{where} holds a {type(value).__name__}, expected an object")
    for payload in (value.get("config") or {}).values() if "config" in value else ():
        _check_payload(payload, where, sizes)
    value.pop("guards_code", None)
    for key, found in _walk(value, where):
        _check(key, found, where)
    return json.dumps(value).encode()


def _walk(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every entry of nested objects with its key; metadata of nodes are emptied on the way."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, found = stack.pop()
        if isinstance(found, dict):
            if isinstance(found.get("metadata"), dict):
                found["metadata"] = {}
            for name, entry in found.items():
                _check_name(name, where)
                stack.append((name, entry))
        elif isinstance(found, list):
            stack.extend((key, entry) for entry in found)
        else:
            yield key, found


def _check(key: str, value: Any, where: str) -> None:
    if key in {"as_custom_obj", "as_script_object"} and value is not None:
        raise SurefootError(f"{where} names an object of other code; {_TRUST}")
    if not isinstance(value, str):
        return
    if key in {"target", "as_operator"}:
        _check_operator(value, where)
    elif key == "expr_str":
        _check_expression(value, where)
    elif key in {"in_spec", "out_spec"}:
        _check_structure(value, where)
    elif key in _NAMES or key.endswith(("_name", "_names")):
        _check_name(value, where)


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name) or ("__" in name.strip("_") and "import" in name):
        raise SurefootError(f"{where} has the name {name[:60]!r}, which is none; {_TRUST}")


def _check_operator(target: str, where: str) -> None:
    if _OPERATOR.fullmatch(target) and target.split(".")[3] not in _REFUSED_OPERATORS:
        return
    if not _CALLS.fullmatch(target):
        raise SurefootError(
            f"{where} calls {target[:80]!r}, which is no operator on tensors; {_TRUST}"
        )


def _check_expression(text: str, where: str) -> None:
    """Raise unless it is arithmetic of names and whole numbers: sympy evaluates the text."""
    try:
        tree = ast.parse(text, mode="eval") if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None or not all(_harmless_part(node) for node in ast.walk(tree)):
        raise SurefootError(f"{where} has the size {text[:60]!r}, which is no arithmetic; {_TRUST}")


def _harmless_part(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = node.func
        named = isinstance(called, ast.Name) and bool(_FUNCTIONS.fullmatch(called.id))
        return named or bool(_POWER.fullmatch(ast.unparse(node)))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _SYMBOL.fullmatch(node.value) is not None
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float)
    if isinstance(node, ast.Name):
        return not node.id.startswith("_")
    return isinstance(node, _EXPRESSION)


def _check_structure(text: str, where: str) -> None:
    """Raise unless a tree of inputs is made of tuples, lists and dicts: others are imported."""
    stack = [parse_json(text.encode(), where)]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if not (kind is None or isinstance(kind, str)) or kind not in _STRUCTURES:
                raise SurefootError(f"{where} has inputs of {kind!r}; {_TRUST}")
            stack.append(part.get("children_spec"))


def _check_payload(payload: Any, where: str, sizes: Mapping[str, int]) -> None:
    """Raise unless a tensor's numbers are in the archive: of an empty entry torch makes zeros."""
    meta = payload.get("tensor_meta") if isinstance(payload, dict) else None
    if not isinstance(meta, dict) or payload.get("use_pickle"):
        return
    shape = [size.get("as_int") if isinstance(size, dict) else None for size in meta["sizes"]]
    if not sizes.get(payload.get("path_name"), 0) and 0 not in shape:
        raise SurefootError(f"{where} has a tensor of shape {shape} with no numbers in the archive")
