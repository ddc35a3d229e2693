"""Read exported avatars: avatar.onnx, its description avatar.onnx.json, and the person's identity avatar.onnx.npz.

The files may come from strangers. Sizes, hashes and the graph's form are checked before ONNX Runtime or OpenVINO see
it, and both are given the bytes that were checked. What a network may ask of memory and time while it runs is not
bounded: paint a stranger's avatar where that does not matter, as you would open a stranger's video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from selfieavatar.errors import UserError
from selfieavatar.identity import MOST_BYTES, Identity
from selfieavatar.io.files import content_hash

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

FORMAT, OPSET = 1, 18
INPUTS, OUTPUTS = {"render": 3, "uv": 3}, {"image": 3, "alpha": 1}  # names and channels
_SUFFIXES: dict[str, str] = {"float32": "", "float16": ".fp16", "int8": ".int8"}
_MOST_JSON, _MOST_ONNX = 1 << 20, 1 << 30  # bytes
_FLOAT = 1  # onnx.TensorProto.FLOAT


class FileFacts(BaseModel):
    """A file that belongs to the export."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    file: str = Field(max_length=200)
    bytes: int = Field(ge=1)
    hash: str = Field(pattern="^[0-9a-f]{16}$")

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """Measure a file."""
        return cls(file=path.name, bytes=path.stat().st_size, hash=content_hash(path))


class Description(BaseModel):
    """The content of avatar.onnx.json.

    Attributes:
        size_px: side S of all images. avatar: the avatar.pt that was exported. identity: the npz.
        files: by precision; null where that precision was not written, and `notes` say why.
        inputs, outputs, conventions, parity: for readers; nothing here depends on them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: Literal[1]
    subject: str = Field(max_length=200)
    consent: str | None = Field(None, max_length=200)
    size_px: int = Field(ge=8, le=4096)
    opset: int
    avatar: FileFacts
    identity: FileFacts
    files: dict[str, FileFacts | None]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    conventions: list[str]
    parity: dict[str, Any]
    notes: list[str] = []


@dataclass(frozen=True)
class Exported:
    """A whole, checked export: its description, one graph, and who is shown."""

    path: Path
    description: Description
    graph: bytes
    identity: Identity


def graph_path(path: Path, precision: str) -> Path:
    """Name the file of a precision: avatar.onnx, avatar.fp16.onnx, avatar.int8.onnx."""
    return path.with_name(f"{path.stem}{_SUFFIXES[precision]}{path.suffix}")


def description_path(path: Path) -> Path:
    """Name the description that lies beside avatar.onnx."""
    return path.with_name(f"{path.name}.json")


def identity_path(path: Path) -> Path:
    """Name the identity that lies beside avatar.onnx."""
    return path.with_name(f"{path.name}.npz")


def read_description(path: Path) -> Description:
    """Read what lies beside an avatar.onnx.

    Raises:
        UserError: missing, damaged, or of another format.
    """
    path = description_path(path)
    text = _bounded(path, _MOST_JSON)
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} does not describe an exported avatar ({where}: {first['msg']}); {_AGAIN}") from error


def read_exported(path: Path, precision: str = "float32") -> Exported:
    """Read and check an export; path is that of avatar.onnx whatever the precision.

    Raises:
        UserError: a file is missing, damaged, too large, of another export, or no network of this contract.
    """
    description = read_description(path)
    if precision not in _SUFFIXES:
        raise UserError(f"there is no precision '{precision}' of exports; use {', '.join(_SUFFIXES)}")
    facts = description.files.get(precision)
    if facts is None:
        said = "; ".join(description.notes) or "see its parity report"
        raise UserError(f"{path} has no {precision} network ({said}); take float32")
    graph = _as_described(graph_path(path, precision), facts, _MOST_ONNX)
    check_graph(graph_path(path, precision), graph, description.size_px)
    stored = identity_path(path)
    _as_described(stored, description.identity, MOST_BYTES)
    return Exported(path, description, graph, Identity.load(stored))


def check_graph(path: Path, content: bytes, size_px: int) -> None:
    """Refuse what is not a plain ONNX network of the contract; path is for the sentence.

    Raises:
        UserError: damaged; operators that are not ONNX's own; control flow; data in other files; other inputs, outputs.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("reading avatar.onnx needs onnx; pip install 'selfieavatar[runtime]'") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises classes of its own
        raise UserError(f"{path} is not a readable ONNX file; {_AGAIN}") from error
    if problem := _problem_of(model, size_px):
        raise UserError(f"{path} is not an exported avatar: {problem}; {_AGAIN}")


def _problem_of(model: ModelProto, size_px: int) -> str:
    """Say what keeps a graph from being one of ours; empty where nothing does."""
    domains = {imported.domain for imported in model.opset_import} | {node.domain for node in model.graph.node}
    if strange := sorted(domains - {"", "ai.onnx"}):
        return f"it uses operators of '{strange[0]}'"
    if len(model.functions) or any(_is_nested(a) for node in model.graph.node for a in node.attribute):
        return "it holds functions, branches or loops"
    if any(tensor.external_data or tensor.data_location for tensor in _tensors(model.graph)):
        return "it takes data from other files"
    for values, wanted in ((model.graph.input, INPUTS), (model.graph.output, OUTPUTS)):
        found = {value.name: value.type.tensor_type for value in values}
        if set(found) != set(wanted):
            return f"it has {', '.join(sorted(found)) or 'nothing'} instead of {', '.join(wanted)}"
        for name, channels in wanted.items():
            sides = [side.dim_value for side in found[name].shape.dim]
            if sides != [0, channels, size_px, size_px] or found[name].elem_type != _FLOAT:  # 0: any number of frames
                return f"{name} is not float32 of (B, {channels}, {size_px}, {size_px})"
    return ""


def _is_nested(attribute: AttributeProto) -> bool:
    return attribute.HasField("g") or len(attribute.graphs) > 0


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield all tensors that a graph without nested graphs holds."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (
                attribute.t,
                *attribute.tensors,
                attribute.sparse_tensor.values,
                attribute.sparse_tensor.indices,
            )


_AGAIN = "export the avatar again, or fetch its files again"


def _bounded(path: Path, most: int) -> bytes:
    """Read a file of at most so many bytes."""
    if not path.is_file():
        raise UserError(f"{path} is missing; python -m stages.export makes it, with the files that belong beside it")
    with path.open("rb") as file:
        if file.seek(0, 2) > most:
            raise UserError(f"{path} is larger than {most >> 20} MB, which no exported avatar is; {_AGAIN}")
        file.seek(0)
        return file.read(most)


def _as_described(path: Path, facts: FileFacts, most: int) -> bytes:
    """Read a file and see that it is the described one."""
    content = _bounded(path, most)
    if len(content) != facts.bytes or content_hash(content) != facts.hash:
        raise UserError(f"{path} is damaged, or not the file that its description means; {_AGAIN}")
    return content
