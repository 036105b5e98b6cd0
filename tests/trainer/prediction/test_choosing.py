"""Which readings people look at, and what each stands for."""

import numpy as np
import pytest

from trainer.prediction import choosing


def confidences(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.linspace(0, 1, count, endpoint=False, dtype=np.float32))


def choose(confidence: np.ndarray, below=None, most=500, sample=None, seed=0):
    return choosing.choose(confidence, below, most, sample, seed)


def test_the_least_sure_come_first_and_every_tenth_is_drawn_at_random():
    confidence = confidences(10_000)
    places, is_random, _ = choose(confidence, most=500)
    assert len(places) == len(set(places.tolist())) == 500
    assert is_random.sum() == 50
    doubtful = places[~is_random]
    assert (np.diff(confidence[doubtful]) >= 0).all()
    assert confidence[doubtful].max() == pytest.approx(0.045, abs=0.001)
    assert [number for number in range(9, 500, 10) if not is_random[number]] == [], "they are spread evenly"
    assert confidence[places[is_random]].mean() == pytest.approx(0.5, abs=0.15), "from all, however sure"


def test_all_below_a_limit_are_shown_and_fifty_random_ones_besides():
    confidence = confidences(10_000)
    places, is_random, _ = choose(confidence, below=0.03)
    assert set(np.flatnonzero(confidence < 0.03)) <= set(places)
    assert is_random.sum() == choosing.FEWEST_RANDOM
    assert choose(confidence, below=0.5)[1].sum() == 556, "a tenth of the page"


def test_a_share_is_drawn_at_random():
    places, is_random, weights = choose(confidences(1000), sample=0.2)
    assert len(places) == 200
    assert is_random.all()
    assert (weights == 5).all()


@pytest.mark.parametrize("count", [1, 7, 500])
def test_if_all_are_shown_they_are_a_random_draw_of_all(count):
    confidence = confidences(count)
    for settings in ({"most": 500}, {"sample": 1.0}):
        places, is_random, weights = choose(confidence, **settings)
        assert (np.diff(confidence[places]) > 0).all() and len(places) == count
        assert is_random.all() and (weights == 1).all()


def test_as_many_are_shown_as_were_asked_for():
    for most in (1, 2, 10, 99, 600, 700):
        assert len(choose(confidences(701), most=most)[0]) == most


def test_the_seed_decides_what_is_drawn():
    confidence = confidences(5000)
    first, again, other = (choose(confidence, seed=seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert set(first) != set(other)


@pytest.mark.parametrize("settings", [{"most": 400}, {"below": 0.1}, {"sample": 0.1}])
def test_weights_make_the_estimates_of_all_draws_right_on_average(settings):
    confidence = confidences(2000)
    is_wrong = np.random.default_rng(1).random(2000) > confidence
    estimates, of_random = [], []
    for seed in range(200):
        places, is_random, weights = choose(confidence, seed=seed, **settings)
        estimates.append((weights * is_wrong[places]).sum() / len(confidence))
        of_random.append(is_wrong[places[is_random]].mean())
    for found in (estimates, of_random):
        deviation = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found) - is_wrong.mean()) < 4 * deviation


def test_nearly_the_same_pictures_are_found():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (1200, 784)).astype(np.float32)
    pictures[700] = pictures[3] + rng.normal(0, 2, 784)
    pictures[1100] = 0.5 * pictures[700] + 90  # paler
    pictures[4:6] = 255  # empty
    first = choosing.duplicates(pictures)
    assert first[[700, 1100]].tolist() == [3, 3]
    others = np.delete(np.arange(1200), [700, 1100])
    assert (first[others] == others).all()
