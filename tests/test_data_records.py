"""Records and sentences by name, from tiny files in the right formats."""

import gzip
import io
import sys
import tarfile
import types

import pytest
import torch

from surefoot import data, models
from surefoot.data._text import make_vocabulary
from surefoot.errors import MissingExtraError, SurefootError


@pytest.fixture(autouse=True)
def no_root(tmp_path, monkeypatch):
    monkeypatch.delenv("SUREFOOT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# NSL-KDD


def row(duration, protocol, attack, flag="SF", service="http", **more):
    values = dict.fromkeys(range(41), "0")
    values |= {0: str(duration), 1: protocol, 2: service, 3: flag, 22: "5"}
    values |= {int(key[1:]): value for key, value in more.items()}
    return ",".join([*values.values(), attack, "21"])


TRAIN = [
    row(10, "tcp", "normal"),
    row(20, "udp", "neptune"),
    row(30, "tcp", "satan", flag="REJ"),
    row(50, "tcp", "rootkit"),
]
TEST = [
    row(20, "icmp", "normal"),
    row(90, "udp", "httptunnel"),
    row(0, "tcp", "saint"),
]


def write_records(folder, train=TRAIN, test=TEST, name="KDDTrain+.txt", pack=bytes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pack("\n".join(train).encode()))
    test_name = "KDDTest+.txt" + (".gz" if name.endswith(".gz") else "")
    (folder / test_name).write_bytes(pack("\n".join(test).encode()))
    return folder


def test_numbers_are_scaled_by_the_training_file(tmp_path):
    write_records(tmp_path / "NSL-KDD")
    train, test = (data.load("nsl-kdd", split, tmp_path) for split in ("train", "test"))
    assert train.inputs[:, 0].tolist() == [0, 0.25, 0.5, 1]
    assert test.inputs[:, 0].tolist() == [0.25, 1, 0]  # cut off where training ends
    constant = train.features.index("count")
    assert not train.inputs[:, constant].any()
    for found in (train, test):
        assert 0 <= found.inputs.min() <= found.inputs.max() <= 1
        assert found.bounds == (0, 1)


def test_text_becomes_one_feature_for_each_value(tmp_path):
    write_records(tmp_path)
    train, test = (data.load("nsl-kdd", split, tmp_path) for split in ("train", "test"))
    assert train.features == test.features
    assert len(train.features) == train.inputs.shape[1] == 38 + 2 + 1 + 2
    assert train.features[38:] == (
        "protocol_type=tcp",
        "protocol_type=udp",
        "service=http",
        "flag=REJ",
        "flag=SF",
    )
    assert train.inputs[2, 38:].tolist() == [1, 0, 1, 1, 0]
    assert test.inputs[0, 38:].tolist() == [0, 0, 1, 0, 1]  # icmp is not in training
    assert "difficulty" not in " ".join(train.features)


def test_attacks_are_one_class_or_four(tmp_path):
    write_records(tmp_path)
    train = data.load("nsl-kdd", "train", tmp_path)
    assert (train.labels.tolist(), train.classes) == ([0, 1, 1, 1], ("normal", "attack"))
    kinds = [data.load("nsl-kdd", s, tmp_path, labels="category") for s in ("train", "test")]
    assert kinds[0].classes == ("normal", "dos", "probe", "r2l", "u2r")
    assert [found.labels.tolist() for found in kinds] == [[0, 1, 2, 4], [0, 3, 2]]
    with pytest.raises(SurefootError, match=r"labels='multi', expected one of \['binary', 'categ"):
        data.load("nsl-kdd", "train", tmp_path, labels="multi")


def test_the_part_of_twenty_percent_is_named(tmp_path):
    write_records(tmp_path, name="KDDTrain+_20Percent.txt.gz", pack=gzip.compress)
    found = data.load("nsl-kdd", "test", tmp_path)
    assert found.name == "nsl-kdd/test (20 % to train)"
    write_records(tmp_path, TRAIN[:2])
    whole = data.load("nsl-kdd", "train", tmp_path)
    assert (whole.name, len(whole)) == ("nsl-kdd/train", 2)


def test_records_keep_their_features_when_taken(tmp_path):
    write_records(tmp_path)
    taken = data.load("nsl-kdd", "train", tmp_path).take([2, 1])
    assert isinstance(taken, data.Records)
    assert len(taken.features) == taken.inputs.shape[1]
    net = models.build("mlp", features=len(taken.features), classes=2, seed=0)
    assert net(taken.inputs).shape == (2, 2)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "is empty"),
        ([TRAIN[0], "1,2,3"], r"line 2: expected 41 features .* found 3 fields: 1,2,3"),
        ([TRAIN[0].replace("normal", "norml")], "line 1: .*the name of an attack"),
        ([row("x", "tcp", "normal")], "holds no number where one should be: .*'x'"),
    ],
)
def test_records_that_are_none(tmp_path, train, message):
    write_records(tmp_path, train)
    with pytest.raises(SurefootError, match=message):
        data.load("nsl-kdd", "train", tmp_path)


def test_damaged_and_missing_records(tmp_path):
    whole = gzip.compress("\n".join(TRAIN).encode())
    (tmp_path / "KDDTrain+.txt.gz").write_bytes(whole[:-9])
    with pytest.raises(SurefootError, match=r"cannot read .* fetch it again"):
        data.load("nsl-kdd", "train", tmp_path)
    (tmp_path / "KDDTrain+.txt.gz").write_bytes(whole)
    with pytest.raises(SurefootError, match=r"looked for KDDTest\+\.txt\(\.gz\)"):
        data.load("nsl-kdd", "test", tmp_path)


# Sentences


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A GOOD film.", "a good film ."),
        ("don't, won't", "do n't , wo n't"),
        ("they've she'll i'd we're i'm it's", "they 've she 'll i 'd we 're i 'm it 's"),
        ("jean-claud (1999)!", "jean - claud ( 1999 ) !"),
        ("rock 'n' roll", "rock ' n ' roll"),
        ("café naïve", "café naïve"),
        ("", ""),
        ("n't nt", "n't nt"),
    ],
)
def test_tokens(text, words):
    assert data.tokenise(text) == words.split()


def test_vocabularies_put_frequent_words_first():
    vocabulary = make_vocabulary(["b a c", "c b", "c"], min_count=2)
    assert vocabulary == ("<pad>", "<unknown>", "c", "b")


def write_polarity(folder, pack=bytes, after="", encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, word in (("neg", "bad"), ("pos", "fine")):
        lines = [f"a {word} café number {word}{n} " for n in range(20)]
        content = "\n".join(lines).encode(encoding) + b"\n"
        (folder / f"rt-polarity.{kind}{after}").write_bytes(pack(content))


@pytest.mark.parametrize(
    ("folder", "pack", "after", "encoding"),
    [
        ("rt-polaritydata", bytes, "", "latin-1"),
        (".", gzip.compress, ".gz", "utf-8"),
    ],
)
def test_sentences_come_back(tmp_path, folder, pack, after, encoding):
    write_polarity(tmp_path / folder, pack, after, encoding)
    train, test = (data.load("sentence-polarity", s, tmp_path) for s in ("train", "test"))
    assert (len(train), len(test)) == (36, 4)
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert train.classes == ("negative", "positive")
    assert train.words(0)[:4] == ["a", "bad", "café", "number"]
    assert train.vocabulary == test.vocabulary
    assert train.stored.dtype == torch.int64
    assert train.bounds is None
    assert train.stored.shape[1] == test.stored.shape[1] == 5
    assert test.words(0)[-1] == "<unknown>"  # its number is in no training sentence


def test_every_sentence_is_once_in_a_test(tmp_path):
    write_polarity(tmp_path)
    folds = [data.load("sentence-polarity", "test", tmp_path, fold=f, folds=4) for f in range(4)]
    assert [len(fold) for fold in folds] == [10] * 4
    # The words of all other folds are known, so each sentence is unknown in its number alone.
    assert folds[1].name == "sentence-polarity/test, fold 1 of 4"
    train = data.load("sentence-polarity", "train", tmp_path, fold=1, folds=4)
    numbers = {tuple(train.words(n)) for n in range(30)}
    assert len(numbers) == 30
    with pytest.raises(SurefootError, match="fold=4 of folds=4"):
        data.load("sentence-polarity", "test", tmp_path, fold=4, folds=4)


def test_length_and_rare_words(tmp_path):
    write_polarity(tmp_path)
    short = data.load("sentence-polarity", "train", tmp_path, length=2)
    assert short.stored.shape == (36, 2)
    rare = data.load("sentence-polarity", "train", tmp_path, min_count=3)
    assert set(rare.vocabulary) == {"<pad>", "<unknown>", "a", "bad", "fine", "café", "number"}
    tokens = rare.encode(["a fine mess", "bad " * 9])
    assert tokens.shape == (2, 5)
    assert (
        tokens[0].tolist()
        == [rare.vocabulary.index(w) for w in ("a", "fine", "<unknown>")] + [0] * 2
    )
    with pytest.raises(SurefootError, match="one string, expected a list"):
        rare.encode("a fine mess")


def test_a_network_learns_from_sentences_and_is_explained(tmp_path):
    write_polarity(tmp_path)
    train = data.load("sentence-polarity", "train", tmp_path)
    net = models.build("text-cnn", seed=0, vocabulary=len(train.vocabulary), dimension=8, filters=4)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(net(train.inputs), train.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    test = data.load("sentence-polarity", "test", tmp_path)
    assert (net.eval()(test.inputs).argmax(1) == test.labels).all()


def test_missing_sentences(tmp_path):
    (tmp_path / "rt-polarity.neg").write_text("bad")
    with pytest.raises(SurefootError, match=r"looked for rt-polarity\.neg\(\.gz\), .*To get it"):
        data.load("sentence-polarity", root=tmp_path)


VADER = "".join(f"{n}\t{r}\ta film number {n}\n" for n, r in enumerate([2.5, -0.6, 0.0, -3, 1] * 5))


@pytest.mark.parametrize("packed", [False, True])
def test_rated_sentences(tmp_path, packed):
    name, content = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", VADER.encode()
    if packed:
        with tarfile.open(tmp_path / "hutto_ICWSM_2014.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    else:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    parts = [data.load("vader-movies", s, tmp_path, folds=5) for s in ("train", "test")]
    assert [part.labels.bincount().tolist() for part in parts] == [[8, 8], [2, 2]]
    for part in parts:
        for number, label in enumerate(part.labels.tolist()):
            word = part.words(number)[-1]
            assert word == "<unknown>" or label == int(int(word) % 5 in (0, 4))


def test_damaged_ratings(tmp_path):
    (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_text("1\tgood\ta film\n")
    with pytest.raises(SurefootError, match="is damaged: could not convert string to float"):
        data.load("vader-movies", root=tmp_path)
    (tmp_path / "movieReviewSnippets_GroundTruth.txt").unlink()
    (tmp_path / "hutto_ICWSM_2014.tar.gz").write_bytes(b"junk")
    with pytest.raises(SurefootError, match="cannot read"):
        data.load("vader-movies", root=tmp_path)


# Hugging Face


class Image:
    dtype = "PIL.Image.Image"


class ClassLabel:
    dtype = "int64"

    def __init__(self, names):
        self.names = names


class Value:
    def __init__(self, dtype):
        self.dtype = dtype


class Rows:
    def __init__(self, features, **columns):
        self.features, self.columns = features, columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}


@pytest.fixture
def hub(monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    kinds = ClassLabel(["no", "yes"])
    text = {"text": Value("string"), "label": kinds}
    sets = {
        ("reviews", "train"): Rows(text, text=["a bad film", "fine"], label=[0, 1]),
        ("reviews", "test"): Rows(text, text=["a fine film , long"], label=[1]),
        ("digits", "train"): Rows(
            {"image": Image(), "label": kinds},
            image=[pillow.new("L", (9, 6), 255 * n) for n in range(2)],
            label=[0, 1],
        ),
        ("pairs", "train"): Rows(
            {"a": Value("string"), "b": Value("string"), "score": Value("int64")},
            a=["x", "y"],
            b=["v w", "w"],
            score=[0, 2],
        ),
        ("rated", "train"): Rows(
            {"a": Value("string"), "score": Value("float")}, a=["x"], score=[0.5]
        ),
    }

    def load_dataset(name, config, split, cache_dir):
        if (name, split) not in sets:
            raise ConnectionError(f"cannot reach the hub for {name}")
        return sets[name, split]

    package = types.ModuleType("datasets")
    package.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", package)


def test_texts_of_the_hub(hub):
    test = data.load("hf:reviews", "test")
    assert test.classes == ("no", "yes")
    assert test.words(0) == ["a", "fine", "film"]  # as long as training's longest
    assert data.load("hf:reviews", "test", length=5).words(0)[3:] == ["<unknown>", "<unknown>"]
    assert data.load("hf:reviews").vocabulary == test.vocabulary


def test_images_of_the_hub(hub):
    found = data.load("hf:digits")
    assert found.classes == ("no", "yes")
    assert torch.equal(found[1][0], torch.ones(3, 6, 6))
    assert data.load("hf:digits", size=4, channels=1).samples().stored.shape == (2, 1, 4, 4)


def test_columns_can_be_named(hub):
    found = data.load("hf:pairs", input="b", label="score")
    assert found.classes == ("0", "1", "2")
    assert found.words(0) == ["v", "w"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:absent", {}, r"could not load absent \(train\): ConnectionError: cannot reach"),
        ("hf:pairs", {}, r"has 0 columns of ClassLabel among \['a', 'b', 'score'\]; .*label="),
        ("hf:pairs", {"label": "score"}, "has 2 columns of string .*input="),
        ("hf:pairs", {"label": "c"}, "'c' is not among the columns"),
        ("hf:rated", {"label": "score"}, r"label='score' holds \[0\.5\], expected classes"),
        ("hf:pairs", {"input": "c", "label": "score"}, "'c' is not among the columns"),
    ],
)
def test_what_the_hub_does_not_have(hub, name, options, message):
    with pytest.raises(SurefootError, match=message):
        data.load(name, **options)


def test_the_hubs_library_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "surefoot\[datasets\]"'):
        data.load("hf:mnist")


def test_real_datasets_reads_a_local_folder(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    pillow = pytest.importorskip("PIL.Image")
    for kind, shade in (("dark", 10), ("light", 250)):
        (tmp_path / "set" / "train" / kind).mkdir(parents=True)
        for number in range(2):
            path = tmp_path / "set" / "train" / kind / f"{number}.png"
            pillow.new("RGB", (9, 8), (shade,) * 3).save(path)
    found = data.load(f"hf:{tmp_path / 'set'}", "train", tmp_path / "cache")
    assert found.classes == ("dark", "light")
    samples = found.samples()
    assert samples.stored.shape == (4, 3, 8, 8)
    assert samples.stored[:, 0, 0, 0].tolist() == [(10, 250)[label] for label in samples.labels]
