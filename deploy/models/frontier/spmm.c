/* A feedforward network of sparse weights in CSR, for sparse.py.
 *
 *     cc -O3 -march=native -ffast-math -shared -fPIC spmm.c
 *
 * Rows stand in panels: activations are [panel][neuron][rows of a panel]. So a
 * weight that is not 0 multiplies whole registers of rows, and a panel's sums
 * stay in registers. A call of one row has no panels and gathers its inputs.
 */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define REGISTERS_MAX 4 /* of sums: as many as an FMA has cycles of latency */

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));

typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4)));

struct Layer {
  int32_t outputs;
  int32_t relu;
  const int32_t* first; /* [outputs + 1]: where an output's weights begin */
  const int32_t* column;
  const float* weight;
  const float* bias;
};

static void OneRow(const struct Layer* layer, const float* x, float* y) {
  for (int o = 0; o < layer->outputs; ++o) {
    float sum = layer->bias[o];
    for (int k = layer->first[o]; k < layer->first[o + 1]; ++k) {
      sum += layer->weight[k] * x[layer->column[k]];
    }
    y[o] = layer->relu && sum < 0 ? 0 : sum;
  }
}

/* One panel of `registers` x LANES rows. Inlined with constants, so that sums
 * have registers. Where a panel is narrow, each row has `chains` sums. */
static inline __attribute__((always_inline)) void Panel(
    const struct Layer* layer, const int registers, const int chains,
    const float* x, float* y) {
  const Lanes zero = {0};
  const int stride = registers * LANES;
  for (int o = 0; o < layer->outputs; ++o) {
    Lanes sum[REGISTERS_MAX];
    for (int r = 0; r < registers * chains; ++r) sum[r] = zero;
    const int end = layer->first[o + 1];
    int k = layer->first[o];
    for (; k + chains <= end; k += chains) {
      for (int c = 0; c < chains; ++c) {
        const Lanes* in =
            (const Lanes*)(x + (int64_t)layer->column[k + c] * stride);
        for (int r = 0; r < registers; ++r) {
          sum[c * registers + r] += layer->weight[k + c] * in[r];
        }
      }
    }
    for (; k < end; ++k) {
      const Lanes* in = (const Lanes*)(x + (int64_t)layer->column[k] * stride);
      for (int r = 0; r < registers; ++r) sum[r] += layer->weight[k] * in[r];
    }
    for (int r = 0; r < registers; ++r) {
      Lanes all = sum[r] + layer->bias[o];
      for (int c = 1; c < chains; ++c) all += sum[c * registers + r];
      if (layer->relu) all = (Lanes)((Bits)all & (all > zero));
      memcpy(y + (int64_t)o * stride + r * LANES, &all, sizeof(all));
    }
  }
}

/* rows: 1, 16, or a multiple of 64, whose panels have 64 rows. room: two
 * halves, each with the place of one panel of the widest layer. y: the scores
 * of all rows, in panels as x. */
void Run(const struct Layer* layers, int count, int inputs, int rows,
         const float* x, float* room, int64_t half, float* y) {
  const int panel = rows < 64 ? rows : 64;
  const int outputs = layers[count - 1].outputs;
  for (int at = 0; at < rows; at += panel) {
    const float* from = x + (int64_t)at * inputs;
    for (int n = 0; n < count; ++n) {
      float* to =
          n + 1 < count ? room + (n % 2) * half : y + (int64_t)at * outputs;
      if (panel == 1) OneRow(&layers[n], from, to);
      if (panel == 16) Panel(&layers[n], 1, 4, from, to);
      if (panel == 64) Panel(&layers[n], 4, 1, from, to);
      from = to;
    }
  }
}
