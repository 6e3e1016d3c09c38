"""Objects of operators against the models that cloudcoil made of their schemas.

As a program, with such a package on its path: crd_models.py MODULE, one object as JSON
on standard input. Prints what is wrong, and nothing when all is right. The models pass
over fields that they do not know; the API server does not, so neither does this.
"""

import importlib
import json
import sys

# (apiVersion, kind) -> the package with its model, and the module in it.
MODELS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): (
        "cloudcoil-models-prometheus-operator", "cloudcoil.models.prometheus_operator.v1"),
    ("keda.sh/v1alpha1", "ScaledObject"): (
        "cloudcoil-models-keda", "cloudcoil.models.keda.v1alpha1"),
    ("networking.istio.io/v1", "Gateway"): (
        "cloudcoil-models-istio", "cloudcoil.models.istio.networking.v1"),
    ("networking.istio.io/v1", "VirtualService"): (
        "cloudcoil-models-istio", "cloudcoil.models.istio.networking.v1"),
    ("networking.istio.io/v1", "DestinationRule"): (
        "cloudcoil-models-istio", "cloudcoil.models.istio.networking.v1"),
}


def complaints(one):
    """What the operator's schema says against the object; empty when nothing."""
    import tools  # pylint: disable=import-outside-toplevel
    package, module = MODELS[one["apiVersion"], one["kind"]]
    ended = tools.run_python(package, "crd_models.py", module, text=json.dumps(one))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def unknown_fields(given, read, path=""):
    """Paths of what was given and not read."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            where = f"{path}.{key}"
            if key not in read:
                yield where
            else:
                yield from unknown_fields(value, read[key], where)
    elif isinstance(given, list) and isinstance(read, list):
        for i, (value, other) in enumerate(zip(given, read)):
            yield from unknown_fields(value, other, f"{path}[{i}]")
    elif given != read:
        yield f"{path}: got {given!r}, read as {read!r}"


def main():
    given = json.load(sys.stdin)
    model = getattr(importlib.import_module(sys.argv[1]), given["kind"])
    try:
        read = model.model_validate(given)
    except ValueError as error:
        print(error)
        return
    read = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    for text in unknown_fields(given, read):
        print("unknown field", text)


if __name__ == "__main__":
    main()
