"""The language model of characters: probabilities by hand, on real text, and its file."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import language_model
from trainer.evaluation.language_model import LanguageModel, NGrams

PAGES = sorted((Path(__file__).parents[3] / "docs").glob("*.md"))
texts_of_few_characters = st.lists(st.text("abc ", max_size=12), min_size=1, max_size=8)


def model_of(*texts: str, vocabulary: str = "ab", order: int = 2) -> LanguageModel:
    return LanguageModel(language_model.fit(texts, tuple(vocabulary), order))


def log_probability(model: LanguageModel, text: str, character: int) -> float:
    """Of a character after the beginning of a line."""
    state = model.begin
    for before in text:
        state = model.step(state, model.vocabulary.index(before))[1]
    return model.step(state, character)[0]


def outcomes(model: LanguageModel) -> range:
    return range(len(model.vocabulary) + 2)


@pytest.fixture(scope="module")
def pages() -> tuple[list[str], list[str], tuple[str, ...]]:
    """Lines of some of the project's pages, of another one, and the characters of the first."""
    known = [line for page in PAGES[1:6] for line in page.read_text(encoding="utf-8").splitlines()]
    others = PAGES[0].read_text(encoding="utf-8").splitlines()
    return known, others, tuple(sorted(set("".join(known))))


def test_the_probabilities_of_a_single_word_are_those_computed_by_hand():
    """Of the line "ab", each pair occurs once, and each character stands after one other.

    A text so short has the usual discounts: half of a count of 1. Of four outcomes (a, b, other, end) the three that
    occur keep 1/2 of 1/3 each, and the half that is taken off is spread evenly over all four.
    """
    model = model_of("ab")
    a, b = 0, 1
    one = 0.5 / 3 + 0.5 / 4
    assert math.exp(log_probability(model, "", a)) == pytest.approx(0.5 + 0.5 * one, rel=1e-6)
    assert math.exp(log_probability(model, "", b)) == pytest.approx(0.5 * one, rel=1e-6)
    assert math.exp(log_probability(model, "a", b)) == pytest.approx(0.5 + 0.5 * one, rel=1e-6)
    assert math.exp(log_probability(model, "a", model.unknown)) == pytest.approx(0.5 * 0.5 / 4, rel=1e-6)
    assert math.exp(log_probability(model, "ab", model.end)) == pytest.approx(0.5 + 0.5 * one, rel=1e-6)


def test_a_character_counts_by_what_it_stands_after_not_by_how_often():
    """ "b" is frequent, but only after "a"; "c" follows anything. After what was never seen, "c" is the likelier."""
    model = model_of("abababab", "ababab", "cdcecfcgc", vocabulary="abcdefgh", order=2)
    b, c = 1, 2
    assert log_probability(model, "h", c) > log_probability(model, "h", b)


@given(texts_of_few_characters, st.integers(1, 8), st.text("abcd", max_size=10))
def test_what_can_come_next_has_probability_1(texts, order, before):
    model = model_of(*texts, vocabulary="abcd", order=order)
    assert sum(math.exp(log_probability(model, before, number)) for number in outcomes(model)) == pytest.approx(1, 1e-5)


@given(texts_of_few_characters, st.integers(2, 5))
def test_only_as_many_characters_as_the_order_says_are_remembered(texts, order):
    model = model_of(*texts, vocabulary="abc ", order=order)
    recent = "abcab"[: order - 1]
    for number in outcomes(model):
        assert log_probability(model, "c" * 8 + recent, number) == log_probability(model, "a b" * 4 + recent, number)


def test_longer_memory_is_less_perplexed_by_real_text(pages):
    known, others, vocabulary = pages
    found = [
        language_model.perplexity(LanguageModel(language_model.fit(known, vocabulary, order)), others)
        for order in (1, 2, 3, 4, 6)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.3 * found[0]


def test_the_perplexity_is_a_mean_over_characters_and_ends_of_lines():
    """Of an empty line, only the end is known: 1/2 for it, the other half for all eight outcomes, itself included."""
    model = model_of("", vocabulary="abcdef", order=1)
    assert language_model.perplexity(model, [""]) == pytest.approx(16 / 9)
    assert language_model.perplexity(model, ["f"]) == pytest.approx(math.sqrt(16 * 16 / 9))


def test_characters_outside_the_vocabulary_are_one_more_outcome_everywhere():
    model = model_of("aé", "aü", "aß", vocabulary="ab")
    assert log_probability(model, "a", model.unknown) > log_probability(model, "a", 0)
    assert language_model.perplexity(model, ["aé"]) == language_model.perplexity(model, ["añ"])
    assert math.isfinite(language_model.perplexity(model_of("ab"), ["éé"]))


def test_of_too_much_text_the_rarest_long_ngrams_are_left_out(pages, monkeypatch):
    known, others, vocabulary = pages
    whole = language_model.fit(known, vocabulary)
    monkeypatch.setattr(language_model, "_MOST_NGRAMS", 10_000)
    part = language_model.fit(known, vocabulary)
    assert len(part.parents) < 15_000 < len(whole.parents) / 4
    model = LanguageModel(part)
    assert language_model.perplexity(model, others) < 1.3 * language_model.perplexity(LanguageModel(whole), others)
    for before in ("", "the ", "train", vocabulary[-1]):
        assert sum(math.exp(log_probability(model, before, number)) for number in outcomes(model)) == pytest.approx(1)


def test_few_answers_are_remembered_and_they_do_not_depend_on_it(pages, monkeypatch):
    known, others, vocabulary = pages
    ngrams = language_model.fit(known, vocabulary, 3)
    expected = language_model.perplexity(LanguageModel(ngrams), others)
    monkeypatch.setattr(language_model, "_MOST_CACHED", 10)
    model = LanguageModel(ngrams)
    assert language_model.perplexity(model, others) == expected
    assert len(model._answers) <= 10


def damaged(ngrams: NGrams, **changes: np.ndarray) -> NGrams:
    return NGrams(**{**vars(ngrams), **changes})


def test_numbers_that_cannot_be_a_models_are_refused():
    ngrams = language_model.fit(["abab", "ba"], ("a", "b"), 3)
    without_middle = np.delete(np.arange(len(ngrams.parents)), 5)
    for changes in (
        {"characters": ngrams.characters + 3},
        {"parents": ngrams.parents[::-1].copy()},
        {"parents": ngrams.parents.astype(np.int64)},
        {"log_backoffs": ngrams.log_backoffs[1:]},
        {"log_backoffs": np.full_like(ngrams.log_backoffs, np.nan)},
        {"log_probabilities": np.full_like(ngrams.log_probabilities, np.nan)},
        {name: getattr(ngrams, name)[:0] for name in ("parents", "characters", "log_probabilities")}
        | {"log_backoffs": ngrams.log_backoffs[:1]},
        {name: getattr(ngrams, name)[without_middle] for name in ("parents", "characters", "log_probabilities")}
        | {"log_backoffs": ngrams.log_backoffs[1:]},
    ):
        with pytest.raises(ValueError, match=r"n-gram|arrays|probabilities"):
            LanguageModel(damaged(ngrams, **changes))
