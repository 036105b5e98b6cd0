"""Texts for drawn and composed lines: words and sentences put together at random, and strings of letters and digits.

The lists of common words beside this module, in English and French, were written for it. Sentences need not make
sense: a reader of lines shall learn letters and usual neighbours, not stories.
"""

import re
import string
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources

import numpy as np

LANGUAGES = ("english", "french")
LONGEST = 70
"""The most characters of a text."""

_QUOTES = {"english": ("“", "”"), "french": ("« ", " »")}
_SPACE_BEFORE = {"english": "", "french": " "}  # before ? ! : and ;
_SIGNS = "€$£%&@#*+=/°"
_LONGEST_DIGITS = 12
_LONGEST_WORD = 10


def texts(rng: np.random.Generator, count: int) -> list[str]:
    """`count` texts of 1 to `LONGEST` characters, in English and French: see `draw_text`."""
    return [draw_text(rng) for _ in range(count)]


def draw_text(rng: np.random.Generator) -> str:
    """One text: mostly a piece of running text; else names, addresses, dates, amounts, numbers, or words without order.

    NFC, single spaces, none at the ends.
    """
    language = LANGUAGES[rng.integers(len(LANGUAGES))]
    kinds = (_prose, _words, _names, _address, _date, _amounts, _numbers)
    kind = kinds[rng.choice(len(kinds), p=(0.56, 0.12, 0.07, 0.05, 0.06, 0.07, 0.07))]
    text = kind(language, rng)
    if rng.random() < 0.04:
        text = text.upper()
    if len(text) > LONGEST:
        text = text[: LONGEST + 1].rpartition(" ")[0]
    return text.strip()


def random_strings(rng: np.random.Generator, vocabulary: str, count: int) -> list[str]:
    """`count` strings of the vocabulary's characters and spaces: numbers, amounts, postcodes, part numbers, words.

    Of which kinds depends on what the vocabulary holds. With digits alone: 1 to 12 digits, or groups of them. Raises
    `ValueError` if it holds nothing but white space.
    """
    characters = sorted(set(vocabulary) - set(string.whitespace))
    if not characters:
        raise ValueError("a vocabulary without characters")
    digits = [character for character in characters if character in string.digits]
    upper = [character for character in characters if character.isupper()]
    lower = [character for character in characters if character.islower()]
    others = [character for character in characters if character not in (*digits, *upper, *lower)]
    kinds: list[Callable[[], str]] = []
    if digits:
        kinds += [lambda: _some(digits, 1, _LONGEST_DIGITS, rng)] * 2
        kinds += [lambda: _amount(digits, characters, rng)] * 2
        kinds += [lambda: _some(digits, 5, 5, rng)]
    if digits and upper:
        kinds += [lambda: _part_number(upper, digits, characters, rng)] * 2 + [lambda: _postcode(upper, digits, rng)]
    if upper:
        kinds += [lambda: _some(upper, 1, _LONGEST_WORD, rng)]
    if lower:
        kinds += [lambda: _letters(upper, lower, rng)] * 2
    if others:  # all of the vocabulary occurs
        kinds += [lambda: _some(characters, 1, _LONGEST_DIGITS, rng)]
    return [kinds[rng.integers(len(kinds))]() for _ in range(count)]


def _prose(language: str, rng: np.random.Generator) -> str:
    """A line out of running text: it may begin and end anywhere."""
    words = " ".join(_sentence(language, rng) for _ in range(3)).split(" ")
    first = int(rng.integers(max(1, len(words) - 8))) if rng.random() < 0.7 else 0
    return " ".join(words[first : first + int(rng.integers(3, 14))]).lstrip(" :;,!?»-")


def _sentence(language: str, rng: np.random.Generator) -> str:
    def of(kind: str) -> str:
        return _word(language, kind, rng)

    def thing() -> str:
        noun = of("nouns")
        if language == "french":
            return f"{noun} {of('adjectives')}" if rng.random() < 0.4 else noun
        article = ("the", "a", "this", "his", "our", "my", "every")[rng.integers(7)]
        return f"{article} {of('adjectives')} {noun}" if rng.random() < 0.4 else f"{article} {noun}"

    who = of("first names") if rng.random() < 0.3 else thing()
    parts = [who, of("verbs"), thing()]
    if rng.random() < 0.5:
        parts.append(f"{of('prepositions')} {thing()}")
    if rng.random() < 0.3:
        parts.insert(0, of("adverbs") + ",")
    if rng.random() < 0.2:
        parts.append(f"({_number(rng)} {of('words')})")
    if rng.random() < 0.2:
        parts.append(f"{'in' if language == 'english' else 'en'} {rng.integers(1700, 2031)}")
    if rng.random() < 0.2:
        parts.insert(-1, f"- {of('words')} {of('words')} -")
    text = " ".join(parts)
    if rng.random() < 0.35:
        sign = (",", ";", ":")[rng.choice(3, p=(0.7, 0.15, 0.15))]
        space = "" if sign == "," else _SPACE_BEFORE[language]
        text += f"{space}{sign} {of('words')} {of('words')} {of('adverbs')}"
    text = text[0].upper() + text[1:]
    end = ".?!"[rng.choice(3, p=(0.8, 0.1, 0.1))]
    text += end if end == "." else _SPACE_BEFORE[language] + end
    if rng.random() < 0.08:
        text = text.join(_QUOTES[language])
    if rng.random() < 0.3:
        text = text.replace("'", "’")
    return text


def _words(language: str, rng: np.random.Generator) -> str:
    kinds = ("nouns", "adjectives", "verbs", "adverbs", "words", "words", "surnames", "places")
    chosen = [_word(language, kinds[rng.integers(len(kinds))], rng) for _ in range(rng.integers(1, 7))]
    joint = (" ", " ", ", ", " / ", "-")[rng.integers(5)]
    return joint.join(chosen)


def _names(language: str, rng: np.random.Generator) -> str:
    first, last, place = (_word(language, kind, rng) for kind in ("first names", "surnames", "places"))
    titles = ("Mr", "Mrs", "Dr") if language == "english" else ("M.", "Mme", "Dr")
    forms = (
        f"{first} {last}",
        f"{last.upper()} {first}",
        f"{titles[rng.integers(3)]} {last}, {place}",
        f"{first[0]}. {last} & {_word(language, 'surnames', rng)}",
        f"{first}-{_word(language, 'first names', rng)} {last} ({place})",
        f"{first.lower()}.{last.lower()}@{place.lower().replace(' ', '-')}.org",
    )
    return forms[rng.integers(len(forms))]


def _address(language: str, rng: np.random.Generator) -> str:
    number, place = rng.integers(1, 200), _word(language, "places", rng)
    if language == "french":
        street = _word(language, "nouns", rng)
        kind = ("rue", "avenue", "place", "chemin")[rng.integers(4)]
        suffix = ("", " bis", " ter")[rng.choice(3, p=(0.8, 0.15, 0.05))]
        return f"{number}{suffix}, {kind} {_of_the(street)}, {_some(string.digits, 5, 5, rng)} {place}"
    kind = ("Street", "Road", "Lane", "Square", "Avenue")[rng.integers(5)]
    street = _word(language, "surnames", rng)
    return f"{number} {street} {kind}, {place} {_postcode(string.ascii_uppercase, string.digits, rng)}"


def _of_the(noun: str) -> str:
    """`le marché` → `du marché`; `la gare` → `de la gare`."""
    return f"du {noun[3:]}" if noun.startswith("le ") else f"de {noun}"


def _date(language: str, rng: np.random.Generator) -> str:
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1750, 2031)
    name, weekday, place = (_word(language, kind, rng) for kind in ("months", "days", "places"))
    numbers = (f"{day:02}/{month:02}/{year}", f"{day}.{month}.{year % 100:02}", f"{year}-{month:02}-{day:02}")
    if language == "english":
        forms = (f"{name} {day}, {year}", f"{weekday}, {day} {name} {year}", f"{place}, {day} {name} {year}")
    else:
        ordinal = "1er" if day == 1 else str(day)
        forms = (
            f"{ordinal} {name} {year}",
            f"{weekday} {ordinal} {name} {year}",
            f"{place}, le {ordinal} {name} {year}",
        )
    return (*numbers, *forms, *forms)[rng.integers(len(numbers) + 2 * len(forms))]


def _amounts(language: str, rng: np.random.Generator) -> str:
    whole, cents = int(10 ** rng.uniform(0, 6)), rng.integers(100)
    thing, share = _word(language, "nouns", rng), rng.integers(1, 100)
    if language == "english":
        sign = "£$€"[rng.integers(3)]
        forms = (
            f"{sign}{whole:,}.{cents:02}",
            f"{sign} {whole}.{cents:02}",
            f"{rng.integers(1, 99)} {thing} @ {sign}{whole}",
        )
    else:
        grouped = f"{whole:,}".replace(",", " ")
        forms = (f"{grouped},{cents:02} €", f"{thing} : {whole},{cents:02} €", f"{grouped} euros")
    return (*forms, f"{share} %", f"{share}.{cents % 10}% = {whole}")[rng.integers(len(forms) + 2)]


def _numbers(language: str, rng: np.random.Generator) -> str:
    sign = _SIGNS[rng.integers(len(_SIGNS))]
    forms = (
        _some(string.digits, 1, _LONGEST_DIGITS, rng),
        " ".join(_some(string.digits, 2, 2, rng) for _ in range(5)),
        f"+{rng.integers(1, 100)} {_some(string.digits, 3, 3, rng)} {_some(string.digits, 4, 6, rng)}",
        f"{rng.integers(24)}:{rng.integers(60):02}",
        f"{rng.integers(24)} h {rng.integers(60):02}",
        _part_number(string.ascii_uppercase, string.digits, "-/.", rng),
        f"{('No.', 'n°')[LANGUAGES.index(language)]} {_number(rng)}",
        f"{_number(rng)} {sign} {_number(rng)}",
        f"{_number(rng)}{sign}{_word(language, 'words', rng)}",
    )
    return forms[rng.integers(len(forms))]


def _number(rng: np.random.Generator) -> str:
    return str(int(10 ** rng.uniform(0, 4)))


def _some(characters: Sequence[str], least: int, most: int, rng: np.random.Generator) -> str:
    return "".join(characters[index] for index in rng.integers(len(characters), size=rng.integers(least, most + 1)))


def _amount(digits: Sequence[str], characters: Sequence[str], rng: np.random.Generator) -> str:
    """Digits in groups of three, with what the vocabulary has of a decimal separator and a currency."""
    whole = _some(digits, 1, 7, rng)
    if rng.random() < 0.5:
        whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", " ", whole)
    points = [separator for separator in ".," if separator in characters]
    if points and rng.random() < 0.7:
        whole += points[rng.integers(len(points))] + _some(digits, 2, 2, rng)
    currencies = [sign for sign in "€$£" if sign in characters]
    if currencies and rng.random() < 0.5:
        sign = currencies[rng.integers(len(currencies))]
        return f"{whole} {sign}" if rng.random() < 0.5 else f"{sign}{whole}"
    return whole


def _part_number(
    upper: Sequence[str], digits: Sequence[str], characters: Sequence[str], rng: np.random.Generator
) -> str:
    joints = ["", " ", *(sign for sign in "-/." if sign in characters)]
    parts = [_some(upper, 1, 3, rng), _some(digits, 2, 6, rng)]
    if rng.random() < 0.4:
        parts.append(_some(upper if rng.random() < 0.5 else digits, 1, 2, rng))
    return joints[rng.integers(len(joints))].join(parts)


def _postcode(upper: Sequence[str], digits: Sequence[str], rng: np.random.Generator) -> str:
    """As in Great Britain: `AB1 2CD`."""
    return f"{_some(upper, 1, 2, rng)}{_some(digits, 1, 2, rng)} {_some(digits, 1, 1, rng)}{_some(upper, 2, 2, rng)}"


def _letters(upper: Sequence[str], lower: Sequence[str], rng: np.random.Generator) -> str:
    words = [_some(lower, 1, _LONGEST_WORD, rng) for _ in range(rng.integers(1, 5))]
    if upper and rng.random() < 0.5:
        words[0] = _some(upper, 1, 1, rng) + words[0][1:]
    return " ".join(words)


def _word(language: str, kind: str, rng: np.random.Generator) -> str:
    words = _lists(language)[kind]
    return words[rng.integers(len(words))]


@cache
def _lists(language: str) -> dict[str, list[str]]:
    """The words of each kind; `_` in the file stands for a space within one."""
    lists: dict[str, list[str]] = {}
    text = resources.files("preprocess.sources.drawing").joinpath("words", f"{language}.txt").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            words = lists.setdefault(line.strip("[]"), [])
        else:
            words += [word.replace("_", " ") for word in line.split()]
    return lists
