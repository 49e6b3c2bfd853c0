"""What the stage `factors` must compute at least, by hand: operations (an addition or a multiplication is one) by kind.

single: dense products in single precision, double: in double, sparse: products with sparse matrices, in double. Every product is counted
once, as if nothing had to be computed twice; whatever is neither is not counted (exponentials, eigenvalues of small matrices, reading).
"""

KRYLOV_BLOCK, TUCKER_POWER = 32, 3


def discriminant_flops(vocab, d_s, d_o, lags, positions):
    """D = lags d_s. single: class sums turned into the axes of C (2 V D²), products of contexts with all classes (2 n V D).
    double: half a Gram matrix of the class means (V D²), U (2 V D d_o). Not counted: the sparse products of the subspace and class sums
    (little beside this), the bias's quadratic forms, which a factor of C would give for V D²."""
    width = lags * d_s
    single = {"class sums turned": 2 * vocab * width**2, "held-out products": 2 * positions * vocab * width}
    double = {"half a Gram matrix": vocab * width**2, "U": 2 * vocab * width * d_o}
    return {"single": single, "double": double, "sparse": {}}


def krylov_directions(vocab, k):
    """3/2 k in whole blocks; 0: dense solver, which this does not count."""
    return 0 if vocab <= max(1024, 4 * k) else min(vocab, 3 * k // 2 + KRYLOV_BLOCK - 1) // KRYLOV_BLOCK * KRYLOV_BLOCK


def tucker_flops(vocab, d_s, d_o, lags, positions, entries):
    """entries: non-zeros of each lag. sparse: a direction of either basis takes three products with Σ w² X Xᵀ, of two sparse products a
    lag; cores M D U; class sums for C. single: held-out products of every lag (2 n V d_o). double, m directions for k vectors:
    orthogonalising twice against all before (4 V m²), half of Qᵀ(AQ) (V m²), the vectors (2 V m k); SᵀDS (half), SᵀD(MDU), U turned."""
    nnz, sizes = sum(entries[:lags]), {"S": d_s, "U": d_o}
    directions = {name: krylov_directions(vocab, k) for name, k in sizes.items()}
    sparse = {f"basis {name}": TUCKER_POWER * 2 * 2 * nnz * m for name, m in directions.items()}
    sparse |= {"cores": 2 * nnz * d_o, "class sums": 2 * sum(entries[: lags - 1]) * d_s}
    double = {f"basis {name}": 5 * vocab * m**2 + 2 * vocab * m * sizes[name] for name, m in directions.items()}
    double |= {"cores": vocab * d_s**2 + 2 * vocab * d_s * d_o * lags, "U turned": 2 * vocab * d_o**2}
    return {"single": {"held-out products": 2 * positions * vocab * d_o * lags}, "double": double, "sparse": sparse}


def flops_of(estimator, vocab, d_s, d_o, lags, positions, entries):
    """{kind: operations}."""
    if estimator == "discriminant":
        parts = discriminant_flops(vocab, d_s, d_o, lags, positions)
    else:
        parts = tucker_flops(vocab, d_s, d_o, lags, positions, entries)
    return {kind: sum(of_kind.values()) for kind, of_kind in parts.items()}


def limit_seconds(flops, rates):
    """All of it at the rates of a large GEMM, sparse products too. rates: flop/s, single and double."""
    return flops["single"] / rates["single"] + (flops["double"] + flops["sparse"]) / rates["double"]
