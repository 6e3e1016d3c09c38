// Vectorised activations. Included once a Highway target.
//
// Every function is within 5e-7 * max(|f(z)|, min(1, |z|)) of the exact value
// over all floats (tests/unit/engine/activation_test.cc measures it):
//   identity, relu      exact (relu(NaN) = NaN, as in torch)
//   gelu (erf)          1.2e-7 of the scale above
//   gelu_tanh, silu     2e-7
//   tanh, sigmoid       2e-7
// NaN gives NaN; infinities give the limits (gelu(-inf) = silu(-inf) = 0).

#if defined(FFF_ENGINE_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_ACTIVATION_INL_H_
#undef FFF_ENGINE_CPU_ACTIVATION_INL_H_
#else
#define FFF_ENGINE_CPU_ACTIVATION_INL_H_
#endif

#include "server/engine/cpu/vector-inl.h"
#include "server/engine/problem.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// exp(x) for x <= 0 within 2 ulp down to the smallest normal float; below it
// the result is the right subnormal or zero. NaN gives an unspecified value.
HWY_INLINE V ExpOfNegative(D d, V x) {
  const hn::RebindToSigned<D> di;
  // exp(-110) is 0 in float; the clamp keeps the exponent arithmetic in range.
  x = hn::Max(x, hn::Set(d, -110.0f));
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  // ln 2 in two parts, the first short enough for n * part to be exact.
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  // exp(r) = 1 + r + r^2 p(r), |r| <= ln(2)/2, fitted to 8e-9.
  V p = hn::Set(d, 1.3933676e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, 8.3631974e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16664647e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665769f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  p = hn::Add(p, hn::Set(d, 1.0f));
  // 2^n in two factors, so that n down to -159 needs no special case.
  const auto exponent = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(exponent);
  const auto rest = hn::Sub(exponent, half);
  const auto one = hn::Set(di, 127);
  const V scale1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, one)));
  const V scale2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(rest, one)));
  return hn::Mul(hn::Mul(p, scale1), scale2);
}

// 1 / (1 + exp(-u)) without overflow and with the left tail's relative
// accuracy.
HWY_INLINE V SigmoidOf(D d, V u) {
  const V one = hn::Set(d, 1.0f);
  const V e = ExpOfNegative(d, hn::Neg(hn::Abs(u)));
  const V top = hn::IfThenElse(hn::Lt(u, hn::Zero(d)), e, one);
  return hn::Div(top, hn::Add(one, e));
}

// gelu(z) = max(z, 0) - |z| Q(|z|), Q(t) = erfc(t / sqrt 2) / 2 =
// exp(-t^2 / 2) R(t). R is a polynomial of degree 8 in 1 / (1 + 0.3 t), fitted
// to a relative 5.9e-8 on [0, 14.6]; beyond that Q is 0 in float.
HWY_INLINE V GeluOf(D d, V z) {
  const V t = hn::Abs(z);
  const V s = hn::Div(hn::Set(d, 1.0f),
                      hn::MulAdd(t, hn::Set(d, 0.3f), hn::Set(d, 1.0f)));
  V p = hn::Set(d, 3.8411813552e-2f);
  p = hn::MulAdd(p, s, hn::Set(d, -0.16932889080f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.22899594598f));
  p = hn::MulAdd(p, s, hn::Set(d, -7.6890010253e-2f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.14279991369f));
  p = hn::MulAdd(p, s, hn::Set(d, 9.4571178050e-2f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.12194899928f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.11948368693f));
  p = hn::MulAdd(p, s, hn::Set(d, 7.4026779374e-6f));
  const V e = ExpOfNegative(d, hn::Mul(hn::Mul(t, t), hn::Set(d, -0.5f)));
  // min keeps infinity * 0 out.
  const V tail = hn::Mul(hn::Min(t, hn::Set(d, 16.0f)), hn::Mul(p, e));
  return hn::Sub(hn::Max(z, hn::Zero(d)), tail);
}

// z sigmoid(u) where u has the sign of z and grows at least as fast; finite
// limits at both ends.
HWY_INLINE V TimesSigmoid(D d, V z, V u) {
  // z * 0 for the far left: clamp z so that -infinity * 0 cannot happen.
  const V clamped =
      hn::IfThenElse(hn::Lt(z, hn::Set(d, -200.0f)), hn::Set(d, -200.0f), z);
  return hn::Mul(clamped, SigmoidOf(d, u));
}

HWY_INLINE V GeluTanhOf(D d, V z) {
  // Beyond 20 the sigmoid is 0 or 1 in float; the clamp keeps z^3 finite.
  const V c = hn::Min(hn::Max(z, hn::Set(d, -20.0f)), hn::Set(d, 20.0f));
  const V cube = hn::Mul(hn::Mul(c, c), c);
  const V inner = hn::MulAdd(cube, hn::Set(d, 0.044715f), c);
  return TimesSigmoid(d, z, hn::Mul(inner, hn::Set(d, 1.5957691216f)));
}

HWY_INLINE V TanhOf(D d, V z) {
  const V t = hn::Abs(z);
  const V one = hn::Set(d, 1.0f);
  const V e = ExpOfNegative(d, hn::Mul(t, hn::Set(d, -2.0f)));
  const V large = hn::Div(hn::Sub(one, e), hn::Add(one, e));
  // Below 0.625: t + t^3 p(t^2), fitted to 1.6e-8, since 1 - e cancels there.
  const V u = hn::Mul(t, t);
  V p = hn::Set(d, -6.10494e-3f);
  p = hn::MulAdd(p, u, hn::Set(d, 2.100364e-2f));
  p = hn::MulAdd(p, u, hn::Set(d, -5.38525e-2f));
  p = hn::MulAdd(p, u, hn::Set(d, 0.13332782f));
  p = hn::MulAdd(p, u, hn::Set(d, -0.33333329f));
  const V small = hn::MulAdd(hn::Mul(p, u), t, t);
  return hn::CopySign(
      hn::IfThenElse(hn::Lt(t, hn::Set(d, 0.625f)), small, large), z);
}

template <Activation kActivation>
HWY_INLINE V ActivateOne(D d, V z) {
  V result = z;
  if constexpr (kActivation == Activation::kRelu) {
    return hn::IfThenElse(hn::Lt(z, hn::Zero(d)), hn::Zero(d), z);
  } else if constexpr (kActivation == Activation::kGelu) {
    result = GeluOf(d, z);
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    result = GeluTanhOf(d, z);
  } else if constexpr (kActivation == Activation::kSilu) {
    result = TimesSigmoid(d, z, z);
  } else if constexpr (kActivation == Activation::kTanh) {
    result = TanhOf(d, z);
  } else if constexpr (kActivation == Activation::kSigmoid) {
    result = SigmoidOf(d, z);
  } else {
    static_assert(kActivation == Activation::kIdentity);
  }
  return hn::IfThenElse(hn::Eq(z, z), result, z);  // NaN stays
}

template <Activation kActivation>
HWY_INLINE void ActivateAll(float* HWY_RESTRICT values, int64_t count) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(ActivateOne<kActivation>(d, hn::LoadU(d, values + i)), d,
               values + i);
  }
  if (i < count) {
    const auto part = static_cast<size_t>(count - i);
    StoreFirst(ActivateOne<kActivation>(d, LoadFirst(d, values + i, part)), d,
               values + i, part);
  }
}

// values[i] = act(values[i]).
HWY_INLINE void ActivateInPlace(Activation activation, float* values,
                                int64_t count) {
  switch (activation) {
    case Activation::kIdentity:
      return;
    case Activation::kRelu:
      return ActivateAll<Activation::kRelu>(values, count);
    case Activation::kGelu:
      return ActivateAll<Activation::kGelu>(values, count);
    case Activation::kGeluTanh:
      return ActivateAll<Activation::kGeluTanh>(values, count);
    case Activation::kSilu:
      return ActivateAll<Activation::kSilu>(values, count);
    case Activation::kTanh:
      return ActivateAll<Activation::kTanh>(values, count);
    case Activation::kSigmoid:
      return ActivateAll<Activation::kSigmoid>(values, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_ACTIVATION_INL_H_
