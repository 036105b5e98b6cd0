"""Augmentation: the effect of each step on ink, its range, and that characters stay legible."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.dataset.schema import characters
from common.errors import InputError
from tests.support.datasets import read_split
from trainer.data import augmentation_steps
from trainer.data.augmentation import augment
from trainer.data.augmentation_steps import STEPS
from trainer.distributed.randomness import StepRng


def augmented(images: np.ndarray, *texts: str, step: int = 0, first_row: int = 0) -> np.ndarray:
    rng = StepRng(0, tf.constant(step, tf.int64), tf.constant(first_row))
    return augment(tf.constant(images)[..., None], augmentation_steps.parse(texts), rng).numpy()[..., 0]


def dots(count: int, row: int = 13, column: int = 13, size: int = 2) -> np.ndarray:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, row : row + size, column : column + size] = 255
    return images


def centres(images: np.ndarray) -> np.ndarray:
    """x and y of each image's ink, from the centre: [N, 2]."""
    places = np.arange(28) - 13.5
    ink = images.sum(axis=(1, 2))
    return np.stack([images.sum(axis=1) @ places, images.sum(axis=2) @ places], axis=1) / ink[:, None]


def test_without_steps_nothing_changes():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(augmented(images), images)


@pytest.mark.parametrize("size", [(15, 15), (64, 64), (20, 36), (48, 320)])
def test_every_step_takes_images_of_any_size(size):
    images = np.zeros((50, *size), np.uint8)
    images[:, 5:-5, 5:-5] = 200
    changed = augmented(images, *STEPS)
    assert changed.shape == images.shape
    assert (changed != images).any(axis=(1, 2)).all()
    for name in STEPS:
        if name == "random_patch" and min(size) < STEPS[name].default:
            with pytest.raises(InputError, match=f"smaller than the images, {size[0]}×{size[1]}"):
                augmentation_steps.check_fits((name,), characters(("a",), *size))
            continue
        augmentation_steps.check_fits((name,), characters(("a",), *size))
        alone = augmented(images, name)
        assert (alone != images).any(), name
        assert alone.max() <= 200.01
        lost = {"erase", "random_patch"}  # those that take ink away
        assert name in lost or alone.sum() > 0.7 * images.sum(), name


def test_a_shift_moves_ink_both_ways_up_to_its_limit():
    moved = centres(augmented(dots(500), "shift(4)"))
    assert np.abs(moved).max() <= 4 + 1e-3
    assert moved.max(axis=0).min() > 3.8
    assert moved.min(axis=0).max() < -3.8


def test_a_rotation_keeps_the_distance_from_the_centre():
    images = dots(500, row=13, column=21)
    moved = centres(augmented(images, "rotate(20)"))
    before = centres(images)[0]
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(before), atol=0.1)
    angles = np.degrees(np.arctan2(moved[:, 1], moved[:, 0]))
    assert 19 < angles.max() < 20.5
    assert -20.5 < angles.min() < -19


def test_scale_moves_ink_along_its_ray_and_shear_along_its_row():
    images = dots(500, row=13, column=21)
    x = centres(images)[0, 0]
    scaled = centres(augmented(images, "scale(0.25)"))
    assert 1.2 * x < scaled[:, 0].max() < 1.3 * x
    assert x / 1.3 < scaled[:, 0].min() < x / 1.2
    np.testing.assert_allclose(scaled[:, 1], 0, atol=0.15)
    above = dots(500, row=5, column=13)
    sheared = centres(augmented(above, "shear(20)"))
    np.testing.assert_allclose(sheared[:, 1], centres(above)[0, 1], atol=0.1)
    assert np.abs(sheared[:, 0]).max() == pytest.approx(7.5 * np.tan(np.radians(20)), rel=0.1)


def test_elastic_stretches_smoothly_and_within_its_limit():
    moved = centres(augmented(dots(500), "elastic(2)"))
    assert 0.5 < np.abs(moved).max() < 2.6
    lines = np.zeros((100, 28, 28), np.uint8)
    lines[:, 13:15] = 255
    bent = augmented(lines, "elastic(1)")
    heights = (bent * np.arange(28)[None, :, None]).sum(axis=1)[:, 4:-4] / bent.sum(axis=1)[:, 4:-4]
    assert np.abs(np.diff(heights, axis=1)).max() < 0.8
    assert np.ptp(heights, axis=1).mean() > 0.5


def test_redrawn_ink_fills_a_box_as_in_images_of_pictures(synthetic_digits):
    images, _ = read_split(synthetic_digits, "test")
    drawn = augmented(images, "redraw(1)")
    ink = drawn > 0.3 * drawn.max(axis=(1, 2), keepdims=True)
    sides = [(filled.argmax(axis=1), filled[:, ::-1].argmax(axis=1)) for filled in (ink.any(axis=1), ink.any(axis=2))]
    assert max(np.abs(before - behind).mean() for before, behind in sides) < 1, "it is centred"
    longer = np.max([28 - before - behind for before, behind in sides], axis=0)
    assert 21 < np.percentile(longer, 5) < np.percentile(longer, 95) < 26
    assert (augmented(images, "redraw(0)") == images).all()
    changed = (augmented(images, "redraw(0.3)") != images).any(axis=(1, 2))
    assert 0.25 < changed.mean() < 0.35


def test_erase_makes_paper_of_one_square():
    full = np.full((500, 28, 28), 255, np.uint8)
    gone = augmented(full, "erase(6)") == 0
    heights, widths = gone.any(axis=2).sum(axis=1), gone.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(heights, widths)
    np.testing.assert_array_equal(gone.sum(axis=(1, 2)), heights * widths)
    assert set(heights) == {1, 2, 3, 4, 5, 6}


def test_a_random_patch_is_cut_out_and_put_anywhere():
    rows, columns = np.mgrid[0:28, 0:28]
    image = (1 + 8 * rows + columns).astype(np.uint8)  # each place tells where it was
    patches = augmented(np.tile(image, (500, 1, 1)), "random_patch(20)")
    sides, moves = set(), set()
    for patch in patches:
        inside = patch > 0.5
        top, left = np.argwhere(inside).min(axis=0)
        side = inside.any(axis=0).sum()
        assert inside.sum() == side * side
        cropped = patch[top : top + side, left : left + side]
        rise, run = cropped[1, 0] - cropped[0, 0], cropped[0, 1] - cropped[0, 0]
        assert (rise, run) == (pytest.approx(8, abs=1e-3), pytest.approx(1, abs=1e-3))
        sides.add(int(side))
        moves.add((int(top), int(left), round(cropped[0, 0])))
    assert sides == set(range(20, 29))
    assert len(moves) > 300


def test_a_row_is_augmented_alike_in_whatever_batch_it_stands():
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    everything = ("random_patch", "rotate", "scale", "shear", "shift", "elastic", "erase")
    whole = augmented(images, *everything)
    parts = [augmented(images[:2], *everything), augmented(images[2:], *everything, first_row=2)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=0.01)
    assert not np.array_equal(augmented(images, *everything, step=1), whole)


def test_ink_beyond_the_edge_is_gone_and_paper_comes_in():
    moved = augmented(dots(300, row=0, column=0, size=28), "shift(8)")
    assert moved.min() == 0
    assert (augmented(dots(300, row=26, column=26), "shift(8)").sum(axis=(1, 2)) == 0).any()


@pytest.fixture(scope="module")
def reader(synthetic_digits) -> keras.Model:
    """A network that has only seen characters as they are."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    reader = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 5, 2, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    reader.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = read_split(synthetic_digits, "train")
    reader.fit(images[..., None], labels, batch_size=64, epochs=4, verbose=0)
    return reader


@pytest.mark.xdist_group("reader")
@pytest.mark.parametrize("name", STEPS)
def test_at_its_default_strength_a_step_leaves_the_label_readable(reader, synthetic_digits, name):
    images, labels = read_split(synthetic_digits, "test")

    def accuracy(shown: np.ndarray) -> float:
        return float((reader.predict(shown[..., None], verbose=0).argmax(axis=1) == labels).mean())

    changed = augmented(images, name)
    assert (changed.min(), changed.max()) >= (0, 0)
    assert changed.max() <= 255
    assert not np.array_equal(changed, images)
    assert accuracy(images) > 0.93
    assert accuracy(changed) > accuracy(images) - 0.2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("twist(3)", "unknown augmentation step 'twist'; known: rotate, scale"),
        ("rotate(90)", r"rotate\(90\): rotate takes 0 to 45 degrees"),
        ("shift(-1)", r"shift takes 0 to 8 pixels"),
        ("shift(1e)", r"shift takes 0 to 8 pixels"),
        ("rotate 10", r"must look like rotate\(10\)"),
        ("rotate(nan)", r"must look like rotate\(10\)"),
    ],
)
def test_a_bad_step_is_refused_by_name(text, complaint):
    with pytest.raises(InputError, match=complaint):
        augmentation_steps.parse([text])


def test_a_step_without_a_number_has_its_default():
    assert augmentation_steps.parse(["rotate", " erase( 4 ) ", "shift()"]) == (
        ("rotate", 10),
        ("erase", 4.0),
        ("shift", 2),
    )
