"""One recipe for the networks of networks.py, FFF and dense, on Fashion-MNIST.

A module to import: `train` trains copies of several networks side by side. On a GPU
a step is recorded once per phase and replayed.

The recipe, the same for FFF and dense networks:
- Half of the rows are the pictures, half are slightly turned, scaled, moved and
  brightened copies.
- The loss is 0.3 cross entropy and 0.7 distillation (arXiv 1503.02531) from the
  CNN of ../fashion-mnist-cnn, whose weights stand in this repository.
- AdamW, one cycle of the learning rate.

What an FFF has besides (the form is that of arXiv 2308.14711):
- A leaf's weights are the sum of one block per level of the tree, shared by all
  leaves below that node, and become plain leaves at export. So leaves start
  alike and only the difference is learned from fewer rows.
- Soft: every leaf answers for itself; its loss counts by the probability that
  the row goes there. The loss of the mixture would train leaves that are only
  right together.
- Then hard: the leaf of the row, and the one behind its least certain decision,
  by the probability of that decision, at a falling temperature.
- Last, frozen: the row's leaf alone, as it is served.
- A penalty on unequal shares of the leaves (`balancing`).
Leaves of two hidden layers are served as two FFF layers: the first also answers
the leaf's number, and the second's nodes read it.
"""

import dataclasses
import math
import pathlib
import sys

import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE.parent, HERE.parents[2] / "client" / "python"):
    sys.path.insert(0, str(folder))
from fashion_mnist import SIDE, read_part  # noqa: E402
from fff_client.safetensors import read_safetensors  # noqa: E402
from networks import shrunk  # noqa: E402

HELD_OUT_ROWS = 5000
TEACHER = HERE.parent / "fashion-mnist-cnn" / "1" / "dense.safetensors"
TEACHER_SEED = 0  # its held-out rows are ours
CHUNK_ROWS = 5000


@dataclasses.dataclass(frozen=True)
class Recipe:
    epochs: int = 160
    batch_rows: int = 512
    learning_rate: float = 3e-3
    decays: tuple = (0.01, 0.1, 0.3)
    seeds: int = 3
    distillation: float = 0.7
    teacher_temperature: float = 2.0
    warm: float = 0.3  # share of the steps in which the rate rises
    soft: float = 0.25  # share of the steps, at their start
    frozen: float = 0.15  # share of the steps, at their end
    first_temperature: float = 1.0
    last_temperature: float = 0.1
    balancing: float = 0.05
    altered_copies: int = 12  # of every picture

    @property
    def copies(self) -> int:
        return self.seeds * len(self.decays)

    def with_decay(self, decay: float) -> "Recipe":
        return dataclasses.replace(self, decays=(decay,))


class Data:
    """Pictures in memory of `device`: altered copies behind the originals, with the
    teacher's scores of each.

    pictures: bytes [copies of the pictures, rows, 784]. held_out_x, held_out_y: rows
    that no network and not the teacher was trained on.
    """

    def __init__(self, folder, recipe: Recipe, device):
        pictures, labels = (torch.tensor(part).to(device)
                            for part in read_part(folder, "train"))
        labels = labels.long()
        order = torch.randperm(
            len(pictures), generator=torch.Generator().manual_seed(TEACHER_SEED)
        ).to(device)
        held_out, rest = order[:HELD_OUT_ROWS], order[HELD_OUT_ROWS:]
        self.held_out_x = normalise(pictures[held_out].flatten(1))
        self.held_out_y = labels[held_out]
        self.labels = labels[rest]
        copies, scores = [], []
        tensors = {
            name: torch.tensor(value).float().to(device)
            for name, value in read_safetensors(str(TEACHER)).items()
        }
        for number in range(1 + recipe.altered_copies):
            parts = pictures[rest].split(CHUNK_ROWS)
            if number > 0:
                parts = [altered(part) for part in parts]
            copies.append(torch.cat([part.flatten(1) for part in parts]))
            scores.append(torch.cat([teacher_scores(tensors, p) for p in parts]))
        self.pictures, self.scores = torch.stack(copies), torch.stack(scores)

    def rows(self, copy, row):
        """x [.., 784], labels and the teacher's scores of rows [..] of copies [..]."""
        return (normalise(self.pictures[copy, row]), self.labels[row],
                self.scores[copy, row])


def test_rows(folder, device):
    """The test set; read by code that has chosen already."""
    pictures, labels = (torch.tensor(part).to(device)
                        for part in read_part(folder, "t10k"))
    return normalise(pictures.flatten(1)), labels.long()


def normalise(pixels):
    return (pixels.float() / 255 - 0.5) / 0.5


def altered(pictures):
    """Bytes [rows, 28, 28]: turned by up to 4 degrees, scaled by 5 %, moved by 0.6
    pixels, brightened by 10 %."""
    device = pictures.device

    def within(bound, *shape):
        return (torch.rand(*shape, device=device) * 2 - 1) * bound

    rows = len(pictures)
    angle, scale = within(4 * math.pi / 180, rows), 1 + within(0.05, rows)
    move = within(0.6 * 2 / SIDE, 2, rows)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    affine = torch.stack([
        torch.stack([cos, -sin, move[0]], dim=1),
        torch.stack([sin, cos, move[1]], dim=1),
    ], dim=1)
    grid = functional.affine_grid(affine, (rows, 1, SIDE, SIDE), align_corners=False)
    moved = functional.grid_sample(pictures[:, None].float(), grid, align_corners=False)
    bright = moved[:, 0] * (1 + within(0.1, rows, 1, 1))
    return bright.round().clamp(0, 255).byte()


@torch.no_grad()
def teacher_scores(tensors, pictures):
    """The dense twin of ../fashion-mnist-cnn, bytes [rows, 28, 28] -> [rows, 10]."""
    t = tensors

    def batch_norm(x, name):
        return functional.batch_norm(
            x, t[name + "running_mean"], t[name + "running_var"],
            t[name + "weight"], t[name + "bias"])

    def linear(x, name):
        return functional.linear(x, t[name + "weight"], t[name + "bias"])

    x = (pictures[:, None].float() - 127.5) / 127.5
    x = functional.conv2d(x, t["features.0.weight"], t["features.0.bias"], 2, 2)
    x = functional.max_pool2d(torch.relu(batch_norm(x, "features.1.")), 2)
    x = functional.conv2d(x, t["features.4.weight"], t["features.4.bias"], padding=1)
    x = torch.relu(batch_norm(x, "features.5.")).flatten(1)
    x = linear(torch.relu(linear(x, "head.0.")), "head.2.")
    return linear(torch.relu(x), "output.")


class _Training:
    """One network on its way; `advance` takes steps."""

    def __init__(self, make, data: Data, recipe: Recipe, seed: int):
        self.recipe, self.data = recipe, data
        device = data.pictures.device
        torch.manual_seed(seed)
        self.model = make(recipe.copies).to(device)
        if getattr(self.model, "balancing", 0) is None:
            self.model.balancing = recipe.balancing
        rows = len(data.labels)
        per_epoch = rows // recipe.batch_rows
        self.steps = recipe.epochs * per_epoch
        order = [self._order(rows, per_epoch, device) for _ in range(recipe.copies)]
        self.row = torch.stack([row for row, _ in order])
        self.copy = torch.stack([copy for _, copy in order])
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        share = torch.arange(self.steps, dtype=torch.float64) / self.steps
        self.rates = self._rates(share).to(device)
        self.temperatures = self._temperatures(share).to(device)
        self.decays = torch.tensor(recipe.decays, device=device).repeat(recipe.seeds)
        self.parameters = list(self.model.parameters())
        on_gpu = device.type == "cuda"
        self.rate = torch.tensor(recipe.learning_rate, device=device)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.rate if on_gpu else recipe.learning_rate,
            weight_decay=0, **({"fused": True, "capturable": True} if on_gpu else {}))
        self.done, self.recorded = 0, {}
        self.stream = torch.cuda.Stream() if on_gpu else None

    def _order(self, rows, per_epoch, device):
        """Rows, and which copy of each: half of the time the picture itself."""
        recipe, taken = self.recipe, per_epoch * self.recipe.batch_rows
        row = torch.cat([
            torch.randperm(rows, device=device)[:taken] for _ in range(recipe.epochs)])
        altered_copy = torch.randint_like(row, 1, 1 + recipe.altered_copies)
        copy = torch.where(torch.rand(len(row), device=device) < 0.5, 0, altered_copy)
        shape = (self.steps, recipe.batch_rows)
        return row.int().reshape(shape), copy.to(torch.int8).reshape(shape)

    def _rates(self, share):
        recipe = self.recipe
        rise = (1 - torch.cos(math.pi * share / recipe.warm)) / 2
        fall = (1 + torch.cos(math.pi * (share - recipe.warm) / (1 - recipe.warm))) / 2
        rate = torch.where(share < recipe.warm, 0.04 + 0.96 * rise, fall)
        return (recipe.learning_rate * rate + 1e-7).float()

    def _temperatures(self, share):
        recipe = self.recipe
        hard = 1 - recipe.soft - recipe.frozen
        passed = ((share - recipe.soft) / hard).clamp(0, 1)
        ratio = recipe.last_temperature / recipe.first_temperature
        return (recipe.first_temperature * ratio**passed).float()

    def phase(self) -> str:
        share = self.done / self.steps
        if share < self.recipe.soft:
            return "soft"
        return "hard" if share < 1 - self.recipe.frozen else "frozen"

    def _losses_of(self, labels, scores):
        recipe = self.recipe
        wanted = functional.softmax(scores / recipe.teacher_temperature, dim=-1)

        def losses(output):  # [copies, rows, (leaves,) classes]
            y, target = labels, wanted
            while y.dim() < output.dim() - 1:
                y, target = y.unsqueeze(-1), target.unsqueeze(-2)
            own = functional.log_softmax(output, dim=-1)
            own = own.gather(-1, y.unsqueeze(-1).expand(*output.shape[:-1], 1))[..., 0]
            soft = functional.log_softmax(output / recipe.teacher_temperature, dim=-1)
            taught = (target * soft).sum(dim=-1) * recipe.teacher_temperature**2
            return -(1 - recipe.distillation) * own - recipe.distillation * taught

        return losses

    def _one_step(self, phase):
        row = self.row.index_select(1, self.step)[:, 0].long()
        copy = self.copy.index_select(1, self.step)[:, 0].long()
        rate = self.rates.index_select(0, self.step)[0]
        temperature = self.temperatures.index_select(0, self.step)
        x, labels, scores = self.data.rows(copy, row)
        x = shrunk(x, self.model.inputs)
        losses_of = self._losses_of(labels, scores)
        loss = self.model.loss(x, losses_of, phase, temperature).sum()
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        with torch.no_grad():  # decoupled weight decay, one per copy
            keep = 1 - rate * self.decays
            for p in self.parameters:
                p.mul_(keep.reshape(-1, *[1] * (p.dim() - 1)))
        if self.stream is None:
            self.optimizer.param_groups[0]["lr"] = float(rate)
        else:
            self.rate.copy_(rate)
        self.optimizer.step()
        self.step.add_(1)

    def _record(self, phase):
        """Steps that are recorded run on real rows first, three times at the step
        that comes next."""
        at = self.step.clone()
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self._one_step(phase)
                self.step.copy_(at)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self._one_step(phase)
        torch.cuda.synchronize()
        self.recorded[phase] = graph

    def advance(self, steps: int) -> bool:
        for _ in range(min(steps, self.steps - self.done)):
            phase = self.phase()
            if self.stream is None:
                self._one_step(phase)
            else:
                if phase not in self.recorded:
                    self._record(phase)
                with torch.cuda.stream(self.stream):
                    self.recorded[phase].replay()
            self.done += 1
        return self.done < self.steps


def train(makers, data: Data, recipe: Recipe, seed: int = 1, tell=None):
    """Trains the networks that `makers` make, each `recipe.copies` times.

    makers: functions from a number of copies to a network. On a GPU all advance
    together. tell: called with the share that is done, at most twenty times. Returns the
    networks.
    """
    trainings = [_Training(make, data, recipe, seed) for make in makers]
    told = 0
    while any([t.advance(4) for t in trainings]):
        twentieths = 20 * trainings[0].done // trainings[0].steps
        if tell is not None and twentieths > told:
            told = twentieths
            tell(told / 20)
    if data.pictures.device.type == "cuda":
        torch.cuda.synchronize()
    return [t.model for t in trainings]


@torch.no_grad()
def right(model, x, y):
    """Which rows each copy gets right, [copies, rows]."""
    copies = next(model.parameters()).shape[0]
    parts = []
    for part in x.split(CHUNK_ROWS // 5):
        part = shrunk(part, model.inputs).expand(copies, -1, -1)
        parts.append(model(part).argmax(dim=2))
    return torch.cat(parts, dim=1) == y
