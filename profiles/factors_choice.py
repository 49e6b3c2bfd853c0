"""The scalars of the recipe `offset` chosen on held-out text by aloft's own search (pipeline/offset/choose_*.cpp, weight_fit.cpp), in
NumPy: walks over ladders of κ and λ, Newton's steps for α or the lags' weights, in single precision. Then the factors.
"""
import time

import numpy as np

from factors_counts import in_parallel, positions, without_slice
from factors_numpy import DiscriminantBasis, LogRatios, discriminant_source, fit_discriminant, fit_tucker, tucker_bases, tucker_cores

ALPHA, KAPPA, RIDGE, TUCKER_KAPPA = 0.5, 30.0, 1.0, 200.0  # where nothing is held out
KAPPAS, RIDGES, TUCKER_KAPPAS = (-2, 10), (-4, 8), (-3, 8)  # lowest and highest steps
FIRST_KAPPA, FIRST_RIDGE, FIRST_TUCKER = 3, 0, 1
AROUND = 2
SCREENING_PRODUCTS, FEWEST, MOST = 2**32, 512, 8192
ROUGH, FINE, PASSES, DAMPING = 5e-3, 1e-6, 60, 1e-6
KEPT, AT_ONCE, IN_CACHE = 4 << 30, 512 << 20, 1 << 17  # bytes of products kept between passes, made at once; classes in one piece


def half_decades(step):
    decade, digit = step // 2, 3.0 if step % 2 else 1.0
    return digit / 10.0**-decade if decade < 0 else digit * 10.0**decade


def hundred_doubled(step):
    return 100 * 2.0**step


def walk_down(ends, start, loss):
    """The step of least loss, from `start` to where both neighbours are worse."""
    known, best = {}, start

    def at(step):
        if step not in known:
            known[step] = loss(step)
        return known[step]

    while True:
        following = best
        for step in (best + 1, best - 1):
            if ends[0] <= step <= ends[1] and at(step) < at(following):
                following = step
        if following == best:
            return best
        best = following


class Evidence:
    """P(j | k) ∝ exp(base_j + Σ_t w_t (scale_j F_tkj − shift_j)), F_t = contexts[t] classesᵀ. Products are kept where they fit."""

    def __init__(self, contexts, classes, following, base):
        self.contexts, self.classes, self.next, self.base = contexts, classes, following, base.astype(np.float32)
        row = 4 * len(contexts) * len(classes)
        self.rows = max(1, AT_ONCE // row)
        self.kept = {} if row * len(following) <= KEPT else None

    def products(self, first):
        if self.kept is not None and first in self.kept:
            return self.kept[first]
        out = np.stack([c[first : first + self.rows] @ self.classes.T for c in self.contexts], 1)  # [rows, terms, V]
        if self.kept is not None:
            self.kept[first] = out
        return out

    def moments(self, models):
        """models: (scale, shift, weights) each, scale and shift [V] or None. For each: loss, gradient [terms], −Hessian."""
        terms, pieces = len(self.contexts), []
        step = max(1, IN_CACHE // len(self.classes))
        for first in range(0, len(self.next), self.rows):
            f = self.products(first)
            places = [(f[a : a + step], self.next[first + a : first + min(a + step, len(f))]) for a in range(0, len(f), step)]
            pieces += in_parallel(lambda place: [self.of(*place, *model) for model in models], places)
        total = np.sum(pieces, axis=0) / len(self.next)
        return [(row[0], row[1 : 1 + terms], row[1 + terms :].reshape(terms, terms)) for row in total]

    def of(self, f, following, scale, shift, weights):
        """Sums over a few positions."""
        if scale is not None:
            f = f * scale
            f -= shift
        else:
            f = f.copy()
        z = self.base + f[:, 0] * np.float32(weights[0])
        for t in range(1, f.shape[1]):
            z += f[:, t] * np.float32(weights[t])
        rows = np.arange(len(f))
        hit, own = f[rows, :, following].astype(float), z[rows, following].astype(float)
        top = z.max(1, keepdims=True)
        z -= top
        np.exp(z, out=z)
        total = z.sum(1)
        mean = np.einsum("rtv,rv->rt", f, z) / total[:, None]
        f -= mean[:, :, None]
        if f.shape[1] == 1:
            f *= f
            second = np.einsum("rtv,rv->rt", f, z) / total[:, None]
        else:
            second = np.einsum("rtv,ruv->rtu", f * z[:, None], f) / total[:, None, None]
        loss = np.log(total.astype(float)) + top[:, 0] - own
        return np.concatenate([[loss.sum()], (hit - mean).sum(0), second.sum(0, dtype=float).ravel()])


def newton(gradient, hessian):
    n = len(gradient)
    return np.linalg.solve(hessian + (DAMPING * np.trace(hessian) / n + 1e-300) * np.eye(n), gradient)


class Climber:
    """A model on its way to its best weights: damped Newton; a step that promises less than `tolerance` is taken unseen."""

    def __init__(self, weights, tolerance):
        self.weights, self.tolerance, self.step, self.length, self.done = np.array(weights, float), tolerance, None, 1.0, False

    def take(self, loss, gradient, hessian):
        if self.step is not None and not loss < self.loss:
            self.length /= 2
            self.done = self.length <= 1e-3
            return
        if self.step is not None:
            self.weights = self.trial()
        self.loss, self.step, self.length = loss, newton(gradient, hessian), 1.0
        gain = gradient @ self.step / 2
        if gain < self.tolerance:
            self.weights, self.loss, self.done = self.trial(), loss - max(gain, 0.0), True

    def trial(self):
        return self.weights if self.step is None else self.weights + self.length * self.step


def fit_weights(evidence, models, start, tolerance):
    """models: (scale, shift) each. [(weights, loss)]."""
    climbers = [Climber(w, tolerance) for w in start]
    for _ in range(PASSES + 1):
        open_ = [m for m, c in enumerate(climbers) if not c.done]
        if not open_:
            break
        found = evidence.moments([(*models[m], climbers[m].trial()) for m in open_])
        for m, moments in zip(open_, found):
            climbers[m].take(*moments)
    return [(c.weights, c.loss) for c in climbers]


def screening(at, vocab, width):
    """Few of the positions, and the tolerance of a search on them."""
    few = at.some(int(np.clip(SCREENING_PRODUCTS // (vocab * width), FEWEST, MOST)))
    return few, (ROUGH if len(few) < len(at) else FINE)


def final_tolerance(terms, few, at):
    return 4 * terms / len(few) if len(few) < len(at) else FINE


class DiscriminantSearch:
    """All κ and α of a λ from one product of contexts and class sums in the axes of C."""

    def __init__(self, counts, source, given):
        self.basis = DiscriminantBasis(counts, source, np.float32)
        self.axes = self.basis.axes.astype(np.float32)
        self.sums = self.basis.sums @ self.axes
        self.basis.sums = None
        self.unigram, self.log_p, self.given = counts.unigram, np.log(counts.p), given
        self.kappa_step, self.alphas = FIRST_KAPPA, {}

    def contexts(self, at):
        return self.basis.source.astype(np.float32)[at.context].reshape(len(at), -1) @ self.axes

    def alpha_near(self, ridge, step):
        if not self.alphas:
            return ALPHA
        distance = lambda point: abs(np.log(ridge / point[0])) + 0.1 * abs(point[1] - step)
        nearest = min(self.alphas, key=distance)
        return self.alphas[nearest] * np.cbrt(ridge / nearest[0])

    def at_ridge(self, contexts, following, ridge, around, tolerance):
        """(kappa, alpha, loss) of the best κ."""
        inverse = self.basis.inverse(ridge).astype(np.float32)
        own = np.einsum("ij,ij,j->i", self.sums, self.sums, inverse, optimize=False).astype(float)
        evidence = Evidence([contexts * inverse], self.sums, following, self.log_p)
        while True:
            low, high = max(KAPPAS[0], self.kappa_step - around), min(KAPPAS[1], self.kappa_step + around)
            steps = [self.kappa_step] if self.given.get("kappa") else list(range(low, high + 1))
            kappas = [self.given.get("kappa") or half_decades(step) for step in steps]
            models = []
            for kappa in kappas:
                scale = 1 / (self.unigram + 0.5 + kappa)
                models.append((scale.astype(np.float32), (scale**2 * own / 2).astype(np.float32)))
            if self.given.get("alpha"):
                weights = np.array([self.given["alpha"]])
                fits = [(weights, moments[0]) for moments in evidence.moments([(*m, weights) for m in models])]
            else:
                fits = fit_weights(evidence, models, [[self.alpha_near(ridge, step)] for step in steps], tolerance)
            for step, fit in zip(steps, fits):
                self.alphas[ridge, step] = float(fit[0][0])
            best = min(range(len(fits)), key=lambda m: fits[m][1])
            self.kappa_step = steps[best]
            if len(steps) == 1 or 0 < best < len(steps) - 1 or self.kappa_step in KAPPAS:
                return kappas[best], float(fits[best][0][0]), float(fits[best][1])


def choose_discriminant(counts, source, at, given):
    """alpha, kappa, ridge and loss."""
    search = DiscriminantSearch(counts, source, given)
    few, tolerance = screening(at, counts.vocab, source.shape[1] * len(counts.lags))
    contexts, seen = search.contexts(few), {}

    def loss(step):
        ridge = given.get("ridge") or half_decades(step)
        found = search.at_ridge(contexts, few.next, ridge, AROUND, tolerance)
        seen[step] = (ridge, found, search.kappa_step)
        return found[2]

    if given.get("ridge"):
        best = FIRST_RIDGE
        loss(best)
    else:
        best = walk_down(RIDGES, FIRST_RIDGE, loss)
    ridge, found, search.kappa_step = seen[best]
    if len(few) < len(at):
        found = search.at_ridge(search.contexts(at), at.next, ridge, 1, final_tolerance(1, few, at))
    return {"alpha": found[1], "kappa": found[0], "ridge": ridge, "loss": found[2]}


def default_weights(lags):
    return np.array(([0.8, 0.4] + [0.2] * lags)[:lags])


class TuckerSearch:
    def __init__(self, counts, at, d_s, d_o):
        self.counts, self.at, self.d_s, self.d_o = counts, at, d_s, d_o
        self.log_p = np.log(counts.p)

    def fit(self, ratios, bases, at, start, tolerance):
        """(weights, loss) of the lags."""
        source, target = bases
        cores = tucker_cores(ratios, source, target)
        contexts = [(source[at.context[:, lag]] @ core).astype(np.float32) for lag, core in enumerate(cores)]
        evidence = Evidence(contexts, target.astype(np.float32), at.next, self.log_p)
        return fit_weights(evidence, [(None, None)], [start], tolerance)[0]

    def own(self, kappa, start, few, tolerance):
        """With bases of its own: kappa, bases, weights, loss."""
        ratios = LogRatios(self.counts, kappa)
        bases = tucker_bases(ratios, self.d_s, self.d_o)
        return (kappa, bases, *self.fit(ratios, bases, few, start, tolerance))

    def walk(self, few, tolerance, say):
        start, best = FIRST_TUCKER, self.own(hundred_doubled(FIRST_TUCKER), default_weights(len(self.counts.lags)), few, tolerance)
        seen = {start}
        while True:
            say(f"kappa {best[0]:g} with bases of its own: {best[3]:.4f} nats")
            weights = [best[2]]

            def loss(step, start=start, best=best, weights=weights):
                if step == start:
                    return best[3]
                ratios = LogRatios(self.counts, hundred_doubled(step), transposed=False)
                weights[0], found = self.fit(ratios, best[1], few, weights[0], tolerance)
                return found

            to, moved = walk_down(TUCKER_KAPPAS, start, loss), False
            for step in (to, start + (1 if to > start else -1)):
                if to == start or step in seen:
                    continue
                seen.add(step)
                there = self.own(hundred_doubled(step), best[2], few, tolerance)
                if there[3] < best[3]:
                    best, start, moved = there, step, True
                    break
            if not moved:
                return best


def choose_tucker(counts, at, d_s, d_o, given, say):
    """kappa, lag_weights and loss, and the bases they were chosen with."""
    few, tolerance = screening(at, counts.vocab, d_o * len(counts.lags))
    search = TuckerSearch(counts, at, d_s, d_o)
    if given.get("kappa"):
        best = search.own(given["kappa"], default_weights(len(counts.lags)), few, tolerance)
    else:
        best = search.walk(few, tolerance, say)
    ratios = LogRatios(counts, best[0], transposed=False)
    weights, loss = search.fit(ratios, best[1], at, best[2], final_tolerance(len(counts.lags), few, at))
    return {"kappa": best[0], "lag_weights": weights.tolist(), "loss": float(loss)}, best[1]


def orthonormal_under(p, target):
    """A basis of the same span with UᵀDU = 1."""
    root = np.sqrt(p)[:, None]
    return np.linalg.qr(target * root)[0] / root


def factors(counts, estimator, d_s, d_o, given=None, say=lambda text: None):
    """The whole job: (fit, scalars, seconds by part). Subspaces come from the counts without the slice, where there is one, and serve
    the fit on all counts too. given: scalars that are not to be chosen."""
    given, times, start = given or {}, {}, time.perf_counter()

    def done(part):
        nonlocal start
        times[part] = times.get(part, 0) + time.perf_counter() - start
        start = time.perf_counter()
        say(f"{part} {times[part]:.1f} s")

    at = positions(counts, len(counts.lags))
    held = len(at) > 0
    without = without_slice(counts) if held else counts
    done("slice")
    if estimator == "discriminant":
        source = discriminant_source(without, d_s)
        done("subspaces")
        defaults = {"alpha": ALPHA, "kappa": KAPPA, "ridge": RIDGE}
        scalars = choose_discriminant(without, source, at, given) if held else {**defaults, **given}
        done("choice")
        fit = fit_discriminant(counts, source, d_o, scalars["alpha"], scalars["kappa"], scalars["ridge"])
    else:
        if held:
            scalars, (source, target) = choose_tucker(without, at, d_s, d_o, given, say)
        else:
            scalars = {"kappa": given.get("kappa") or TUCKER_KAPPA, "lag_weights": default_weights(len(counts.lags)).tolist()}
            source, target = tucker_bases(LogRatios(counts, scalars["kappa"]), d_s, d_o)
        done("choice")
        fit = fit_tucker(counts, source, orthonormal_under(counts.p, target), scalars["kappa"], scalars["lag_weights"])
    done("fit")
    return fit, scalars, times
