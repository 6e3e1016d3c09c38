"""A receiver of OTLP spans, from the project's own proto file."""

import concurrent.futures
import os
import sys
import threading

import grpc

sys.path.append(os.environ["FFF_PYTHON_STUBS"])
# pylint: disable=wrong-import-position
from opentelemetry import trace_service_pb2 as otlp  # noqa: E402
from opentelemetry import trace_service_pb2_grpc as otlp_grpc  # noqa: E402

SECONDS_MAX = 120  # only what hangs takes as long


class SpanReceiver(otlp_grpc.TraceServiceServicer):
    """Listens once started. `answer(context)` may fail or wait for each batch."""

    def __init__(self, answer=lambda context: None, port=0, credentials=None):
        self.answer = answer
        self.resources = []
        self.spans = []
        self._changed = threading.Condition()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        otlp_grpc.add_TraceServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        self.port = self._server.add_secure_port(address, credentials) if credentials \
            else self._server.add_insecure_port(address)
        self._server.start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def Export(self, request, context):  # pylint: disable=invalid-name
        self.answer(context)
        with self._changed:
            for process in request.resource_spans:
                self.resources.append(attributes(process.resource))
                for scope in process.scope_spans:
                    self.spans.extend(scope.spans)
            self._changed.notify_all()
        return otlp.ExportTraceServiceResponse()

    def servers(self):
        """The spans of requests, without those of their parts."""
        with self._changed:
            return [span for span in self.spans
                    if span.kind == otlp.Span.SPAN_KIND_SERVER]

    def await_spans(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= number, SECONDS_MAX)
        return self.spans

    def stop(self):
        self._server.stop(grace=None).wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def attributes(holder):
    return {one.key: getattr(one.value, one.value.WhichOneof("value"))
            for one in holder.attributes}
