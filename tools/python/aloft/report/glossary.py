"""Terms of the reports of attention, each in a sentence, and where a page uses them first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Term:
    """phrases: how a page's text calls it; the first is its name."""

    phrases: tuple[str, ...]
    meaning: str

    @property
    def name(self) -> str:
        return self.phrases[0]

    @property
    def anchor(self) -> str:
        return "term-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in self.name.lower())


class Piece(NamedTuple):
    """Of a text: as it is, or (with a term) a link to what it means."""

    text: str
    term: Term | None


TERMS = (
    Term(("QK", "QᵀK"), "The product of a head's query and key weights, summed over heads for a layer: for two tokens, how much the later"
         " looks at the earlier."),
    Term(("OV",), "The product of a head's value and output weights: what is added for the token that is looked at."),
    Term(("antisymmetric", "asymmetric"), "Every matrix M is a symmetric part, (M + Mᵀ)/2, which does not tell “a before b” from “b before"
         " a”, and an antisymmetric one, (M − Mᵀ)/2, which is all that does."),
    Term(("bands",), "The corpus' directions (of the co-occurrence eigenbasis, from the strongest) cut into four groups: the first eighth"
         " of them, the next eighth, the next quarter and the last half. Weights that know nothing of the corpus have an eighth, an eighth,"
         " a quarter and a half of their energy there."),
    Term(("centred", "frequencies taken out"), "Without what follows from how often each token comes: of transitions, less their mean row."),
    Term(("co-occurrence eigenbasis", "eigenbasis of co-occurrence", "K₂'s eigenvectors"),
         "The eigenvectors of K₂ + K₂ᵀ: the directions of the embedding along which tokens go together most come first."),
    Term(("counts of neighbours", "counts"), "How often token b comes n places after token a, for all a and b."),
    Term(("transitions",), "Counts as shares: of all that comes n places after token a, how much is b. Every row adds up to 1."),
    Term(("EᵀE",), "The embedding's own geometry, without a corpus: the product of its columns with each other."),
    Term(("effective rank",), "As the participation ratio, with weak directions counting for more: the exponential of the entropy of the"
         " singular values."),
    Term(("family-wise p", "for all layers together"), "The p of a whole family of figures: how often, where there is nothing to be found,"
         " even the strongest of them all would be as far from its null. An effect is one below 0.01."),
    Term(("K₂", "K₃", "K2"), "The papers' names for counts, between two directions of the embedding instead of two tokens (Eᵀ J E): K₂ of"
         " neighbours, K₂ᵀ backward, K₃ of tokens two apart or of two steps of one."),
    Term(("matrix cosine",), "How alike two matrices are, number by number: 1 the same but for their size, 0 unrelated, −1 opposite."),
    Term(("spectral cosine", "cosine of spectra"), "The cosine of two matrices' sorted singular values: how alike the strengths of their"
         " directions are, whatever the directions. It is seldom small."),
    Term(("participation ratio", "participation ratios", "PR"), "Over how many directions a matrix spreads its energy: as many equal ones would be as"
         " concentrated."),
    Term(("singular values", "spectrum", "spectra", "Spectra"), "How strongly a matrix acts along each of its directions, from the"
         " strongest; their squares are its energy."),
    Term(("shuffled text",), "The corpus' tokens drawn in random order: what it gives is due to how often tokens come, and to chance."),
    Term(("subspace overlap", "overlap of the strongest 8 directions"), "How far the strongest eight directions of one matrix are those of"
         " another: 1 the same space, 8 of d for unrelated ones."),
    Term(("twins",), "Q and K of a layer whose sorted singular values are more alike (by their KL divergence, 0 where they are equal) than"
         " Q's and other layers' K's."),
)


def pieces(texts: Sequence[str], terms: Sequence[Term]) -> list[list[Piece]]:
    """The texts, one after the other, with the first use of every term apart."""
    left = list(terms)
    return [_split(text, left) for text in texts]


def _split(text: str, left: list[Term]) -> list[Piece]:
    """Takes from `left` the terms that it finds."""
    out = []
    while uses := [(span, term) for term in left if (span := _first(text, term))]:
        (start, end), term = min(uses, key=lambda use: use[0])
        out += [Piece(text[:start], None)] if start else []
        out.append(Piece(text[start:end], term))
        text = text[end:]
        left.remove(term)
    return [*out, Piece(text, None)] if text else out


def _first(text: str, term: Term) -> tuple[int, int] | None:
    """Where the text has it first, as whole words."""
    phrases = "|".join(re.escape(phrase) for phrase in sorted(term.phrases, key=len, reverse=True))
    found = re.search(rf"(?<![\w‖])(?:{phrases})(?![\wᵀ‖])", text)
    return found.span() if found else None


def used(texts: Sequence[str], terms: Sequence[Term] = TERMS) -> list[Term]:
    """Those of the terms that any of the texts has."""
    together = "\n".join(texts)
    return [term for term in terms if _first(together, term)]
