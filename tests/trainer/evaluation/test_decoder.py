"""Reading lines with a language model that was fitted and weighed on other lines."""

import numpy as np
import pytest

from common.errors import InputError
from trainer.evaluation import decoder as decoders
from trainer.evaluation import language_model
from trainer.evaluation.ctc import Fusion
from trainer.evaluation.decoder import Decoder, Outputs

VOCABULARY = tuple(" aehnst")
TEXTS = ["the hen", "then", "the net", "ten hens ate", "an ant ate the net", "heat the tea"]


def outputs_of(texts: list[str], doubt: float, random: np.random.Generator) -> Outputs:
    """Outputs that spell the texts, a blank after each character; of each it is in doubt with that probability."""
    length, blank = 2 * max(map(len, texts)), len(VOCABULARY)
    classes = np.tile(np.array([blank, 0]), (len(texts), length, 1))
    probabilities = np.tile(np.array([0.98, 0.01]), (len(texts), length, 1))
    for row, text in enumerate(texts):
        for place, character in enumerate(text):
            number = VOCABULARY.index(character)
            other = (number + 1) % blank
            is_doubtful = random.random() < doubt
            classes[row, 2 * place] = (other, number) if is_doubtful else (number, other)
            probabilities[row, 2 * place] = (0.51, 0.48) if is_doubtful else (0.97, 0.02)
    return Outputs(classes, np.log(probabilities), np.array([2 * len(text) for text in texts]))


@pytest.fixture(scope="module")
def fitted() -> tuple[Decoder, list[str], Outputs]:
    random = np.random.default_rng(0)
    texts = [TEXTS[number] for number in random.integers(len(TEXTS), size=300)]
    outputs = outputs_of(texts, 0.2, random)
    return decoders.fit(TEXTS * 5, VOCABULARY, outputs, texts), texts, outputs


def test_it_reads_more_than_the_best_path_and_its_confidence_is_its_own(fitted):
    decoder, texts, outputs = fitted
    without = decoders.decode(Decoder(decoder.ngrams, Fusion()), outputs).texts
    decoded = decoders.decode(decoder, outputs)
    right_before, right = (sum(map(str.__eq__, texts, some)) for some in (without, decoded.texts))
    assert right_before < 150 < 280 < right
    confidence = np.exp(decoded.log_confidence / decoder.temperature)
    assert confidence.mean() == pytest.approx(right / len(texts), abs=0.03)
    assert len(decoder.thresholds) == 3
    for text, reading in zip(decoded.texts, decoded.readings, strict=True):
        assert len(reading.probabilities) == len(text), "each character has its probability and place"


def test_a_file_gives_the_same_decoder_and_the_same_decoder_the_same_file(fitted, tmp_path):
    decoder, _, outputs = fitted
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    decoders.save(first, decoder)
    again = decoders.load(first, VOCABULARY)
    decoders.save(second, again)
    assert first.read_bytes() == second.read_bytes()
    assert (again.fusion, again.temperature, again.thresholds) == (
        decoder.fusion,
        decoder.temperature,
        decoder.thresholds,
    )
    assert decoders.decode(again, outputs).texts == decoders.decode(decoder, outputs).texts


def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path):
    path = tmp_path / "model.npz"
    decoder = Decoder(language_model.fit(["abab", "ba"], ("a", "b"), 3), Fusion())
    decoders.save(path, decoder)
    whole = path.read_bytes()
    np.savez(tmp_path / "foreign.npz", images=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", **{**vars(decoder.ngrams), "vocabulary": np.array(["a", "b"], object)})
    contents = [
        *(b"", b"the quick brown fox", whole[: len(whole) // 2], whole[:-30]),
        bytes(byte ^ (200 < place < 260) for place, byte in enumerate(whole)),
        *((tmp_path / name).read_bytes() for name in ("foreign.npz", "pickle.npz")),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.npz: is no language model"):
            decoders.load(path, ("a", "b"))
    with pytest.raises(InputError, match="there is no such file"):
        decoders.load(tmp_path / "none.npz", ("a", "b"))


def test_a_model_of_other_characters_is_refused_with_what_differs(tmp_path):
    decoders.save(tmp_path / "model.npz", Decoder(language_model.fit(["ab"], ("a", "b"), 2), Fusion()))
    with pytest.raises(InputError, match=r"lacks 'cd' and has 'b' too many"):
        decoders.load(tmp_path / "model.npz", ("a", "c", "d"))
