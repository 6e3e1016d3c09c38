"""Questions about a trace: what depends on what, and where paths meet."""

from typing import Dict, Iterator, List, NamedTuple, Set, Tuple

import torch

from .trace import evaluate_nodes


class Region(NamedTuple):
    """The nodes between one node, `before`, and another, `nodes[-1]`, in order.

    Everything in it depends on `before`, weights and masks alone.
    """

    before: torch.fx.Node
    nodes: Tuple[torch.fx.Node, ...]


class Match(NamedTuple):
    """layers: of config.json, none where nothing is computed. before: the node
    whose value they take."""

    layers: List[dict]
    before: torch.fx.Node


class Trace:
    """graph: of a ValueTracer. data: the placeholder of the network's data; all
    others are masks."""

    def __init__(self, graph: torch.fx.Graph, root, data: str, hints=()):
        """hints: what to add to an error about the whole network."""
        self.root = root
        self.hints = hints
        self.order: Dict[torch.fx.Node, int] = {
            node: i for i, node in enumerate(graph.nodes)
        }
        self.start = next(
            node for node in self.order
            if node.op == "placeholder" and node.target == data
        )
        self.masks = [
            node for node in self.order
            if node.op == "placeholder" and node is not self.start
        ]
        self.output = next(node for node in self.order if node.op == "output")
        self._on_data = self._reached_from([self.start])
        self._on_masks = self._reached_from(self.masks)

    def inputs(self, node) -> List[torch.fx.Node]:
        """What a node takes that depends on the data, each once."""
        return [each for each in node.all_input_nodes if each in self._on_data]

    def on_data(self, node) -> bool:
        return node in self._on_data

    def sees_mask(self, region: Region) -> bool:
        return any(
            each in self._on_masks and each not in self._on_data
            for node in region.nodes for each in node.all_input_nodes
        )

    def mask_nodes(self) -> List[torch.fx.Node]:
        """Those that depend on masks and not on the data."""
        return [
            node for node in self.order
            if node in self._on_masks and node not in self._on_data
        ]

    def regions(self, end, nodes_max: int = 80) -> Iterator[Region]:
        """Regions that end in `end`, the smallest first."""
        frontier: Set[torch.fx.Node] = {end}
        passed: List[torch.fx.Node] = []
        while len(passed) < nodes_max:
            latest = max(frontier, key=self.order.__getitem__)
            if latest is self.start:
                return
            frontier.discard(latest)
            passed.append(latest)
            frontier.update(self.inputs(latest))
            if len(frontier) == 1:
                yield Region(next(iter(frontier)), tuple(reversed(passed)))

    def run(self, region: Region, values: dict) -> torch.Tensor:
        """The region's last value where nodes in front of it have others.

        values: node -> tensor, also of nodes of the region, which are then not
        evaluated. May raise whatever the operations do.
        """
        todo = [node for node in region.nodes if node not in values]
        values = dict(values)
        with torch.no_grad():
            evaluate_nodes(self.root, todo, values)
        return values[region.nodes[-1]]

    def _reached_from(self, nodes) -> Set[torch.fx.Node]:
        reached = set(nodes)
        for node in self.order:
            if node.meta.get("data") and any(
                each in reached for each in node.all_input_nodes
            ):
                reached.add(node)
        return reached
