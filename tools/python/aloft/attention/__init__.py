"""`python -m aloft attention`: what a checkpoint's heads look at when the model reads tokens (docs/analysis.md, "Attention on tokens").

    tokens.py         ids from a file or a text; windows of them; sequences that are repeated, and their nulls
    runner.py         what a model has to give: the attention of every layer for a sequence
    small_models.py   ... of a folder of `python -m aloft papers`
    hugging_face.py   ... of a Hugging Face folder, by the library transformers
    distances.py      one layer's attention -> how much goes how far back
    significance.py   p by exchanging signs, for all heads together
    measures.py       every head's figures beside their nulls, and its labels
    output.py         attention.json and its tables as CSV
    run.py            the command
"""
