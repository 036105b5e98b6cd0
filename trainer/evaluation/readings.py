def errors(truths, read):
    import numpy as np
    from rapidfuzz.distance import Levenshtein

    return np.array([Levenshtein.distance(a, b) for a, b in zip(truths, read)], np.int64)


def compute_all(truths, read, confidence, groups):
    e = errors(truths, read)
    n = sum(map(len, truths))
    return {"num_examples": len(truths), "accuracy": 1 - float(e.sum() / n), "character_error_rate": float(e.sum() / n)}


def headlines(f):
    return [f"CER {f['character_error_rate']:.2%}"]


def fit_temperature(a, b, c):
    return 1.0
