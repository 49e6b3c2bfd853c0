"""The program's counts of a text are those of the ids that the sentencepiece package gives to it as one document."""

import io
import random
import subprocess

import numpy as np
import pytest
from conftest import PROGRAM, ROOT

sentencepiece = pytest.importorskip("sentencepiece")
safetensors = pytest.importorskip("safetensors.numpy")

LAGS = 3
ODD = "  \u3000cafe\u0301 ﬁ Ⅷ ㌀\u00a0\u00a0x\u200b\u200by ▁literal▁▁ 😀👩\u200d👧 <sep>a<sep> <sep>\r\n\n\n\t\ttab in the  end ﷺ\n   "


def documents():
    """Files of this repository and what they lack; for a bpe model many times what is encoded at once."""
    rng = random.Random(3)
    prose = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "docs/science.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "host").glob("t*.cpp")))
    chinese = "".join(rng.choice("的一是不了人我在有他这为之大来以个中上们，。\n") for _ in range(4000))
    letters = "".join(rng.choice("abcdefghijklmnop+/0123") for _ in range(8000))
    return {"mixed": prose[:20000] + ODD + code[:20000] + chinese + letters, "odd": ODD * 40}


KEEP = {"remove_extra_whitespaces": False}
LLAMA = {"byte_fallback": True, "normalization_rule_name": "identity", "allow_whitespace_only_pieces": True, "split_digits": True, **KEEP}
SYMBOLS = {"user_defined_symbols": ["<sep>", "the", "▁▁", "▁▁▁▁", "\n", "\n\n"], "byte_fallback": True, **KEEP}
SETTINGS = {
    "usual": {},
    "llama": LLAMA,
    "no prefix": {"add_dummy_prefix": False},
    "no prefix, spaces kept": {"add_dummy_prefix": False, **KEEP},
    "symbols": SYMBOLS,
    "across words": {"split_by_whitespace": False},
    "suffix": {"treat_whitespace_as_suffix": True},
    "lower case": {"normalization_rule_name": "nmt_nfkc_cf", **KEEP},
}


@pytest.fixture(scope="module")
def texts():
    return documents()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("name", SETTINGS)
def test_counts_are_those_of_the_whole_document(tmp_path, texts, kind, name):
    written = io.BytesIO()
    lines = [line for text in texts.values() for line in text.split("\n")[::4] if line]
    settings = {"vocab_size": 500, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2, **SETTINGS[name]}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=written, model_type=kind, **settings)
    (tmp_path / "m.model").write_bytes(written.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    for title, text in texts.items():
        (tmp_path / "t.txt").write_bytes(text.encode())
        command = [PROGRAM, "count", "--corpus", "t.txt", "--tokenizer", "m.model", "--lags", str(LAGS), "--output", "c.safetensors"]
        subprocess.run([*command, "--force", "--quiet"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        counts = safetensors.load_file(tmp_path / "c.safetensors")
        ids = np.array(model.encode(text))
        assert len(text.encode()) < 100_000, "a unigram model's sums of scores round alike in what is encoded at once"
        np.testing.assert_array_equal(counts["unigram"], np.bincount(ids, minlength=model.get_piece_size()), err_msg=title)
        for lag in range(1, LAGS + 1):
            dense = np.zeros((model.get_piece_size(),) * 2, np.uint64)
            np.add.at(dense, (ids[:-lag], ids[lag:]), 1)
            rows, columns = np.nonzero(dense)
            offsets = np.searchsorted(rows, np.arange(len(dense) + 1))
            np.testing.assert_array_equal(counts[f"lag{lag}.row_offsets"], offsets, err_msg=title)
            np.testing.assert_array_equal(counts[f"lag{lag}.columns"], columns, err_msg=title)
            np.testing.assert_array_equal(counts[f"lag{lag}.counts"], dense[rows, columns], err_msg=title)
