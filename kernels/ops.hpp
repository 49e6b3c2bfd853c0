#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/device.hpp"
#include "host/footprint.hpp"
#include "host/gpu_info.hpp"
#include "host/token.hpp"
#include "kernels/matrix.hpp"
#include "kernels/softmax.hpp"
#include "kernels/sparse.hpp"

// The whole arithmetic contract. Backends implement it; nothing else may differ between them.
// All pointers are device memory. Calls are asynchronous on the device's queue unless they say otherwise; a
// call that returns an owner whose size depends on the data synchronises. Counts are exact: every backend,
// any thread count and any chunking give the same bits. Real results are deterministic for one backend (fixed
// summation order) and agree between backends to the tolerance stated with the operation, relative to the
// result's Frobenius norm.

namespace aloft {

struct TokenChunk {
  const TokenId* ids = nullptr;  ///< [n_from + halo], each < vocab or kDocumentBreak
  std::int64_t n_from = 0;       ///< positions this chunk owns
  std::int32_t halo = 0;  ///< look-ahead tokens borrowed from the next chunk (max_lag, less at the end)
};

/// Dense u32 counters for source ids [row_begin, row_begin + n_rows).
struct DenseCounts {
  std::uint32_t* data = nullptr;  ///< [max_lag][n_rows][vocab], row = token at k, column = token at k + lag
  std::int32_t max_lag = 0;
  std::int64_t vocab = 0;
  std::int64_t row_begin = 0;
  std::int64_t n_rows = 0;
};

/// ‖M‖² and ⟨M, Mᵀ⟩ of a sparse matrix: enough for its asymmetry, ‖M_A‖² = (‖M‖² − ⟨M,Mᵀ⟩)/2, M_A = (M −
/// Mᵀ)/2.
struct TransposeInner {
  double norm2 = 0;
  double inner = 0;
};

class CountOps {
 public:
  CountOps() = default;
  CountOps(const CountOps&) = delete;
  CountOps& operator=(const CountOps&) = delete;
  virtual ~CountOps() = default;

  /// unigram[i] += #{ k in [0, n_from) : ids[k] = i }; document breaks are not counted. unigram: [vocab].
  virtual void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab) = 0;

  /// out[k] = rank[ids[k]] for the chunk's n_from + halo tokens; a document break stays one. rank: a
  /// permutation of [0, vocab), the most frequent id first, so that the counters in use lie together; out:
  /// [n_from + halo], not the chunk's own ids. Undone by compact().
  virtual void remap(TokenChunk chunk, const TokenId* rank, TokenId* out) = 0;

  /// counts[l-1][i][j] += #{ k in [0, n_from) : ids[k] = i, ids[k+l] = j, no break between }, l = 1..max_lag.
  /// @pre fewer than 2^32 positions counted since the counters were zero
  virtual void count_pairs_dense(TokenChunk chunk, DenseCounts counts) = 0;
  /// How count_pairs_dense will count a whole table of this shape, and why: one clause for the plan's text.
  [[nodiscard]] virtual std::string dense_kernel(std::int64_t vocab, std::int32_t max_lag) const = 0;

  /// The non-zero counters of one lag (1-based) as a vocab x vocab matrix. rank null: table row and column i
  /// belong to id i, rows outside the stripe [row_begin, row_begin + n_rows) are empty. rank [vocab], as
  /// given to remap(): pair (i, j) is in cell (rank[i], rank[j]), rows with rank[i] outside the stripe are
  /// empty. Synchronises.
  [[nodiscard]] virtual CountCsr compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) = 0;

  /// The same counts as count_pairs_dense for this chunk alone, without a table: one CSR per lag, lag 1
  /// first. Synchronises.
  [[nodiscard]] virtual std::vector<CountCsr> count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                                                 std::int32_t max_lag) = 0;
  /// Upper bound, in bytes, of what count_pairs_sparse allocates for a chunk of n tokens: its workspace and
  /// the CSRs it returns (every pair distinct); the chunk itself comes on top.
  [[nodiscard]] virtual std::uint64_t sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                             std::int32_t max_lag) const = 0;

  /// a + b; same shape. Synchronises.
  [[nodiscard]] virtual CountCsr add(CountCsrView a, CountCsrView b) = 0;
  /// a − b without the entries that become 0; same shape. Exact; synchronises. Takes b.nnz + 1 numbers of 64
  /// bits besides the result. Throws InputError where b has an entry that a lacks, or a larger one.
  [[nodiscard]] virtual CountCsr subtract(CountCsrView a, CountCsrView b) = 0;
  /// The sum of all values: pairs. Exact; synchronises.
  [[nodiscard]] virtual std::uint64_t total(CountCsrView a) = 0;
};

enum class Op { none, transpose };

/// Index i, of which the sign is flipped or not, as permute() takes it: i, or −1 − i.
[[nodiscard]] constexpr std::int32_t signed_index(std::int64_t i, bool flipped) {
  return static_cast<std::int32_t>(flipped ? -1 - i : i);
}

class LinearOps {
 public:
  LinearOps() = default;
  LinearOps(const LinearOps&) = delete;
  LinearOps& operator=(const LinearOps&) = delete;
  virtual ~LinearOps() = default;

  // ---- sparse
  // ---------------------------------------------------------------------------------------------------

  [[nodiscard]] virtual CountCsr transpose(CountCsrView a) = 0;  ///< exact; synchronises
  [[nodiscard]] virtual RealCsr transpose(RealCsrView a) = 0;
  /// The same matrix with real values, entry (i,j) = a_ij · row_scale[i] (row_scale [rows] or null = 1).
  /// Synchronises.
  [[nodiscard]] virtual RealCsr to_real(CountCsrView a, const double* row_scale) = 0;
  /// Σ_j a_ij per row and Σ_i a_ij per column, exact. row_sums: [rows], column_sums: [cols]; either may be
  /// null.
  virtual void marginals(CountCsrView a, std::uint64_t* row_sums, std::uint64_t* column_sums) = 0;
  /// max(0, log(a_ij · a.. / (a_i. · a.j))), entries that are 0 dropped. Synchronises. Tolerance 1e-14.
  [[nodiscard]] virtual RealCsr positive_pmi(CountCsrView a) = 0;
  /// log(1 + a_ij · column_scale[j]) on the stored entries. column_scale: [cols], >= 0. Synchronises.
  /// Tolerance 1e-14.
  [[nodiscard]] virtual RealCsr log1p_scaled(CountCsrView a, const double* column_scale) = 0;
  /// y = a·x. x: [cols, k], y: [rows, k]; either may be a block. Tolerance 1e-13.
  virtual void spmm(RealCsrView a, ConstMatrixView x, MatrixView y) = 0;
  /// The same matrix, every value rounded to the nearest float.
  [[nodiscard]] virtual FloatCsr round(RealCsrView a) = 0;
  /// y = a·x in single precision. Tolerance 1e-6 ‖a‖‖x‖.
  virtual void spmm(FloatCsrView a, ConstFloatView x, FloatView y) = 0;
  /// Synchronises. Tolerance 1e-12.
  [[nodiscard]] virtual TransposeInner transpose_inner(RealCsrView a) = 0;
  /// a with every entry weighted by attention: a_ij · mean over heads of softmax over the stored columns j of
  /// row i of scale · q_ih·k_jh, q_ih [k/heads] the part of head h in row i of queries. queries: [rows, k],
  /// keys: [cols, k], heads a divisor of k. Tolerance 1e-13.
  [[nodiscard]] virtual RealCsr attention_weighted(RealCsrView a, ConstMatrixView queries,
                                                   ConstMatrixView keys, std::int64_t heads,
                                                   double scale) = 0;

  // ---- dense, row-major; batches are independent. A view may be a block of a larger matrix (ld > cols):
  // nothing beside it is read or written, and results have the bits that contiguous copies would give (of
  // gemm only on the CPU: a GPU's library may choose its way by ld). What cannot says @pre contiguous, and
  // throws Error.
  // -------------------------------------------------------------------

  /// c = alpha·op(a)·op(b) + beta·c for every batch item (a or b of batch 1 is shared). Tolerance 1e-13.
  virtual void gemm(double alpha, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b, double beta,
                    MatrixView c) = 0;
  /// The same in single precision: for what only chooses. Tolerance 1e-6 ‖op(a)‖‖op(b)‖ (and β‖c‖).
  virtual void gemm(float alpha, Op op_a, ConstFloatView a, Op op_b, ConstFloatView b, float beta,
                    FloatView c) = 0;
  /// out = x, every number rounded to the nearest float; the same shape.
  virtual void round(ConstMatrixView x, FloatView out) = 0;
  /// out = x, exactly; the same shape.
  virtual void widen(ConstFloatView x, MatrixView out) = 0;
  /// out[i] = the entry of row i that is largest in magnitude, the first of equals; 0 in a row without
  /// entries. x of batch 1; out: [rows]. Exact.
  virtual void row_extremes(ConstMatrixView x, double* out) = 0;
  /// out[i] = Σ_j x_ij² column_weights[j], summed in double. x of batch 1; out: [rows]. Tolerance 1e-13.
  virtual void row_norms(ConstMatrixView x, const double* column_weights, double* out) = 0;
  virtual void row_norms(ConstFloatView x, const double* column_weights, double* out) = 0;
  /// Of every model at every position k, with P as kernels/softmax.hpp has it: −log P(next_k | k), then by t
  /// ∂ log P / ∂weights_t, then by t and u ≤ t −∂² log P / ∂weights_t ∂weights_u.
  /// out: [models.count][positions][softmax_moment_count(terms)]. No matrix [positions, classes] is ever
  /// held, only tiles of it. Products and exponentials in single precision, long sums in double: tolerance of
  /// the n-th derivatives 2e-6 (1 + l) gⁿ, g the position's largest |scale_j| ‖contexts_t,k‖ ‖classes_j‖ +
  /// |shift_j| (a feature's size), l its largest |base_j| + Σ_t |weights_t| times that of j (a logit's).
  virtual void softmax_moments(const SoftmaxEvidence& evidence, const SoftmaxModels& models, double* out) = 0;
  /// x[i][j] *= row_scale[i] · column_scale[j] (either null = 1); same scales for every batch item.
  virtual void scale(MatrixView x, const double* row_scale, const double* column_scale) = 0;
  virtual void scale(FloatView x, const double* row_scale, const double* column_scale) = 0;
  /// out = xᵀ for every batch item; out is not x. Exact.
  virtual void transpose(ConstMatrixView x, MatrixView out) = 0;
  /// out = (x − xᵀ)/2 for every batch item [n, n]; out is not x. Exactly antisymmetric, and exact but for one
  /// rounding.
  virtual void skew_part(ConstMatrixView x, MatrixView out) = 0;
  /// out_ij = ± x_{rows[i], columns[j]} for every batch item: rows and columns exchanged and their signs
  /// flipped, an orthogonal change of coordinates. rows: [out.rows] of signed_index(), columns: [out.cols];
  /// either null = as they are. out is not x. Exact.
  virtual void permute(ConstMatrixView x, const std::int32_t* rows, const std::int32_t* columns,
                       MatrixView out) = 0;
  /// y += alpha·x; the same shape.
  virtual void add_scaled(double alpha, ConstMatrixView x, MatrixView y) = 0;
  virtual void add_scaled(float alpha, ConstFloatView x, FloatView y) = 0;
  /// out[b] = ⟨x_b, y_b⟩ = Σ_ij x_ij y_ij of every batch item; out: [batch]. Tolerance 1e-13 ‖x‖‖y‖.
  virtual void inner(ConstMatrixView x, ConstMatrixView y, double* out) = 0;
  /// Replaces y [m, k], m >= k, by an orthonormal basis of its columns' span (Householder QR, diag(R) >= 0
  /// made so by signs). Rank-deficient columns become arbitrary orthonormal directions. ‖YᵀY − I‖ <= 1e-13·k.
  /// Throws NumericError unless every entry is finite. @pre contiguous
  virtual void orthonormalize(MatrixView y) = 0;
  /// a = v·diag(values)·vᵀ per batch item, a [n, n] symmetric (only the lower triangle is read), values
  /// ascending, vectors as columns of v, which may be a. values: [batch, n], v: [n, n]. Tolerance 1e-12.
  /// Throws NumericError without convergence, or for a number that is not finite; so do svd and
  /// skew_spectrum. @pre contiguous, all of them
  virtual void eigh(ConstMatrixView a, double* values, MatrixView v) = 0;
  /// Of the same matrices all values, but vectors of the k largest alone, as rows of top [k, n] by *rising*
  /// value: the last belongs to the largest. top.data null: values only. Several times as fast as eigh where
  /// k is small. Tolerance 1e-12 of the largest |value|; so is ‖top·topᵀ − I‖. @pre contiguous
  virtual void eigh_top(ConstMatrixView a, double* values, MatrixView top) = 0;
  /// a = u·diag(sigma)·vt per batch item, thin: a [m, n], k = min(m,n), u [m, k], sigma [batch, k]
  /// descending, vt [k, n]. u and vt may have data = null: values only. Tolerance 1e-12 σ₁. @pre contiguous
  virtual void svd(ConstMatrixView a, MatrixView u, double* sigma, MatrixView vt) = 0;
  /// The spectrum of real antisymmetric a [n, n] as its invariant planes, m = n/2 (floor):
  ///   a = Σ_k sigma_k (l_k r_kᵀ − r_k l_kᵀ),  l, r rows of left and right [m, n], all 2m rows orthonormal,
  /// sigma [batch, m] descending; each stands for two equal singular values (odd n: one more, exactly 0).
  /// Only the strict lower triangle of a is read. left and right may have data = null. Tolerance 1e-12 σ₁.
  /// @pre contiguous
  virtual void skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) = 0;
  /// The eigenvalues of general real a [n, n], as (re, im) pairs in any order: those of some a + e, ‖e‖ <=
  /// 1e-12 ‖a‖. values: [batch, n, 2]. Throws NumericError as svd does. Synchronises. @pre contiguous
  virtual void eigenvalues(ConstMatrixView a, double* values) = 0;
  /// Real part of ifft2(fft2(a) ∘ fft2(circ(k0))), a [n, n], k0 [n], circ(k0)[i][j] = k0[(j − i) mod n]; out
  /// [n, n]. Computed by 2-D FFTs. Tolerance 1e-12. @pre contiguous
  virtual void convolve_circulant(ConstMatrixView a, const double* k0, MatrixView out) = 0;
  /// Standard normal numbers × stddev: element i of the stream (seed, stream) is the same on every backend to
  /// 1e-14 and does not depend on how many are asked for (Philox 4x32-10, Box-Muller). Elements are counted
  /// row by row, item by item.
  virtual void fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) = 0;

  // ---- what calls take for as long as they run, beside arguments and result: upper bounds
  // -------------------------------------------------------------------

  /// transpose, to_real and positive_pmi of a sparse matrix.
  [[nodiscard]] virtual Footprint sparse_scratch(std::int64_t cols, std::int64_t nnz) const = 0;
  [[nodiscard]] virtual Footprint spmm_scratch(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                                               std::int64_t k) const = 0;
  [[nodiscard]] virtual Footprint softmax_scratch(std::int64_t positions, std::int64_t classes,
                                                  std::int64_t terms, std::int64_t models) const = 0;
  [[nodiscard]] virtual Footprint orthonormalize_scratch(std::int64_t m, std::int64_t k,
                                                         std::int64_t batch) const = 0;
  [[nodiscard]] virtual Footprint eigh_scratch(std::int64_t n, std::int64_t batch) const = 0;
  [[nodiscard]] virtual Footprint eigh_top_scratch(std::int64_t n, std::int64_t batch) const = 0;
  [[nodiscard]] virtual Footprint svd_scratch(std::int64_t m, std::int64_t n, std::int64_t batch,
                                              bool vectors) const = 0;
  [[nodiscard]] virtual Footprint skew_spectrum_scratch(std::int64_t n, std::int64_t batch) const = 0;
  [[nodiscard]] virtual Footprint eigenvalues_scratch(std::int64_t n, std::int64_t batch) const = 0;
};

/// A device with what it can do.
struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<CountOps> count;
  std::unique_ptr<LinearOps> linear;
  std::string note;  ///< what the user should know of how it was chosen; mostly ""
};

struct BackendInfo {
  std::string name;  ///< "cpu", "cuda"
  bool compiled = false;
  bool usable = false;
  std::string detail;         ///< processor and BLAS; GPU, driver and runtime; or why it is not usable
  std::vector<GpuInfo> gpus;  ///< cuda: those that this process sees
};

[[nodiscard]] std::vector<BackendInfo> backends();            ///< every one this source knows
[[nodiscard]] std::vector<std::string> available_backends();  ///< compiled in and usable now
/// Bytes free on a GPU, which this starts; nothing where that fails.
[[nodiscard]] std::optional<std::uint64_t> gpu_free_memory(int index);

/// A report of a run on a GPU with "clean": true lies in profiles/gpu/ (tests/backends_test.cpp compares).
inline constexpr bool kMeasuredOnGpu = true;
/// What "auto" is where the CUDA backend is as `cuda` says: "cuda" when it is usable and has been measured,
/// otherwise "cpu"; and, where there is a GPU that it leaves alone, a line that says so and how to ask for
/// it.
struct AutoChoice {
  std::string_view name;
  std::string note;
};
[[nodiscard]] AutoChoice choose_backend(const BackendInfo& cuda, bool measured = kMeasuredOnGpu);

/// name: "auto", "cpu" or "cuda". Throws UsageError if it is not compiled in or finds no device.
/// threads: CPU worker threads, 0 = all processors this process may use.
/// gpu: which one, as choose_gpu() takes it. Naming one asks for "cuda" when name is "auto"; UsageError with
/// "cpu".
[[nodiscard]] Backend make_backend(std::string_view name, int threads = 0, std::string_view gpu = {});

}  // namespace aloft
