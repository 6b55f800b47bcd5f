"""The drawn faces: the same everywhere, each attribute with its own trace, whole caches."""

import hashlib

import PIL
import numpy as np
import pytest
import torch

from semquant.checks import InputError
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.drawn.attributes import RATES, ROWS, sample
from semquant_book.datasets.drawn.drawing import Canvas, Dice
from semquant_book.datasets.drawn.faces import Faces, attributes_of, load, make_id, parse_id, render
from semquant_book.datasets.drawn.looks import Person
from semquant_book.datasets.drawn.shading import blurred
from semquant_book.datasets.names import ATTRIBUTES, TARGETS

AT = {name: i for i, name in enumerate(ATTRIBUTES)}
KNOWN = {
    (0, "train", 0): ("8333fb27c34b5d92", [218, 203, 195, 197, 220, 195, 185, 198,
                                           225, 205, 195, 207, 214, 189, 182, 190]),
    (0, "val", 3): ("8336ab96599f3b4a", [132, 90, 76, 127, 136, 78, 83, 126,
                                         136, 101, 98, 141, 133, 120, 121, 139]),
    (0, "test", 5): ("c7621cc572d43bb0", [208, 150, 137, 224, 208, 125, 132, 208,
                                          204, 107, 117, 202, 183, 109, 118, 191]),
    (7, "train", 11): ("a1a6905de8f59d2a", [218, 157, 142, 197, 221, 151, 139, 198,
                                            218, 183, 172, 198, 220, 181, 172, 196]),
}
"""Of a few images: their bytes' SHA-256 (16 digits), and the means of 4 x 4 blocks."""

ROWS_OF = {
    "5_o_Clock_Shadow": (29, 56), "Arched_Eyebrows": (12, 30), "Bags_Under_Eyes": (26, 39),
    "Bangs": (6, 28), "Big_Lips": (36, 54), "Big_Nose": (23, 42), "Bushy_Eyebrows": (12, 30),
    "Double_Chin": (37, 60), "Eyeglasses": (19, 39), "Goatee": (38, 61),
    "High_Cheekbones": (20, 50), "Mouth_Slightly_Open": (36, 54), "Mustache": (33, 46),
    "Narrow_Eyes": (20, 38), "No_Beard": (25, 58), "Pointy_Nose": (23, 42),
    "Receding_Hairline": (0, 36), "Rosy_Cheeks": (26, 44), "Sideburns": (16, 46),
    "Smiling": (36, 54), "Wearing_Earrings": (31, 49), "Wearing_Hat": (0, 27),
    "Wearing_Lipstick": (36, 54), "Wearing_Necklace": (48, 64), "Wearing_Necktie": (46, 64),
}
"""Rows of 64 outside of which these attributes leave no trace."""


@pytest.fixture(scope="module")
def sharp():
    """Faces without blur: (index, image) each."""
    indices = [i for i in range(40) if not attributes_of(0, "val", i)[AT["Blurry"]]][:20]
    return [(i, render(0, "val", i)) for i in indices]


# attributes


def test_the_rates_are_those_of_celeba():
    draws = np.stack([sample(Dice("rates", i)) for i in range(8000)])
    assert draws.shape == (8000, 40) and draws.dtype == bool
    for name, share in zip(ATTRIBUTES, draws.mean(axis=0), strict=True):
        assert share == pytest.approx(RATES[name], abs=0.022), name
    for sex, chosen in (("men", draws[:, AT["Male"]]), ("women", ~draws[:, AT["Male"]])):
        for name, share in zip(ATTRIBUTES, draws[chosen].mean(axis=0), strict=True):
            assert share == pytest.approx(getattr(ROWS[name], sex), abs=0.03), (sex, name)


def test_what_never_goes_together():
    draws = np.stack([attributes_of(0, "train", i) for i in range(1500)])
    women = ~draws[:, AT["Male"]]
    for name in ("5_o_Clock_Shadow", "Bald", "Goatee", "Mustache", "Sideburns", "Wearing_Necktie"):
        assert not draws[women, AT[name]].any()
    assert draws[women, AT["No_Beard"]].all()
    colours = draws[:, [AT[f"{c}_Hair"] for c in ("Black", "Blond", "Brown", "Gray")]]
    assert colours.sum(axis=1).max() == 1
    assert not (draws[:, AT["Straight_Hair"]] & draws[:, AT["Wavy_Hair"]]).any()


# the pictures


def test_the_same_key_gives_the_same_image_and_another_key_another():
    image = render(0, "train", 3)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert np.array_equal(image, render(0, "train", 3))
    for other in ((1, "train", 3), (0, "val", 3), (0, "test", 3), (0, "train", 4)):
        assert not np.array_equal(image, render(*other))


@pytest.mark.parametrize("key", KNOWN)
def test_known_pictures_on_every_machine(key):
    """The bytes with the Pillow they were made with; others round a corner here and there."""
    image, (digest, means) = render(*key), KNOWN[key]
    blocks = image.reshape(4, 16, 4, 16, 3).mean(axis=(1, 3, 4)).ravel()
    assert np.abs(blocks - means).max() < 1.0
    if PIL.__version__.split(".")[0] == "13":
        assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == digest


def test_another_size_is_the_same_picture():
    for index in range(4):
        small, large = (render(0, "train", index, size=s).astype(float) for s in (64, 128))
        shrunk = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - small).mean() < 6


def test_the_canvas_has_a_number_for_every_colour(monkeypatch):
    most = []
    paint = Canvas.paint
    monkeypatch.setattr(Canvas, "paint",
                        lambda self, *a: (paint(self, *a), most.append(len(self._tags)))[0])
    everything = ("Bangs", "Double_Chin", "Eyeglasses", "Goatee", "Mustache", "Wearing_Hat",
                  "Wearing_Necktie", "Wearing_Necklace", "Wearing_Earrings", "Gray_Hair")
    for index in range(12):
        has = attributes_of(0, "val", index)
        render(0, "val", index, size=32, flip=[n for n in everything if not has[AT[n]]])
    assert max(most) < 200  # of 256


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_leaves_a_trace(name, sharp):
    """All but a few faces: a hat may hide the hair, and a bald head has none to be straight."""
    changed = [not np.array_equal(render(0, "val", i, flip=(name,)), image) for i, image in sharp]
    assert np.mean(changed) >= 0.8


@pytest.mark.parametrize("name", ROWS_OF)
def test_a_local_attribute_changes_nothing_far_away(name, sharp):
    first, last = ROWS_OF[name]
    for index, image in sharp:
        other = render(0, "val", index, flip=(name,))
        assert np.array_equal(other[:first], image[:first]), index
        assert np.array_equal(other[last:], image[last:]), index


def test_what_is_not_on_the_head_ignores_the_hair(sharp):
    for name in ("Black_Hair", "Blond_Hair", "Gray_Hair", "Wavy_Hair", "Bald"):
        for index, image in sharp[:8]:
            other = render(0, "val", index, flip=(name,))
            assert np.array_equal(other[:, :3], image[:, :3])  # the backdrop at the left
            assert (other != image).any()


def test_flips_are_a_set_and_independent(sharp):
    for index, image in sharp[:6]:
        pair = ("Eyeglasses", "Wearing_Necktie")
        both = render(0, "val", index, flip=pair)
        glasses, tie = (render(0, "val", index, flip=(name,)) for name in pair)
        assert np.array_equal(both[:44], glasses[:44]) and np.array_equal(both[44:], tie[44:])
        assert np.array_equal(both, render(0, "val", index, flip=[*pair[::-1], pair[0]]))
        assert np.array_equal(image, render(0, "val", index, flip=set()))


def test_negating_twice_is_the_face_itself(sharp):
    index, image = sharp[0]
    has = attributes_of(0, "val", index)
    for name in ATTRIBUTES:
        once = has ^ np.isin(ATTRIBUTES, [name])
        person = Person(once ^ np.isin(ATTRIBUTES, [name]), "faces", faces.VERSION, 0, "val", index)
        assert np.array_equal(faces._developed(person, 64), image)


def test_every_mixture_can_be_drawn():
    for index in range(4):
        has = attributes_of(0, "val", index)
        for wanted in (False, True):
            image = render(0, "val", index, flip=[n for n in ATTRIBUTES if has[AT[n]] != wanted])
            assert image.std() > 2
        render(0, "val", index, flip=ATTRIBUTES)


def test_a_target_shows_with_noise(sharp):
    """The faces' own readings of a target overlap between those who have it and the others."""
    for name in TARGETS:
        spread = [Person(attributes_of(0, "val", i), "noise", i).tendency(name, 0.3)
                  - attributes_of(0, "val", i)[AT[name]] for i in range(300)]
        assert abs(np.mean(spread)) < 0.06 and 0.25 < np.std(spread) < 0.35


def test_blur_keeps_a_flat_picture_and_smooths_an_edge():
    flat = np.full((64, 64, 3), 77, np.uint8)
    assert np.array_equal(blurred(flat, 1.7), flat)
    edge = flat.copy()
    edge[:, 32:] = 200
    soft = blurred(edge, 1.5)[0, :, 0].astype(int)
    assert (np.diff(soft) >= 0).all() and np.diff(soft).max() < 45
    assert soft[0] == 77 and soft[-1] == 200
    assert np.array_equal(blurred(edge, 0.0), edge)


# the data set


def test_a_data_set_holds_its_faces(tmp_path):
    data = load("test", 6, root=tmp_path, workers=1)
    assert len(data) == 6 and data.images.shape == (6, 3, 64, 64)
    assert data.images.dtype == torch.uint8 and data.attributes.dtype == torch.bool
    assert data.names == ATTRIBUTES and len(set(data.ids)) == 6
    for i in (0, 5):
        key = parse_id(data.ids[i])
        assert key == (0, "test", i) and make_id(*key) == data.ids[i]
        assert np.array_equal(data.images[i].permute(1, 2, 0).numpy(), render(*key))
        assert np.array_equal(data.attributes[i].numpy(), attributes_of(*key))
    part = data.subset([4, 1])
    assert part.ids == [data.ids[4], data.ids[1]] and torch.equal(part.images[0], data.images[4])
    men = data.subset(data.attributes[:, AT["Male"]])
    assert men.attributes[:, AT["Male"]].all()


def test_faces_that_do_not_fit_together():
    images, attributes = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 40).bool()
    with pytest.raises(ValueError, match="ids: 1 entries for 2 images"):
        Faces(images, attributes, ["a"])
    with pytest.raises(ValueError, match="attributes: 1 entries"):
        Faces(images, attributes[:1], ["a", "b"])
    with pytest.raises(ValueError, match="39"):
        Faces(images, attributes[:, 1:], ["a", "b"])


def test_the_same_bytes_for_any_number_of_workers(tmp_path):
    for workers in (1, 2):
        load("val", 70, size=32, root=tmp_path / str(workers), workers=workers)
    one, two = (sorted((tmp_path / w).iterdir()) for w in "12")
    assert [p.name for p in one] == [p.name for p in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_a_cache_is_used_and_a_damaged_one_is_made_again(tmp_path, monkeypatch, capsys):
    first = load("val", 3, size=32, root=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(faces, "_render_all", lambda *a: pytest.fail("drawn again"))
        assert torch.equal(load("val", 3, size=32, root=tmp_path).images, first.images)
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 255
    path.write_bytes(data)
    again = load("val", 3, size=32, root=tmp_path)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.attributes, first.attributes)
    assert "set aside" in capsys.readouterr().err
    assert list(tmp_path.glob("*.damaged"))


@pytest.mark.parametrize("call, words", [
    (lambda root: render(0, "dev", 0), "train, val, test"),
    (lambda root: render(0, "train", 0, size=8), "from 32 to 512"),
    (lambda root: render(0, "train", -1), "index"),
    (lambda root: render(-1, "train", 0), "seed"),
    (lambda root: render(0, "train", 0, flip=["Smilling"]), "did you mean Smiling?"),
    (lambda root: render(0, "train", 0, flip="Smiling"), "flip"),
    (lambda root: attributes_of(0, "trian", 0), "did you mean train?"),
    (lambda root: load("dev", 4, root=root), "train, val, test"),
    (lambda root: load("train", 0, root=root), "count"),
    (lambda root: load("train", 4, size=1000, root=root), "size"),
    (lambda root: load("train", 4, workers=0, root=root), "workers"),
])
def test_bad_input_gets_one_line(call, words, tmp_path):
    with pytest.raises(InputError) as caught:
        call(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_animals_are_drawn_as_before_the_workers_were_shared():
    image, labels = animals.render("dog", 0, "train", 0, size=32)
    tensors = animals._render_all([("dog", 0, "train", 0)], 32, 1)
    assert np.array_equal(tensors["images"][0].permute(1, 2, 0).numpy(), image)
    assert np.array_equal(tensors["labels"][0].numpy(), labels)
