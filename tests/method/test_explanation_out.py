"""What comes out of an explanation: frames, JSON, files, figures, and the page as it is written."""

import base64
import io
import json
import pickle
import re
import struct
import sys
from decimal import Decimal

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant.names import write_names
from semquant.views import charts

matplotlib.use("agg")
B, n = 7, 20


def made(count=B, n=n, seed=0, dtype=torch.float32, **kept):
    generator = torch.Generator().manual_seed(seed)
    y, alpha = (torch.randn(count, n, generator=generator, dtype=dtype) for _ in range(2))
    yhat = (y * alpha).sum(1) + torch.randn(count, generator=generator, dtype=dtype) - 0.3
    return Explanation(yhat, y, alpha, kept.pop("bias", -0.3), **kept)


@pytest.fixture
def explanation():
    return made(names=[f"concept {i}" for i in range(n - 2)] + ["left-ear"] * 2)


# ---- frames and JSON ------------------------------------------------------------------------------


def test_a_frame_has_a_row_for_each_image_and_concept(explanation):
    frame = explanation.to_frame()
    assert list(frame) == ["image", "index", "concept", "y", "alpha", "contribution", "score", "bias",
                           "residual"]
    assert len(frame) == B * n
    for k in (0, 3, B - 1):
        for i in (0, n - 1):
            (row,) = frame[(frame.image == k) & (frame["index"] == i)].itertuples()
            assert row.concept == explanation.names[i] and row.y == float(explanation.y[k, i])
            assert row.alpha == float(explanation.alpha[k, i])
            assert row.contribution == float(explanation.contributions[k, i])
    each = frame.groupby("image")
    total = each.contribution.sum() + each.bias.first() + each.residual.first()
    assert np.allclose(total, explanation.yhat, atol=1e-5)
    assert np.allclose(each.score.first(), explanation.yhat)


def test_a_missing_package_is_named(explanation, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"^to_frame: package pandas is not installed \(pip install pandas"):
        explanation.to_frame()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_json_gives_back_the_same_numbers(tmp_path, dtype):
    explanation = made(dtype=dtype, names=["Ohr ä </script>"] + ["x"] * (n - 1))
    text = explanation.to_json(tmp_path / "e.json")
    assert (tmp_path / "e.json").read_text() == text + "\n"
    back = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert back["names"] == explanation.names and back["bias"] == explanation.bias
    for key, wanted in {"y": explanation.y, "alpha": explanation.alpha, "score": explanation.yhat,
                        "contributions": explanation.contributions, "explained": explanation.total,
                        "residual": explanation.residual}.items():
        found = torch.tensor([one[key] for one in back["images"]], dtype=torch.float64).to(dtype)
        assert torch.equal(found, wanted), key
    if dtype == torch.float32:
        assert max(map(len, re.findall(r"-?\d+\.\d+", text.partition('"images"')[2]))) <= 13


def test_json_has_no_word_for_nan(explanation, tmp_path):
    explanation.y[1, 2] = torch.nan
    for write in (explanation.to_json, explanation.save_html):
        with pytest.raises(InputError, match="^y: 1 of 140 values are NaN or infinite"):
            write(tmp_path / "out")
    assert not list(tmp_path.iterdir())


# ---- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_file_gives_back_every_bit(tmp_path, dtype):
    explanation = made(dtype=dtype, bias=0.1 + 1e-16, names=[f"ä {i}" for i in range(n)])
    explanation.save(tmp_path / "e.safetensors")
    back = Explanation.load(tmp_path / "e.safetensors")
    assert back.names == explanation.names and back.bias == explanation.bias
    for field in ("yhat", "y", "alpha"):
        found, wanted = getattr(back, field), getattr(explanation, field)
        assert found.dtype == wanted.dtype and torch.equal(found, wanted)
    explanation[::2].save(tmp_path / "part.safetensors")  # not contiguous
    assert torch.equal(Explanation.load(tmp_path / "part.safetensors").y, explanation.y[::2])
    first = (tmp_path / "e.safetensors").read_bytes()
    explanation.save(tmp_path / "e.safetensors")
    assert (tmp_path / "e.safetensors").read_bytes() == first


def test_every_flipped_bit_is_noticed(tmp_path):
    explanation, path = made(2, 3, names=["a", "b", "c"]), tmp_path / "e.safetensors"
    explanation.save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError) as error:
            Explanation.load(path)
        assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path, explanation):
    path = tmp_path / "e.safetensors"
    explanation.save(path)
    whole = path.read_bytes()
    called = []

    class Bad:
        def __reduce__(self):
            return called.append, (1,)

    gigantic = json.dumps({"y": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})
    long_header = struct.pack("<Q", 2**62) + b"{}"
    for content in (pickle.dumps(Bad()), b"", b"PK\x03\x04", whole[:-1], whole + b"\0", long_header,
                    struct.pack("<Q", len(gigantic)) + gigantic.encode()):
        path.write_bytes(content)
        with pytest.raises(InputError, match="holds no explanation, or is damaged") as error:
            Explanation.load(path)
        assert "\n" not in str(error.value)
    assert not called
    path.write_bytes(whole.replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(InputError, match="is damaged, its checksum is another"):
        Explanation.load(path)
    path.write_bytes(whole.replace(b"explanation 1", b"explanation 2"))
    with pytest.raises(InputError, match="is of the format 'semquant explanation 2', not"):
        Explanation.load(path)
    with pytest.raises(InputError, match="can't be read|holds no explanation"):
        Explanation.load(tmp_path / "none.safetensors")


def test_what_can_not_be_written_leaves_what_was_there(tmp_path, explanation, monkeypatch):
    path = tmp_path / "e.safetensors"
    explanation.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="can't be written .No space left on device"):
        made(3).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# ---- figures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 1e-3, 1e4])
@pytest.mark.parametrize("k", [0, B - 1])
def test_a_waterfall_goes_from_b_to_the_score_and_adds_up_as_printed(explanation, k, factor, tmp_path):
    explanation = Explanation(factor * explanation.yhat, explanation.y, factor * explanation.alpha,
                              factor * explanation.bias, explanation.names)
    figure = explanation.plot(k, top=5)
    figure.savefig(tmp_path / "a.png")
    (ax,) = figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    names = [reason.name for reason in explanation.top(5)[k]]
    assert labels == ["b, the same for all images", *names, "15 other concepts", "explained score",
                      "not explained", "network's score"]
    printed = [Decimal(text.get_text().replace("−", "-")) for text in ax.texts]
    assert sum(printed[:7]) == printed[7] and printed[7] + printed[8] == printed[9]
    unit = Decimal(1).scaleb(printed[9].as_tuple().exponent)
    for found, value in ((printed[0], explanation.bias), (printed[7], explanation.total[k]),
                         (printed[9], explanation.yhat[k])):
        assert abs(found - Decimal(float(value))) <= unit
    # each bar begins where the last ended
    bars, at = ax.patches, 0.0
    for place, bar in enumerate(bars):
        start = 0 if place in (7, 9) else at
        assert bar.get_x() == pytest.approx(start, abs=1e-5 * factor)
        at = start + bar.get_width()
    assert at == pytest.approx(float(explanation.yhat[k]), rel=1e-5)
    for bar, value in zip(bars[1:7], printed[1:7]):
        assert bar.get_facecolor()[:3] == to_rgb(charts.PLUS if value >= 0 else charts.MINUS)


def test_a_picture_stands_beside_it_with_what_can_not_be_shown(explanation, tmp_path):
    images = torch.rand(B, 3, 9, 9)
    for given, undo, said in ((images, None, "image 2"), (images[2], None, "image 2"),
                              (images * 4 - 2, (2, 4), "image 2\nstretched to be seen"),
                              (images * 4 - 2, (0.5, 0.25), "image 2")):
        figure = explanation.plot(2, given, undo)
        figure.savefig(tmp_path / "a.png")
        beside = figure.axes[0]
        assert beside.get_xlabel() == said
    assert np.abs(beside.images[0].get_array() / 255 - images[2].permute(1, 2, 0).numpy()).max() < 0.003


def test_a_swarm_has_a_dot_for_each_image_the_most_important_on_top(tmp_path):
    explanation = made(50, names=[f"${i}^2$ <i>" for i in range(n)])
    figure = explanation.swarm(top=4)
    figure.savefig(tmp_path / "a.png")
    upper, lower = figure.axes[:2]
    order = explanation.contributions.abs().mean(0).argsort(descending=True)[:4].tolist()
    assert [t.get_text() for t in upper.get_yticklabels()] == [rf"\${i}^2\$ <i>" for i in order]
    assert upper.yaxis_inverted()
    for place, i in enumerate(order):
        dots = upper.collections[place]
        x, at = dots.get_offsets().T
        assert np.allclose(x, explanation.contributions[:, i]) and np.abs(at - place).max() < 0.5
        y = explanation.y[:, i]
        assert np.allclose(dots.get_array(), (y - y.min()) / (y.max() - y.min()), atol=1e-6)
    rest = [i for i in range(n) if i not in order]
    for place, wanted in enumerate((explanation.contributions[:, rest].sum(1), explanation.residual)):
        assert np.allclose(lower.collections[place].get_offsets()[:, 0], wanted, atol=1e-5)
    assert [t.get_text() for t in lower.get_yticklabels()] == ["the other 16, their sum", "not explained"]
    made(1, 1).swarm().savefig(tmp_path / "b.png")  # one of each


# ---- the page as it is written ------------------------------------------------------------------------


def data_of(path):
    text = path.read_text()
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found), text


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]), "<f4").reshape(packed["shape"])


def test_the_page_has_the_numbers_the_names_and_the_pictures(explanation, tmp_path):
    images = torch.rand(B, 3, 300, 200)
    explanation.names[0] = "</script><b>x</b><!--"
    path = explanation.save_html(tmp_path / "e.html", images, title="The <cat> score")
    data, text = data_of(path)
    for key, wanted in (("y", explanation.y), ("alpha", explanation.alpha), ("score", explanation.yhat)):
        assert np.array_equal(unpacked(data[key]), wanted.numpy())
    assert data["bias"] == explanation.bias and data["names"] == explanation.names
    assert data["notes"] == [] and "<title>The &lt;cat&gt; score</title>" in text
    assert text.count("</script") == 2 and "<b>x</b>" not in text
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    sizes = [Image.open(io.BytesIO(base64.b64decode(a.partition(",")[2]))).size for a in data["pictures"]]
    assert sizes == [(149, 224)] * B
    assert path.stat().st_size < 100_000 + B * 30_000


def test_many_images_are_counted_and_those_left_out_are_told(tmp_path):
    data, _ = data_of(made(130, 3).save_html(tmp_path / "e.html"))
    assert data["y"]["shape"] == [100, 3] and data["pictures"] is None
    assert data["notes"] == ["These are images 0 to 99 of 130: 30 were left out to keep the file small "
                             "(explanation[index].save_html(path) writes others)."]


def test_pictures_that_can_not_be_shown_are_told(explanation, tmp_path):
    images = torch.rand(B, 3, 20, 20) * 4 - 2
    (note,) = data_of(explanation.save_html(tmp_path / "e.html", images))[0]["notes"]
    said = r"Pictures: \d\d% of values lie outside 0 to 1: 7 of 7 pictures are stretched to be seen."
    assert re.fullmatch(said, note)
    assert data_of(explanation.save_html(tmp_path / "e.html", images, (0.5, 0.25)))[0]["notes"] == []


def test_names_of_a_page_may_come_from_elsewhere(explanation, tmp_path):
    path = write_names(tmp_path / "names.yml", {3: "eye", 4: "eye"})
    for names in (path, str(path), {3: "eye", 4: "eye"}):
        found = data_of(explanation.save_html(tmp_path / "e.html", names=names))[0]["names"]
        assert found[2:5] == ["filter 2", "eye (3)", "eye (4)"]
    with pytest.raises(InputError, match="^names: 2 names for 20"):
        explanation.save_html(tmp_path / "e.html", names=["a", "b"])


@pytest.mark.parametrize("call, said", [
    (lambda e, p: e.plot(B), f"^image_index: {B} is not a whole number from 0 to {B - 1}"),
    (lambda e, p: e.plot(0, top=0), "^top: 0"),
    (lambda e, p: e.plot(0, torch.rand(2, 3, 4, 4)), "^images: 2 don't fit an explanation of 7"),
    (lambda e, p: e.swarm(0), "^top: 0"),
    (lambda e, p: e[:0].swarm(), "^explanation: it is of no images"),
    (lambda e, p: e[:0].save_html(p), "^explanation: it is of no images"),
    (lambda e, p: e.save_html(p, torch.rand(2, 3, 4, 4)), "^images: 2 don't fit"),
    (lambda e, p: e.save_html(p / "no" / "e.html"), "can't be written .No such file"),
])
def test_bad_input_is_one_line(explanation, tmp_path, call, said):
    with pytest.raises(InputError, match=said) as error:
        call(explanation, tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
