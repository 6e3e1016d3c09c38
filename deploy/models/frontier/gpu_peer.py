#!/usr/bin/env python3
"""Times the frontier's dense networks in PyTorch on a GPU, for gpu.jsonl beside it.

    python3 deploy/models/frontier/gpu_peer.py --networks FOLDER \
        --output deploy/models/frontier/gpu_peer.jsonl

FOLDER is that of train.py. A call takes test pictures from page-locked memory to the GPU,
through the network and back, all recorded as one CUDA graph; its time is from before the
launch until the result is there. Median over the rounds of medians. Writes one line per
network, with its accuracy on the test set as it was computed here.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import time

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a model repository is above
for folder in (HERE.parent, HERE.parents[2] / "client" / "python"):
    sys.path.insert(0, str(folder))
import fashion_mnist  # noqa: E402
from fff_client.safetensors import read_safetensors  # noqa: E402

ROWS = (1, 16, 256, 2048)


def network(folder):
    """The served network, or None where it has other layers than dense ones of pixels."""
    layers = json.loads((folder / "config.json").read_text())["layers"]
    tensors = read_safetensors(str(folder / "1" / "model.safetensors"))
    modules = []
    for layer in layers:
        if layer["type"] == "linear":
            weight = torch.tensor(tensors[layer["prefix"] + "weight"])
            modules.append(torch.nn.Linear(weight.shape[1], weight.shape[0]))
            modules[-1].weight.data = weight
            modules[-1].bias.data = torch.tensor(tensors[layer["prefix"] + "bias"])
        elif layer["type"] == "activation":
            modules.append(torch.nn.ReLU())
        elif layer["type"] != "flatten":
            return None
    return torch.nn.Sequential(*modules).cuda().eval()


class Recorded:
    """A network for one batch size, as a graph of its copies and kernels."""

    def __init__(self, model, x, rows):
        self.x, self.rows = x, rows
        self.host_in = x[:rows].clone().pin_memory()
        with torch.inference_mode():
            shape = model(self.host_in.cuda()).shape
            self.host_out = torch.empty(shape).pin_memory()
            self.device_in = self.host_in.cuda()  # the graph writes to it
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):  # cuBLAS allocates on the first call
                for _ in range(3):
                    model(self.device_in)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.device_in.copy_(self.host_in, non_blocking=True)
                self.host_out.copy_(model(self.device_in), non_blocking=True)

    def seconds(self, limit):
        """Median of calls with different rows, the filling of host_in left out."""
        taken, end, at = [], time.perf_counter() + limit, 0
        while time.perf_counter() < end or len(taken) < 5:
            self.host_in.copy_(self.x[at:at + self.rows])
            start = time.perf_counter()
            self.graph.replay()
            torch.cuda.current_stream().synchronize()
            taken.append(time.perf_counter() - start)
            at = (at + self.rows) % (len(self.x) - self.rows)
        return statistics.median(taken)


def accuracy(model, x, labels):
    with torch.inference_mode():
        return 100 * (model(x.cuda()).argmax(1).cpu() == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    pictures, labels = fashion_mnist.read_part(options.data, "t10k")
    x = torch.from_numpy(fashion_mnist.scaled(pictures))
    labels = torch.tensor(labels.astype("int64"))
    lines = [json.loads(line)
             for line in (options.networks / "accuracy.jsonl").read_text().splitlines()]
    models = {line["name"]: network(options.networks / line["name"])
              for line in lines if line["family"] == "dense"}
    models = {name: model for name, model in models.items() if model is not None}
    calls = {(name, rows): Recorded(model, x, rows)
             for name, model in models.items() for rows in ROWS}
    taken = {key: [] for key in calls}
    for _ in range(options.rounds):
        for key, call in calls.items():
            taken[key].append(call.seconds(options.seconds))
    with open(options.output, "w") as output:
        for name, model in models.items():
            times = {rows: {"seconds": statistics.median(taken[name, rows]),
                            "low": min(taken[name, rows]),
                            "high": max(taken[name, rows])} for rows in ROWS}
            output.write(json.dumps({
                "name": name, "family": "dense",
                "test": accuracy(model, x, labels), "times": times,
                "device": torch.cuda.get_device_name(),
                "runtime": f"PyTorch {torch.__version__}",
                "date": datetime.date.today().isoformat(), "rounds": options.rounds,
                "seconds": options.seconds}) + "\n")


if __name__ == "__main__":
    main()
