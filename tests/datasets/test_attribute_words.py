"""The words for the 40 attributes."""

import pytest

from semquant.checks import InputError
from semquant_book.datasets.drawn import attributes
from semquant_book.datasets.names import ATTRIBUTES, PHRASES, TARGETS, label, phrase


def test_every_attribute_has_words_for_both_signs():
    assert ATTRIBUTES == tuple(attributes.ROWS) and len(ATTRIBUTES) == 40
    phrases = [words for pair in PHRASES.values() for words in pair]
    assert len(set(phrases)) == 80 and all(words[0].isupper() or words[0] == "5" for words in phrases)
    assert set(TARGETS) < set(ATTRIBUTES)


@pytest.mark.parametrize("attribute, score, words", [
    ("No_Beard", 2.0, "No beard"), ("No_Beard", -2.0, "Beard"), ("Chubby", -0.1, "Not chubby"),
    ("Goatee", -1.0, "No goatee"), ("5_o_Clock_Shadow", 1.0, "5 o'clock shadow"),
    ("Wearing_Lipstick", -3.0, "Not wearing lipstick"), ("Young", 0.5, "Young"),
])
def test_the_sign_of_a_score_chooses_the_words(attribute, score, words):
    assert phrase(attribute, score) == words


def test_an_unknown_attribute_is_one_line():
    with pytest.raises(InputError, match="^attribute: 'Smilling' is not one of .*did you mean Smiling"):
        phrase("Smilling", 1.0)
    with pytest.raises(InputError, match="^attribute: 'Beard' is not one of"):
        label("Beard")
