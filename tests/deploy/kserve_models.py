"""Objects of KServe against the models of its Python package. They are generated from
KServe's OpenAPI document, and read here without being imported: each file says the
type of each field, and how it is written."""

import ast
import re

import tools

SIMPLE = {"str": str, "int": int, "float": float, "bool": bool}


def complaints(one, model):
    """What the model named says against the object, with the path of each field.
    Types of Kubernetes itself are not looked into."""
    return list(_complaints(one, model, one["kind"]))


def _fields(model):
    """Written name -> type, or nothing where KServe has no such model."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", model).lower()
    file = tools.folder_of("kserve") / "kserve" / "models" / f"{snake}.py"
    if not file.exists():
        return None
    body = next(node for node in ast.parse(file.read_text()).body
                if isinstance(node, ast.ClassDef)).body
    tables = {node.targets[0].id: ast.literal_eval(node.value) for node in body
              if isinstance(node, ast.Assign)
              and node.targets[0].id in ("openapi_types", "attribute_map")}
    return {tables["attribute_map"][name]: kind
            for name, kind in tables["openapi_types"].items()}


def _complaints(value, kind, path):
    inner = re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", kind)
    if inner and inner[1]:
        if not isinstance(value, list):
            yield f"{path}: got {value!r}, wanted a list"
            return
        for i, one in enumerate(value):
            yield from _complaints(one, inner[1], f"{path}[{i}]")
    elif inner:
        for key, one in value.items():
            yield from _complaints(one, inner[2], f"{path}.{key}")
    elif kind in SIMPLE:
        if type(value) is not SIMPLE[kind]:
            yield f"{path}: got {value!r}, wanted {kind}"
    elif kind.startswith("V1alpha1") or kind.startswith("V1beta1"):
        fields = _fields(kind)
        assert fields is not None, f"no model {kind}"
        for key, one in value.items():
            if key not in fields:
                yield f"{path}.{key}: unknown field"
            else:
                yield from _complaints(one, fields[key], f"{path}.{key}")
