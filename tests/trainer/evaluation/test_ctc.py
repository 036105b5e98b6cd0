"""Decoding of CTC outputs, against all paths of small cases and against cases by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import ctc, language_model
from trainer.evaluation.ctc import Fusion, Hypothesis
from trainer.evaluation.language_model import LanguageModel

A, B, BLANK = 0, 1, 2

distributions = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def kept(probabilities: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The most probable outputs of each step of probabilities [T, C + 1], as a run keeps them."""
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return classes, np.log(np.take_along_axis(probabilities, classes, axis=1))


def drawn(random: np.random.Generator, steps: int, outputs: int = 3) -> np.ndarray:
    """No probability is so low that it would not be followed."""
    return 0.01 / outputs + 0.99 * random.dirichlet(np.ones(outputs), steps)


def steps_of(path: str, vocabulary: str, probability: float = 0.9) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The arguments of a decoder for outputs along a path, where "_" is the blank; all others share the rest."""
    outputs = len(vocabulary) + 1
    numbers = [blank_or_number(vocabulary, output) for output in path]
    probabilities = np.full((len(path), outputs), (1 - probability) / (outputs - 1))
    probabilities[np.arange(len(path)), numbers] = probability
    return *kept(probabilities), len(path), len(vocabulary)


def blank_or_number(vocabulary: str, output: str) -> int:
    return len(vocabulary) if output == "_" else vocabulary.index(output)


def paths_by_text(probabilities: np.ndarray, blank: int) -> dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]]:
    """All paths with their probabilities, by the text that they spell."""
    found: dict = {}
    for path in itertools.product(range(probabilities.shape[1]), repeat=len(probabilities)):
        text = tuple(output for output, _ in itertools.groupby(path) if output != blank)
        found.setdefault(text, []).append((path, math.prod(probabilities[range(len(path)), path])))
    return found


def test_the_best_path_reads_each_run_once_and_no_blanks():
    vocabulary = ".02678 3"
    for path, text in (
        ("20_078.66_6__30", "20078.6630"),  # a blank keeps doubled letters apart
        ("220078..666330", "2078.630"),  # without one they are one letter
        ("____", ""),
        ("__2_ _8", "2 8"),
    ):
        reading = ctc.best_path(*steps_of(path, vocabulary))
        assert "".join(vocabulary[number] for number in reading.characters) == text


def test_each_character_has_the_highest_probability_of_its_steps_and_their_place():
    probabilities = np.array(
        [[0.2, 0.1, 0.7], [0.6, 0.1, 0.3], [0.9, 0, 0.1], [0.4, 0.5, 0.1], [0, 0.2, 0.8], [0, 0.6, 0.4], [0.9, 0.1, 0]]
    )
    with np.errstate(divide="ignore"):
        reading = ctc.best_path(*kept(probabilities, 2), 6, BLANK)
    assert reading.characters.tolist() == [A, B, B]
    assert reading.probabilities.tolist() == pytest.approx([0.9, 0.5, 0.6])
    assert reading.first.tolist() == [1, 3, 5]
    assert reading.last.tolist() == [2, 3, 5]
    assert reading.log_confidence == pytest.approx((math.log(0.9) + math.log(0.5) + math.log(0.6)) / 3)


def test_where_nothing_is_read_there_is_no_confidence():
    for arguments in (steps_of("___", "ab"), (*steps_of("a", "ab")[:2], 0, 2)):
        assert ctc.best_path(*arguments).log_confidence == -math.inf


def test_beam_search_adds_up_the_paths_of_a_text():
    """The best path of the textbook case is blank, blank (0.36), but "a" is spelt by three paths (0.64)."""
    outputs = kept(np.array([[0.4, 0.0001, 0.5999]] * 2))
    assert not len(ctc.best_path(*outputs, 2, BLANK).characters)
    best, second = ctc.beam_search(*outputs, 2, BLANK)
    assert (best.characters, second.characters) == ((A,), ())
    assert math.exp(best.log_probability) == pytest.approx(2 * 0.4 * 0.5999 + 0.4**2)
    assert best.probability == pytest.approx(0.64, abs=1e-4)
    assert second.probability == pytest.approx(0.36, abs=1e-4)


@given(distributions, st.integers(1, 6))
def test_a_wide_beam_finds_the_most_probable_of_all_texts(random, steps):
    probabilities = drawn(random, steps)
    expected = {text: sum(p for _, p in paths) for text, paths in paths_by_text(probabilities, BLANK).items()}
    found = ctc.beam_search(*kept(probabilities), steps, BLANK, width=1000)
    ranked = sorted(expected, key=expected.get, reverse=True)
    assert [hypothesis.characters for hypothesis in found] == ranked[:4]
    for hypothesis in found:
        assert math.exp(hypothesis.log_probability) == pytest.approx(expected[hypothesis.characters])
        assert hypothesis.probability == pytest.approx(expected[hypothesis.characters])


@given(distributions, st.integers(1, 5))
def test_with_a_language_model_the_score_is_that_of_the_definition(random, steps):
    model = LanguageModel(language_model.fit(["abba", "aab", "b"], ("a", "b"), 3))
    probabilities, fusion = drawn(random, steps), Fusion(0.7, 0.4)
    scores = {}
    for text, paths in paths_by_text(probabilities, BLANK).items():
        state, by_model = model.begin, 0.0
        for number in (*text, model.end):
            log_probability, state = model.step(state, number)
            by_model += log_probability
        scores[text] = math.log(sum(p for _, p in paths)) + 0.7 * by_model + 0.4 * len(text)
    found = ctc.beam_search(*kept(probabilities), steps, BLANK, model, fusion, width=1000)
    assert [hypothesis.characters for hypothesis in found] == sorted(scores, key=scores.get, reverse=True)[:4]
    total = sum(map(math.exp, scores.values()))
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(scores[hypothesis.characters])
        assert hypothesis.probability == pytest.approx(math.exp(hypothesis.score) / total)


def test_beam_search_keeps_doubled_letters():
    vocabulary = ".023678"
    for width in (1, 4, 16):
        found = ctc.beam_search(*steps_of("2_0_0_78_._66_6_30_", vocabulary, 0.8), width=width)
        assert "".join(vocabulary[number] for number in found[0].characters) == "20078.6630"


def test_a_language_model_decides_what_the_network_leaves_open():
    vocabulary = tuple("ehnt ")
    model = LanguageModel(language_model.fit(["the hen", "then", "the net", "ten"] * 5, vocabulary))
    probabilities = np.full((5, 6), 0.01)
    for step, outputs in enumerate(([3], [1, 2], [0], [5], [2])):  # "t", "h" or rather "n", "e", blank, "n"
        probabilities[step, outputs] = 0.96 / len(outputs)
    probabilities[1, [1, 2]] = 0.47, 0.49
    arguments = (*kept(probabilities), 5, 5)
    assert spell(ctc.beam_search(*arguments)[0], vocabulary) == "tnen"
    for width in (16, 1):  # also of which beginnings to keep
        found = ctc.beam_search(*arguments, model, Fusion(0.5, 0.5), width)
        assert spell(found[0], vocabulary) == "then"


def spell(hypothesis: Hypothesis, vocabulary: tuple[str, ...]) -> str:
    return "".join(vocabulary[number] for number in hypothesis.characters)


def test_alternatives_are_other_texts_in_the_order_of_their_scores():
    found = ctc.beam_search(*kept(drawn(np.random.default_rng(0), 12, 6)), 12, 5)
    assert len(found) == len({hypothesis.characters for hypothesis in found}) == 4
    assert [hypothesis.score for hypothesis in found] == sorted((one.score for one in found), reverse=True)
    assert 0 < sum(hypothesis.probability for hypothesis in found) < 1


def test_only_the_steps_of_the_line_are_read():
    classes, log_probabilities, _, blank = steps_of("ab_ba", "ab")
    for decode in (ctc.best_path, lambda *arguments: ctc.beam_search(*arguments)[0]):
        assert tuple(decode(classes, log_probabilities, 2, blank).characters) == (A, B)
        assert tuple(decode(classes, log_probabilities, 0, blank).characters) == ()


def test_improbable_outputs_are_not_followed_but_the_best_always_is():
    probabilities = np.array([[0.998, 0.0005, 0.0015], [0.0009, 0.0008, 0.0007]])
    found = ctc.beam_search(*kept(probabilities), 2, BLANK)
    assert [hypothesis.characters for hypothesis in found] == [(A,)]
    assert math.exp(found[0].log_probability) == pytest.approx((0.998 + 0.0015) * 0.0009)


def test_neither_long_lines_nor_little_probability_exceed_the_range_of_numbers():
    steps = 3000
    found = ctc.beam_search(*kept(np.full((steps, 500), 1 / 500)), steps, 499, width=4)
    assert -steps * math.log(500) <= found[0].log_probability < 0
    assert math.isfinite(found[0].score)


@given(distributions, st.integers(1, 5), st.lists(st.sampled_from([A, B]), max_size=4))
def test_a_text_is_aligned_along_the_most_probable_of_its_paths(random, steps, text):
    probabilities = drawn(random, steps)
    paths = paths_by_text(probabilities, BLANK).get(tuple(text))
    reading = ctc.align(text, *kept(probabilities), steps, BLANK)
    if paths is None:
        assert reading is None
        return
    best = max(paths, key=lambda entry: entry[1])[0]
    expected = ctc.best_path(np.array(best)[:, None], np.log(probabilities[range(steps), best])[:, None], steps, BLANK)
    for name, values in vars(reading).items():
        np.testing.assert_allclose(values, getattr(expected, name))


def test_a_text_that_the_outputs_do_not_hold_is_not_aligned():
    classes, log_probabilities, steps, blank = steps_of("a_b", "abcdefgh")
    assert ctc.align([7], classes[:, :1], log_probabilities[:, :1], steps, blank) is None
    assert ctc.align([0, 1], classes[:, :1], log_probabilities[:, :1], steps, blank).first.tolist() == [0, 2]


def test_the_weight_is_chosen_that_reads_best_and_is_0_where_the_model_does_not_help():
    vocabulary, words = tuple("ehnt "), ["the", "hen", "then", "net", "ten", "teen"]
    random = np.random.default_rng(0)
    truths, others = ([" ".join(random.choice(words, 3)) for _ in range(count)] for count in (8, 100))
    model = LanguageModel(language_model.fit(others, vocabulary))

    def choose(share_of_uncertain: float) -> Fusion:
        outputs = [kept(unsure(truth, vocabulary, share_of_uncertain)) for truth in truths]
        classes, log_probabilities = zip(*outputs, strict=True)
        return ctc.choose_fusion(classes, log_probabilities, [len(line) for line in classes], truths, model, width=4)

    assert choose(0.2).weight > 0
    assert choose(0.2) == choose(0.2)
    assert choose(0.0) == Fusion(0.0, 0.0)


def unsure(text: str, vocabulary: tuple[str, ...], share_of_uncertain: float) -> np.ndarray:
    """Outputs of two steps for each character, itself and a blank; some are taken for another one."""
    random = np.random.default_rng(1)
    probabilities = np.full((2 * len(text), len(vocabulary) + 1), 0.01)
    probabilities[1::2, -1] = 0.95
    for step, character in zip(range(0, 2 * len(text), 2), text, strict=True):
        if random.random() < share_of_uncertain:
            probabilities[step, random.integers(len(vocabulary))] = 0.5
        probabilities[step, vocabulary.index(character)] = 0.45
    return probabilities / probabilities.sum(axis=1, keepdims=True)
