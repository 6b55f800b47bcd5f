"""Images from any source give the same batches as the tensor that they make."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision.transforms.v2 import functional

from semquant import images as images_module
from semquant.checks import InputError
from semquant.images import Images, image_batches, input_by

BYTES = torch.randint(0, 256, (7, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FLOATS = BYTES.float() / 7
LAST = BYTES.permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
PICTURES = [Image.fromarray(a) for a in LAST]
LABELS = torch.arange(7)


class Items(Dataset):
    """Items of any kind, by number."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if i >= len(self):
            raise AssertionError("asked beyond the end")
        return self.items[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(FLOATS)


class Batches:
    """A loader of one's own, that can be read again."""

    def __init__(self, change):
        self.change = change

    def __iter__(self):
        return (self.change(some, labels) for some, labels in zip(FLOATS.split(3), LABELS.split(3)))


def whole(source, batch_size=3, **options):
    return torch.cat(list(Images(source, **options).batches(batch_size)))


@pytest.mark.parametrize("source", [
    FLOATS, list(FLOATS), tuple(FLOATS.split(2)), list(FLOATS.numpy()), FLOATS.numpy(),
    FLOATS.double().numpy(), FLOATS.permute(0, 2, 3, 1).numpy(), FLOATS.numpy()[::-1][::-1],
    list(FLOATS.permute(0, 2, 3, 1).numpy()), {"image": FLOATS, "label": LABELS},
    TensorDataset(FLOATS, LABELS), Items(list(zip(FLOATS, LABELS))), Stream(),
    Items([{"pixel_values": one[None], "labels": 3} for one in FLOATS]), Items([[one] for one in FLOATS]),
    DataLoader(TensorDataset(FLOATS, LABELS), batch_size=4), DataLoader(FLOATS, batch_size=None),
    DataLoader(list(FLOATS), batch_size=2, collate_fn=list), DataLoader(Stream(), batch_size=2),
    Batches(lambda some, labels: some), Batches(lambda some, labels: {"images": some, "mask": some[:, :1]}),
    Batches(lambda some, labels: {"labels": labels, "x": some}),
    Batches(lambda some, labels: ((some, labels), labels)),
    Batches(lambda some, labels: ({"image": some}, labels)), Batches(lambda some, labels: [some, labels]),
    Batches(lambda some, labels: [some, some[:, 0], some[:, 1]]),
    Items([(one, 3, "a.png") for one in FLOATS]),
])
def test_every_source_gives_its_images_in_order(source):
    assert torch.equal(whole(source), FLOATS)
    assert whole(source, max_images=4).equal(FLOATS[:4])
    wide = whole(source, size=(6, 6), max_images=2)
    assert wide.shape == (2, 3, 6, 6)


@pytest.mark.parametrize("source", [BYTES, LAST, PICTURES, list(LAST), Items(list(zip(PICTURES, LABELS))),
                                    iter(PICTURES)])
def test_bytes_stay_bytes_until_they_are_an_input(source):
    found = whole(source)
    assert torch.equal(found, BYTES) and found.dtype == torch.uint8
    torch.testing.assert_close(input_by(None)(found), BYTES.float() / 255)
    assert input_by(lambda batch: batch.float() / 7)(found).equal(FLOATS)


def test_one_image_gets_a_batch_axis():
    for one in (FLOATS[0], FLOATS[0].numpy(), FLOATS[0].permute(1, 2, 0).numpy()):
        assert whole(one).equal(FLOATS[:1])
    assert whole(PICTURES[0]).equal(BYTES[:1])
    assert whole(LAST[0, :, :, 0]).equal(BYTES[:1, :1])  # grey
    assert list(image_batches(torch.zeros(5, 6, 8)))[0].shape == (5, 6, 8)  # left to `prepare`


def test_rows_and_batches_agree_and_are_computed_when_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", LAST)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for source in (mapped, PICTURES, Items(PICTURES)):
        rows = Images(source).rows()
        assert len(rows) == 7 and tuple(rows.shape) == tuple(BYTES.shape)
        assert rows[torch.tensor([5, 0])].equal(BYTES[[5, 0]]) and rows[0:0].shape == (0, 3, 12, 10)
    few = Images(Images(mapped).rows(), max_images=3).rows()
    assert len(few) == 3 and few[1:].equal(BYTES[1:3])
    assert Images(Batches(lambda some, labels: some)).rows() is None


def test_the_number_of_images_is_told_where_it_is_known():
    loader = DataLoader(TensorDataset(FLOATS), batch_size=2, shuffle=True)
    assert [Images(s).expected() for s in (FLOATS, PICTURES, list(FLOATS.split(2)), loader)] == [7] * 4
    assert Images(loader, max_images=5).expected() == 5
    assert Images(iter(FLOATS)).expected() is None
    assert Images(DataLoader(FLOATS, batch_sampler=[[0, 0], [1]])).expected() is None


def test_sizes_are_covered_in_proportion_and_cut_around_the_middle():
    sizes = [(12, 10), (20, 31), (9, 9)]
    varied = [torch.rand(3, *size) for size in sizes]
    found = whole(varied, size=8)
    for image, got in zip(varied, found, strict=True):
        h, w = image.shape[1:]
        scale = max(8 / h, 8 / w)
        scaled = functional.resize(image, [max(8, round(h * scale)), max(8, round(w * scale))])
        top, left = ((scaled.shape[i] - 8) / 2 for i in (1, 2))
        top, left = int(round(top)), int(round(left))
        assert torch.equal(got, scaled[:, top : top + 8, left : left + 8])
    assert whole(varied[:1], size=(5, 7)).shape == (1, 3, 5, 7)


def test_an_endless_loader_is_left_after_the_last_image():
    asked = []

    def endless():
        for i in itertools.count():
            asked.append(i)
            yield FLOATS[:2]

    assert len(whole(endless(), max_images=5)) == 5 and asked == [0, 1, 2]
    asked.clear()
    assert len(whole((batch[0] for batch in endless()), max_images=5, batch_size=3)) == 5
    assert len(asked) == 5


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name, picture in zip(("c.png", "b/a.png", "a.png"), PICTURES):
        picture.save(tmp_path / name)
    (tmp_path / ".hidden").write_text("nothing")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.txt").write_text("nothing")
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_names(folder):
    assert whole(folder).equal(BYTES[[2, 1, 0]]) and whole(str(folder)).equal(BYTES[[2, 1, 0]])
    assert whole(folder / "c.png").equal(BYTES[:1])
    assert whole([folder / "a.png", str(folder / "c.png")]).equal(BYTES[[2, 0]])


def test_files_become_rgb(tmp_path):
    grey = Image.fromarray(LAST[0, :, :, 0])
    for i, picture in enumerate((grey, PICTURES[1].convert("CMYK"), grey.convert("P"),
                                 PICTURES[0].convert("RGBA"))):
        picture.save(tmp_path / f"{i}.{'tif' if picture.mode == 'CMYK' else 'png'}")
    found = whole(tmp_path)
    assert found.shape == (4, 3, 12, 10) and found[0].equal(BYTES[0, :1].expand(3, -1, -1))
    assert found[3].equal(BYTES[0])
    assert whole([grey]).equal(BYTES[:1, :1]) and whole([PICTURES[0].convert("RGBA")]).equal(BYTES[:1])


def broken(folder):
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(data[: len(data) - 60])
    return folder


def deep(folder):
    Image.fromarray(np.zeros((12, 10), dtype=np.uint16)).save(folder / "deep.png")
    return folder


def with_text(folder):
    (folder / "notes.txt").write_text("no image")
    return folder


def of_two_sizes(folder):
    PICTURES[0].resize((6, 6)).save(folder / "small.png")
    return folder


@pytest.mark.parametrize("change, message", [
    (broken, r"^images: .*a\.png can't be read \("),
    (deep, r"^images: .*deep\.png has not 8 bits a channel \(PIL's mode I;16\)"),
    (with_text, r"^images: 1 of 4 files are no images: notes\.txt; accepted: images alone"),
    (of_two_sizes, r"^images: their sizes vary, \(3, 12, 10\) and \(3, 6, 6\).*Images\(source, size="),
    (lambda folder: folder / "nowhere", "^images: '.*nowhere' is neither a file nor a folder"),
    (lambda folder: folder / "b" / "none", "^images: '.*none' is neither"),
])
def test_files_that_are_no_images_are_one_line(folder, change, message):
    with pytest.raises(InputError, match=message) as error:
        whole(change(folder))
    assert "\n" not in str(error.value)


def no_pass():
    raise AssertionError("read before it was checked")
    yield


@pytest.mark.parametrize("call, message", [
    (lambda: Images(3), "^images: int is neither a tensor nor a loader"),
    (lambda: Images(None), "^images: NoneType is neither"),
    (lambda: whole([]), "^images: none were given"),
    (lambda: whole(iter([])), "^images: none were given"),
    (lambda: whole(FLOATS[:0]), "^images: none were given"),
    (lambda: whole([[]]), "^images: an empty list"),
    (lambda: Images(FLOATS, max_images=0), "^max_images: 0 is not a whole number of at least 1"),
    (lambda: Images(FLOATS, size=0), "^size: 0 is not"),
    (lambda: Images(FLOATS, size=(1, 2, 3)), r"^size: \(1, 2, 3\) is not a number or \(height, width\)"),
    (lambda: list(Images(no_pass()).batches(0)), "^batch_size: 0"),
    (lambda: Images(np.zeros((2, 3, 9, 3), "uint8")), r"^images: an array of .*, 9, 3\) doesn't"),
    (lambda: Images(np.zeros((2, 6, 9, 9), "uint8")), r"^images: an array of .*, 9, 9\) doesn't"),
    (lambda: Images(np.zeros((2, 3, 9, 9), "int64")), "^images: an array of int64; accepted: uint8"),
    (lambda: Images([FLOATS[0], 3]), "^images: item 1 is a int, not an image"),
    (lambda: Images((FLOATS, LABELS)), r"^images: item 1 is a Tensor of shape \(7,\), not"),
    (lambda: Images([FLOATS[0], FLOATS]), "^images: single images and batches are mixed"),
    (lambda: Images([FLOATS[0], FLOATS[0, :1]]), "^images: their sizes vary"),
    (lambda: Images([PICTURES[0], PICTURES[0].convert("L")]), r"^images: their .*\(1, 12, 10\)"),
    (lambda: whole([FLOATS[0], BYTES[0]]), "^images: bytes and floats are mixed"),
    (lambda: whole(iter([FLOATS[0], FLOATS])), "^images: single images and batches are mixed"),
    (lambda: whole(iter([FLOATS, FLOATS[:, :, 1:]])), "^images: their sizes vary"),
    (lambda: whole(iter([(FLOATS[0], FLOATS[1])])), "^images: which of 2 images side by.*key=0"),
    (lambda: whole(iter([{"a": FLOATS, "b": FLOATS}])), "^images: which entry of the dict.*one of a, b"),
    (lambda: whole(iter([{"a": FLOATS}]), key="c"), "^key: 'c' is not one of a"),
    (lambda: whole(iter([FLOATS]), key="c"), "^key: 'c' given, but the images come in no dict"),
    (lambda: Images(FLOATS, key="c"), "^key: 'c' given"),
    (lambda: whole(iter([(FLOATS, LABELS)]), key=2), "^key: 2 is no place in a tuple of 2"),
    (lambda: whole(Items([FLOATS])), r"^images: an item of shape \(7, 3, 12, 10\) is not one image"),
    (lambda: whole(Items([[FLOATS[0], FLOATS[1]]])), r"^images: an item of shape \(2, 3, 12"),
    (lambda: input_by("half"), "^prepare: str can't be called"),
    (lambda: input_by(lambda b: [b])(FLOATS), "^prepare: it makes list of "),
    (lambda: input_by(None)(FLOATS[0]), r"^images: shape \(3, 12, 10\) is not"),
    (lambda: input_by(None)(FLOATS.permute(0, 2, 3, 1)), r"^images: shape .*, 3\) has the channels l"),
])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_key_says_what_else_is_taken():
    source = Batches(lambda some, labels: (labels, {"a": some, "image": some + 1}))
    assert whole(iter([(LABELS, FLOATS)]), key=1).equal(FLOATS)
    assert whole(iter([{"image": FLOATS + 1, "a": FLOATS}]), key="a").equal(FLOATS)
    assert whole(({"image": item + 1, "a": (item, 3)} for item in FLOATS), key="a").equal(FLOATS)
    assert whole(source, key=1).equal(FLOATS + 1)
    assert whole([{"a": item, "b": 1} for item in PICTURES], key="a").equal(BYTES)


def test_progress_is_shown_when_it_is_asked_for(monkeypatch):
    bars = []

    class Bar(images_module.tqdm):
        def __init__(self, **options):
            bars.append(options)
            super().__init__(**options)

    monkeypatch.setattr(images_module, "tqdm", Bar)
    whole(FLOATS)
    whole(FLOATS, progress="birds")
    assert bars[0]["disable"] is True
    assert bars[1] == {"total": 7, "desc": "birds", "unit": "image", "disable": None}  # by tqdm
