#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/example.h"
#include "server/model/model.h"

// Whether a model answers as the code that trained it. A wrong activation, tie,
// layout or epsilon gives plausible answers; an example unmasks them before the
// first request.
namespace fff::model {

// How far two right fp32 programs may be apart on an example, and where they
// may part. Found by Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic",
// UCLA CSD-970002, 1997): the CPU computes the example again with the output of
// every node moved at random, as far as rounding moves it. The tolerance is a
// multiple of how far the answers move.
struct Rounding {
  // By output and row of Example::wanted(): one large answer hides nothing in
  // others.
  std::vector<std::vector<double>> tolerances;
  // By row: rounding may turn one of its decisions in an FFF layer.
  std::vector<bool> undecided;
};

// Answers beside those of the example.
struct Difference {
  // Where it is the largest share of the tolerance, among decided rows;
  // infinite for what is not finite.
  double apart = 0;
  double tolerance = 1;
  size_t output = 0;
  int64_t row = 0;    // of the request
  int64_t index = 0;  // of the row's answer
  float got = 0;
  float wanted = 0;
  int64_t rows = 0;  // with an element beyond the tolerance, of any output
};

Rounding FindRounding(const Model& model, const Example& example);
// The example's answers by the CPU.
SampleOutputs AnswerOnCpu(const Model& model, const Example& example);
// Of the outputs that the example has.
Difference Compare(const SampleOutputs& got, const Example& example,
                   const Rounding& rounding);

// That a model reproduces its example.
struct Proof {
  int64_t rows = 0;
  int64_t undecided = 0;  // rows, which are not compared
  double difference = 0;  // where it is the largest share of the tolerance
  double tolerance = 1;
  std::string devices;  // "cpu", "cpu and cuda:0"
  // "proven on cpu by 4 of 4 rows of example.safetensors: largest difference
  // 2e-07, tolerance 3e-06".
  std::string ToString() const;
};

// Computes the example on the CPU and on the model's device. INVALID_ARGUMENT
// names the element that is furthest from the example's when that is further
// than the tolerance. For models of fp32: others round.
absl::StatusOr<Proof> Prove(const Model& model, const Example& example,
                            const Rounding& rounding);

}  // namespace fff::model
