#pragma once

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/model_config.h"

// Crammed BERT, with FFF layers or dense ones, as the public code saves it
// (github.com/pbelcak/UltraFastBERT,
// training/cramming/architectures/crammed_bert.py): masked-language model or
// sequence classifier. Its layers follow from the tensors and CrammedArch.
//
// What no tensor tells must be said in a config.json with "model_type":
// "crammedBERT", unless one of these holds:
//   heads                 "norm_factor" is there, which is head_width^-0.5
//   nonlin                every use of it is an FFF layer, which says gelu
//   pos_embedding         it has tensors
//   norm_eps              1e-12, the public configs' value
//   max_seq_length        a learned table has it; else kPositionsDefault
//   causal, rotary        no, as everywhere in the public configs
namespace fff::importer {

// Told by names alone; every name may start with "module.".
bool IsCrammedBert(const checkpoint::Checkpoint& checkpoint);

struct KnownNetwork {
  ModelConfig config;  // with layers and inputs
  // Names without "module."; the decoder's weight stands for a missing
  // embedding and the other way round; the other kind's head is left out.
  checkpoint::Checkpoint checkpoint;
};

// `config` without layers and inputs becomes one with them. INVALID_ARGUMENT
// names a key of "arch" or a tensor, found and wanted.
absl::StatusOr<KnownNetwork> CrammedBert(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint);

}  // namespace fff::importer
