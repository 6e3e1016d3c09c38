#include "server/rpc/service/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/rpc/messages/status_mapping.h"

namespace fff::rpc {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

void SetError(grpc::StatusCode code, const std::string& message,
              ServerReflectionResponse& response) {
  auto& error = *response.mutable_error_response();
  error.set_error_code(code);
  error.set_error_message(base::Printable(message));
}

void AddFile(const FileDescriptor& file, std::set<std::string>& sent,
             ServerReflectionResponse& response) {
  if (!sent.insert(file.name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(
      response.mutable_file_descriptor_response()->add_file_descriptor_proto());
  for (int i = 0; i < file.dependency_count(); ++i) {
    AddFile(*file.dependency(i), sent, response);
  }
}

// Null where nothing is named so.
const FileDescriptor* FileOfExtension(
    const grpc::reflection::v1::ExtensionRequest& request) {
  const auto* type = Pool().FindMessageTypeByName(request.containing_type());
  if (type == nullptr) return nullptr;
  const FieldDescriptor* extension =
      Pool().FindExtensionByNumber(type, request.extension_number());
  return extension == nullptr ? nullptr : extension->file();
}

void AnswerWithFile(const FileDescriptor* file, const std::string& asked,
                    std::set<std::string>& sent,
                    ServerReflectionResponse& response) {
  if (file == nullptr) {
    SetError(grpc::StatusCode::NOT_FOUND,
             absl::StrCat("the server has no '", asked, "'"), response);
    return;
  }
  // What was asked for is told again, also when the stream knows it.
  sent.erase(file->name());
  AddFile(*file, sent, response);
}

void AnswerWithExtensions(const std::string& type_name,
                          ServerReflectionResponse& response) {
  const auto* type = Pool().FindMessageTypeByName(type_name);
  if (type == nullptr) {
    SetError(grpc::StatusCode::NOT_FOUND,
             absl::StrCat("the server has no '", type_name, "'"), response);
    return;
  }
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(type, &extensions);
  auto& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(type_name);
  for (const FieldDescriptor* extension : extensions) {
    numbers.add_extension_number(extension->number());
  }
}

// The message in the other version, which has the same bytes.
template <class To, class From>
To Converted(const From& from) {
  To to;
  to.ParseFromString(from.SerializeAsString());
  return to;
}

template <class Response, class Request>
grpc::Status Serve(const Reflection& reflection,
                   const CallEnvironment& environment,
                   const grpc::ServerContext& context,
                   grpc::ServerReaderWriter<Response, Request>& stream) {
  const absl::Status fits = CheckMetadata(environment, ReadDetails(context));
  if (!fits.ok()) return ToGrpc(fits);
  std::set<std::string> sent;
  Request request;
  while (stream.Read(&request)) {
    const auto answer =
        reflection.Answer(Converted<ServerReflectionRequest>(request), sent);
    if (!stream.Write(Converted<Response>(answer))) break;
  }
  return grpc::Status::OK;
}

}  // namespace

ServerReflectionResponse Reflection::Answer(
    const ServerReflectionRequest& request, std::set<std::string>& sent) const {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      AnswerWithFile(Pool().FindFileByName(request.file_by_filename()),
                     request.file_by_filename(), sent, response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      AnswerWithFile(
          Pool().FindFileContainingSymbol(request.file_containing_symbol()),
          request.file_containing_symbol(), sent, response);
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      AnswerWithFile(FileOfExtension(asked),
                     absl::StrCat("extension ", asked.extension_number(),
                                  " of ", asked.containing_type()),
                     sent, response);
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      AnswerWithExtensions(request.all_extension_numbers_of_type(), response);
      break;
    case ServerReflectionRequest::kListServices: {
      auto& list = *response.mutable_list_services_response();
      for (const std::string& name : services_) {
        list.add_service()->set_name(name);
      }
      break;
    }
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::StatusCode::INVALID_ARGUMENT,
               "got a request that asks for nothing", response);
      break;
  }
  return response;
}

grpc::Status ReflectionService::ServerReflectionInfo(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<ServerReflectionResponse, ServerReflectionRequest>*
        stream) {
  return Serve(*reflection_, *environment_, *context, *stream);
}

grpc::Status ReflectionAlphaService::ServerReflectionInfo(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<
        grpc::reflection::v1alpha::ServerReflectionResponse,
        grpc::reflection::v1alpha::ServerReflectionRequest>* stream) {
  return Serve(*reflection_, *environment_, *context, *stream);
}

}  // namespace fff::rpc
