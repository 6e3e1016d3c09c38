#pragma once

#include "server/importer/convention.h"

// The layouts that the rows of conventions.cc name. Which code bases have them
// and what they compute is said there.
namespace fff::importer {

// Served.
extern const Layout kFastFeedforwardLayout;
extern const Layout kMemoryAccLayout;  // the same without `depth`
extern const Layout kMasterLeafLayout;
extern const Layout kLinearLeafLayout;
extern const Layout kHyperzensLinearLayout;
extern const Layout kFastffLayout;
extern const Layout kFastffGateLayout;
extern const Layout kMlpUtilsLayout;
extern const Layout kFffDistillLayout;
extern const Layout kPairLayout;  // linear_in, linear_out
extern const Layout kNoBiasPairLayout;
extern const Layout kPreluPairLayout;
extern const Layout kPairAndMlpLayout;
extern const Layout kCudaLayout;
extern const Layout kRowsLayout;  // w1s, w2s
extern const Layout kStandardisedRowsLayout;
extern const Layout kFlatRowsLayout;
extern const Layout kXyLayout;  // X, Y
extern const Layout kLevelRowsLayout;
extern const Layout kPathSelectorLayout;
extern const Layout kBojanFlatLayout;
extern const Layout kDenseXyLayout;
extern const Layout kDenseBasisLayout;

// Known, but not served yet.
extern const Layout kFanoutLayout;
extern const Layout kTopKXyLayout;
extern const Layout kTopKBasisLayout;
extern const Layout kHypercubeLayout;
extern const Layout kJgcbLayout;
extern const Layout kChimeraLayout;
extern const Layout kPathWeightedLayout;
extern const Layout kMlpUtilsGluLayout;
extern const Layout kMlpUtilsMaskedLayout;
extern const Layout kMlpUtilsNormLayout;
extern const Layout kHyperzensGluLayout;
extern const Layout kHyperzensForestLayout;
extern const Layout kBitNetLayout;
extern const Layout kBitNetProductLayout;
extern const Layout kTransposedBitNetLayout;
extern const Layout kFastffTopKLayout;
extern const Layout kFlaxLayout;
extern const Layout kNodeMlpLayout;
extern const Layout kKyegomezLayout;

}  // namespace fff::importer
