"""Asks a server everything that tritonclient's gRPC client can ask it.

Usage: open_inference_client.py HOST:PORT MODEL ROWS.npy. Runs in a process of its
own: the client brings its own descriptors of package `inference`. Prints one JSON
object with what it was told; arrays as nested lists.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as oip

STREAMED = 40
SECONDS_MAX = 60


def inputs_of(x):
    tensor = oip.InferInput("input", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    return [tensor]


def outputs():
    return [oip.InferRequestedOutput("output")]


def infer(client, model, x):
    result = client.infer(model, inputs_of(x), outputs=outputs(), request_id="one",
                          priority=1, timeout=SECONDS_MAX * 1_000_000)
    response = result.get_response()
    return {"y": result.as_numpy("output").tolist(), "id": response.id,
            "version": response.model_version}


def infer_async(client, model, x):
    answers = queue.Queue()
    for i in range(len(x)):
        client.async_infer(model, inputs_of(x[i:i + 1]), request_id=str(i),
                           callback=lambda result, error: answers.put((result, error)))
    rows = {}
    for _ in range(len(x)):
        result, error = answers.get(timeout=SECONDS_MAX)
        assert error is None, error
        rows[int(result.get_response().id)] = result.as_numpy("output")[0].tolist()
    return [rows[i] for i in range(len(x))]


def infer_stream(client, model, x):
    """Rows by request id, and the error of a request in the middle."""
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for i in range(STREAMED):
        client.async_stream_infer(model, inputs_of(x[i % len(x)][None]),
                                  request_id=str(i))
        if i == STREAMED // 2:
            client.async_stream_infer("nobody", inputs_of(x[:1]), request_id="bad")
    rows, errors = {}, []
    for _ in range(STREAMED + 1):
        result, error = answers.get(timeout=SECONDS_MAX)
        if error is not None:
            errors.append(error.message())
        else:
            rows[int(result.get_response().id)] = result.as_numpy("output")[0].tolist()
    client.stop_stream()
    return {"rows": [rows[i] for i in range(STREAMED)], "errors": errors}


def refusal(client, model, x):
    try:
        client.infer(model, inputs_of(x[:, :3]))
    except oip.InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def control(client, model):
    """Whether the model is ready after an unload and a load, and two refusals."""
    told = {}
    client.unload_model(model)
    told["after_unload"] = [client.is_model_ready(model), client.is_server_ready()]
    index = client.get_model_repository_index(as_json=True)["models"]
    told["index"] = {entry["name"]: entry["state"] for entry in index}
    client.load_model(model)
    told["after_load"] = [client.is_model_ready(model), client.is_server_ready()]
    told["refusals"] = []
    for arguments in ({"model_name": "nobody"},
                      {"model_name": model, "config": "{}"}):
        try:
            client.load_model(**arguments)
        except oip.InferenceServerException as error:
            told["refusals"].append([error.status(), error.message()])
    return told


def main(target, model, file):
    x = np.load(file)
    with oip.InferenceServerClient(target) as client:
        told = {"live": client.is_server_live(), "ready": client.is_server_ready(),
                "server": client.get_server_metadata(as_json=True),
                "index": client.get_model_repository_index(as_json=True)}
        for name in (model, model + ":dense"):
            told[name] = {
                "ready": client.is_model_ready(name),
                "metadata": client.get_model_metadata(name, as_json=True),
                "config": client.get_model_config(name, as_json=True),
                "infer": infer(client, name, x),
                "async": infer_async(client, name, x),
                "stream": infer_stream(client, name, x),
                "refusal": refusal(client, name, x),
                "statistics": client.get_inference_statistics(name, as_json=True)}
        told["control"] = control(client, model)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
