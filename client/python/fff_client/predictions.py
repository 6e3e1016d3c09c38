"""What a prediction is to its caller: an array with some facts beside it."""

import dataclasses
import html
from typing import Dict, Optional, Sequence, Tuple

import numpy as np

# Of what is shown; there may be millions.
_LABELS_SHOWN = 3
_ROWS_SHOWN = 10
_COLUMNS_SHOWN = 8


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LayerRouting:
    """The way of all rows through one FFF layer.

    layer: index of the layer in the model, from 0.
    family: "leaf" (one leaf network answers) or "path" (all visited nodes do).
    trees, depth: depth counts the decisions from the root to the bottom level.
    leaf: int32 [rows, trees], position on the bottom level, 0 = leftmost.
    margin: float32 [rows, trees, depth] (leaf family) or [.., depth + 1] (path
        family): what each visited node computed, root first. Its sign decides,
        its size says how close the decision was.
    tokens: of one row. Where it is more than 1, each token takes a way of its
        own, and leaf and margin are [rows, tokens, trees, ..].
    """

    layer: int
    family: str
    trees: int
    depth: int
    leaf: np.ndarray
    margin: np.ndarray
    tokens: int = 1

    def nodes(self) -> np.ndarray:
        """Visited nodes, int64 [*leaf.shape, depth + 1], root first.

        In heap order: root 0, children 2n+1 and 2n+2. Of the leaf family the
        last one is the leaf, at index 2^depth - 1 + leaf.
        """
        level = np.arange(self.depth + 1, dtype=np.int64)
        position = self.leaf.astype(np.int64)[..., None] >> (self.depth - level)
        return (1 << level) - 1 + position

    def __repr__(self) -> str:
        return (
            f"LayerRouting(layer={self.layer}, family={self.family!r}, "
            f"trees={self.trees}, depth={self.depth}, leaf={_kind(self.leaf)}, "
            f"margin={_kind(self.margin)})"
        )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The answer to predict or predict_dense.

    It stands for its output wherever an array is wanted: np.asarray(prediction),
    len(prediction), prediction[0], `for row in prediction`.

    output: float32 [rows, *model output shape], the model's main output; without
        columns where the request names other outputs alone.
    outputs: the others by name, in the model's order, float32 each as the model
        describes it; those that the request names, if it names any.
    ids: with top_k, int64 shaped as output: the columns that it holds, the
        strongest first. Else None.
    labels: of the strongest column of every row, or token; with top_k of every
        number in output; empty unless asked for and the model has labels.
    routing: one entry an FFF layer when asked for, else empty.
    implementation: "fff" or "dense", what computed the output.
    queue_seconds, compute_seconds, batch_rows: time in the server, waiting and
        computing, and the rows of the batch this request was evaluated in. Of
        several messages, the sums of seconds and the largest batch.
    """

    model: str
    version: int
    implementation: str
    output: np.ndarray
    labels: Tuple[str, ...]
    routing: Tuple[LayerRouting, ...]
    queue_seconds: float
    compute_seconds: float
    batch_rows: int
    request_id: str
    ids: Optional[np.ndarray] = None
    outputs: Dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.output.shape

    @property
    def dtype(self) -> np.dtype:
        return self.output.dtype

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy:
            return np.array(self.output, dtype)
        made = np.asarray(self.output, dtype)
        if copy is False and made is not self.output:
            raise ValueError(f"float32 as {made.dtype} wants a copy")
        return made

    def __len__(self) -> int:
        """Rows."""
        return len(self.output)

    def __getitem__(self, key):
        return self.output[key]

    def __iter__(self):
        return iter(self.output)

    def __repr__(self) -> str:
        parts = [
            f"model={self.model!r}", f"version={self.version}",
            f"implementation={self.implementation!r}", f"output={_kind(self.output)}",
        ]
        if self.ids is not None:
            parts.append(f"ids={_kind(self.ids)}")
        if self.outputs:
            others = (f"{name!r}: {_kind(each)}" for name, each in self.outputs.items())
            parts.append(f"outputs={{{', '.join(others)}}}")
        if self.labels:
            shown = ", ".join(map(repr, self.labels[:_LABELS_SHOWN]))
            more = ", .." if len(self.labels) > _LABELS_SHOWN else ""
            parts.append(f"labels=({shown}{more})")
        if self.routing:
            parts.append(f"routing={len(self.routing)} layers")
        return f"Prediction({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """For notebooks: its first rows as a table."""
        caption = f"<p>{html.escape(repr(self))}</p>"
        if self.output.ndim != 2:
            return caption
        rows, columns = self.output.shape
        labels = self.labels if len(self.labels) == rows else ()
        head = _cells("th", ["", *(["label"] if labels else []),
                             *_shortened(range(columns), _COLUMNS_SHOWN)])
        body = [
            _cells("td", [i, *labels[i:i + 1],
                          *_shortened([f"{each:.4g}" for each in self.output[i]],
                                      _COLUMNS_SHOWN)])
            for i in range(min(rows, _ROWS_SHOWN))
        ]
        if rows > _ROWS_SHOWN:
            body.append(_cells("td", [f"{rows - _ROWS_SHOWN} more"]))
        return f"{caption}<table>{head}{''.join(body)}</table>"


def joined(parts: Sequence[Prediction]) -> Prediction:
    """One prediction of all rows, from those of some rows each, in order."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return dataclasses.replace(
        first,
        output=np.concatenate([each.output for each in parts]),
        ids=None if first.ids is None else np.concatenate([each.ids for each in parts]),
        outputs={
            name: np.concatenate([each.outputs[name] for each in parts])
            for name in first.outputs
        },
        labels=sum((each.labels for each in parts), ()),
        routing=tuple(map(_joined_routing, zip(*(each.routing for each in parts)))),
        queue_seconds=sum(each.queue_seconds for each in parts),
        compute_seconds=sum(each.compute_seconds for each in parts),
        batch_rows=max(each.batch_rows for each in parts),
    )


def _joined_routing(parts) -> LayerRouting:
    return dataclasses.replace(
        parts[0],
        leaf=np.concatenate([each.leaf for each in parts]),
        margin=np.concatenate([each.margin for each in parts]),
    )


def _kind(array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _shortened(items, most: int) -> list:
    items = list(items[:most + 1])
    return items if len(items) <= most else [*items[:most], ".."]


def _cells(tag: str, items) -> str:
    cells = "".join(f"<{tag}>{html.escape(str(each))}</{tag}>" for each in items)
    return f"<tr>{cells}</tr>"
