"""Names drawn in pictures."""

import unicodedata

import numpy as np
from PIL import Image, ImageDraw

from labelseg.results.pictures import _written


def drawn(text):
    picture = Image.new("L", (200, 20), 255)
    ImageDraw.Draw(picture).text((2, 2), _written(text), fill=0)
    return np.asarray(picture)


def test_letters_are_drawn_alike_whether_their_accents_are_composed_or_not():
    for name in ("Kühe", "Österreich"):
        apart = unicodedata.normalize("NFD", name)
        assert apart != name
        assert np.array_equal(drawn(apart), drawn(name))


def test_what_the_font_has_not_is_a_question_mark():
    assert _written("猫 a") == "? a"
