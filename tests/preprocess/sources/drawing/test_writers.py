"""Writers: hands that differ, and stay themselves."""

import string

import numpy as np

from preprocess.sources.drawing.alphabets import ALPHABETS, has
from preprocess.sources.drawing.writers import alphabet_of, draw_writer


def test_the_same_seed_is_the_same_hand_and_another_is_not():
    one, again, other = (draw_writer(np.random.default_rng([4, number])) for number in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_hand_takes_each_character_from_an_alphabet_that_has_it():
    for number in range(30):
        writer = draw_writer(np.random.default_rng([5, number]))
        for character in string.ascii_letters + string.digits + "éœ€«?Ə":
            assert has(alphabet_of(writer, character), character)


def test_hands_are_of_all_kinds():
    writers = [draw_writer(np.random.default_rng([6, number])) for number in range(200)]
    assert {alphabet for writer in writers for alphabet in writer.shapes.values()} == set(ALPHABETS)
    assert 0.25 < np.mean([writer.joined > 0 for writer in writers]) < 0.75
    assert min(writer.slant for writer in writers) < -0.1
    assert max(writer.slant for writer in writers) > 0.5
