"""What proto/README.md promises: nothing of fff.v1 goes away or changes.

fff_v1_surface.txt has a line for each field, enum value and method that
clients may have been built against. It only grows, by hand: the failure prints the
lines to append.
"""

import pathlib

from google.protobuf import descriptor, descriptor_pb2

import fff_api

RECORD = pathlib.Path(__file__).parent / "fff_v1_surface.txt"
TYPES = {value: name[5:].lower() for name, value in vars(descriptor.FieldDescriptor).items()
         if name.startswith("TYPE_")}


def field_line(message, field):
    kind = TYPES[field.type]
    if field.message_type:
        kind = field.message_type.full_name
    elif field.enum_type:
        kind = field.enum_type.full_name
    repeated = "repeated " if field.label == field.LABEL_REPEATED else ""
    oneof = f" oneof {field.containing_oneof.name}" if field.containing_oneof else ""
    return f"{message.full_name}.{field.name} = {field.number} {repeated}{kind}{oneof}"


def enum_lines(enum):
    return [f"{enum.full_name}.{value.name} = {value.number}" for value in enum.values]


def message_lines(message):
    if message.GetOptions().map_entry:
        return []
    lines = [field_line(message, field) for field in message.fields]
    for nested in message.nested_types:
        lines += message_lines(nested)
    for enum in message.enum_types:
        lines += enum_lines(enum)
    return lines


def method_line(service, method):
    told = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(told)
    streams = ["stream " if streaming else "" for streaming in
               (told.client_streaming, told.server_streaming)]
    return (f"rpc {service.full_name}/{method.name} "
            f"({streams[0]}{method.input_type.full_name}) "
            f"({streams[1]}{method.output_type.full_name})")


def surface(file):
    lines = []
    for message in file.message_types_by_name.values():
        lines += message_lines(message)
    for enum in file.enum_types_by_name.values():
        lines += enum_lines(enum)
    for service in file.services_by_name.values():
        lines += [method_line(service, method) for method in service.methods]
    return set(lines)


def test_nothing_of_v1_is_gone_or_changed():
    recorded = set(RECORD.read_text(encoding="utf-8").splitlines())
    assert len(recorded) > 100
    gone = sorted(recorded - surface(fff_api.v1.DESCRIPTOR))
    assert not gone, "proto/README.md promises to keep:\n" + "\n".join(gone)


def test_what_is_new_in_v1_is_recorded():
    recorded = set(RECORD.read_text(encoding="utf-8").splitlines())
    new = sorted(surface(fff_api.v1.DESCRIPTOR) - recorded)
    assert not new, f"append to {RECORD.name}:\n" + "\n".join(new)
