"""Exports PyTorch networks to what FFF Serving loads.

A whole network, as the model `my-network` in version 1:

    from fff_client.export import export_network
    export_network(model, "models/my-network/1", example)

One layer, or weights whose config.json you write yourself:

    from fff_client.export import export_module
    export_module(model, "models/my-model/1/model.safetensors")

From a file that torch.save wrote (also the old format that is not a zip
archive, and sparse, quantised and float8 tensors, which the server does not
read):

    python3 -m fff_client.export model.pt -o models/my-model/1/model.safetensors

torch is imported only when it is needed. The names of the tensors are those of
the state_dict: the conventions of the server go by them.
"""

from ..safetensors import (
    RawTensor,
    SafetensorsError,
    read_metadata,
    read_safetensors,
    write_safetensors,
)
from .command import main
from .errors import ExportError
from .network import export_network
from .state import export_module, state_dict_tensors
from .torch_file import load_state_dict

__all__ = [
    "ExportError",
    "RawTensor",
    "SafetensorsError",
    "export_module",
    "export_network",
    "load_state_dict",
    "main",
    "read_metadata",
    "read_safetensors",
    "state_dict_tensors",
    "write_safetensors",
]
