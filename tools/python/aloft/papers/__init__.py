"""`python -m aloft papers`: the two source papers, done again from a text.

    FOLDER/corpus/train.u16, held.u16, words.json   ids of the text, the vocabulary (trial/corpus.py)
    FOLDER/sgd/initial, sgd/trained                 the model of the papers' size before and after training; in each folder
                                                    model.safetensors (nanogpt-rope's names) and model.json (its sizes)
    FOLDER/crystallised/initial, .../trained        the same with the papers' embedding, frozen
    FOLDER/mobius/                                  where fewer ids have a row of it: the corpus with the others unknown
    FOLDER/inits/, counts.safetensors               what `aloft init` and `aloft count` wrote for it
    FOLDER/analysis/untrained, trained, crystallised   what `aloft analyze` wrote of them (analyses.py)
    FOLDER/analysis/untrained, trained              ... and what `python -m aloft attention` wrote of them (attended.py)
    FOLDER/results/STEP.json                        a finished step's numbers
    FOLDER/papers.json                              all of them, below
    FOLDER/papers.html, papers.md                   every table of both papers beside the run's own (page.py)

papers.json; losses are nats per token on the same held-out windows, a history is [[step, loss], ...]:

    settings      parameters, layers, heads, width, context, vocab, steps, batch (windows a step), tokens_a_step, peak (learning rate),
                  warmup, seed, validation_tokens, embedding_norm, embedding_rows, injection_steps,
                  injection_seeds, threads
    corpus        train_tokens, held_tokens, unknown (share of held-out tokens that are not in the vocabulary), unigram, bigram (losses
                  of the smoothed tables on the windows; trial/corpus.py)
    sgd           initial, final, history, weights_seed, seconds_a_step (of the process that ended it)
    crystallised  the same; embedding_rows (ids with a row of the papers' embedding; the others' are random), embedding_norm (of each row),
                  untrained: [[norm of the rows, loss before training on the first eight windows], ...]
    injection     steps, warmup, peak, runs: [{arm, seed, initial, final, history}, ...], arms: {arm: {initial, final: {mean, least, most},
                  lead_initial, lead_final: {mean, least, most} over random of the same seed (positive: better), percent}}
    analysis      {untrained, trained, crystallised: {first, second (checkpoints, as folders), seconds, files: {name: SHA-256},
                  program: {version, sha256 (of its file)}}}
    attention     {untrained, trained: {checkpoint, seconds, files, heads, windows, length, uniform, labels: {label: heads that have it},
                  most: {measure: {layer, head, value, null, p_family} of the head with the largest}, first_token (mean over heads)}}
"""
