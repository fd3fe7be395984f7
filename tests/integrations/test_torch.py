"""Datasets of PyTorch without what is not to be trained on, read by real DataLoaders."""

import io
import pickle

import numpy as np
import pytest
from collected import KEY, MARKED, TRAINABLE, UNMARKED, collection
from PIL import Image

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info  # noqa: E402

from fastmark.errors import IntegrationError, InvalidImageError, KeyFormatError  # noqa: E402
from fastmark.integrations.torch import kept  # noqa: E402

FINE = [name for name in collection() if name != "broken"]


class Indexed(Dataset):
    """Samples by index: name and image."""

    def __init__(self, names, of=bytes):
        self.names, self.of = names, of

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        return {"name": self.names[i], "image": self.of(collection()[self.names[i]])}


class Streamed(IterableDataset):
    """Samples in a row, which workers share out among them."""

    def __init__(self, names):
        self.names = names

    def __iter__(self):
        worker = get_worker_info()
        mine = self.names[worker.id :: worker.num_workers] if worker else self.names
        for name in mine:
            yield name, collection()[name]


def whole(samples):
    return list(samples)


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_a_loader_gets_what_is_kept(context):
    workers = {} if context is None else {"num_workers": 2, "multiprocessing_context": context}
    for dataset, image in ((Indexed(list(collection())), "image"), (Streamed(list(collection())), 1)):
        filtered = kept(dataset, "trainable", KEY, image=image)
        assert isinstance(filtered, IterableDataset)
        names = []
        for batch in DataLoader(filtered, batch_size=2, collate_fn=whole, **workers):
            names += [sample["name"] if image == "image" else sample[0] for sample in batch]
        assert sorted(names) == sorted(TRAINABLE)
        assert workers or names == TRAINABLE  # in order


def test_every_rule():
    dataset = Indexed(list(collection()))
    for options, wanted in (
        ({"what": "unmarked", "keys": KEY}, UNMARKED),
        ({"what": "marked", "keys": KEY}, MARKED),
        ({"errors": "keep"}, ["ours", *TRAINABLE, "broken"]),
        ({"what": "marked", "keys": KEY, "public": False}, ["ours"]),
        ({"drop": ["captured"]}, ["ours", "made", "mine", "art", "plain"]),
    ):
        assert [sample["name"] for sample in kept(dataset, image="image", **options)] == wanted
    with pytest.raises(InvalidImageError, match="cut short"):
        list(kept(dataset, image="image", errors="raise"))


def as_picture(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def as_tensor(data):
    return torch.from_numpy(np.array(as_picture(data))).permute(2, 0, 1)


def as_floats(data):
    return as_tensor(data).to(torch.float32) / 255


def as_field(data):
    return {"bytes": data, "path": None}


@pytest.mark.parametrize("of", [as_picture, as_tensor, as_floats, as_field, bytearray])
def test_kinds_of_images(of):
    found = kept(Indexed(FINE, of), "marked", KEY, image="image")
    assert [sample["name"] for sample in found] == MARKED


def test_samples_that_are_images_themselves(tmp_path):
    paths = []
    for name in collection():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(collection()[name])
    assert [path.name for path in kept(paths, keys=KEY)] == TRAINABLE
    assert [path.name for path in kept(iter(paths), keys=KEY)] == TRAINABLE


@pytest.mark.parametrize("streamed", [True, False])
def test_datasets_of_hugging_face(streamed):
    datasets = pytest.importorskip("datasets")
    values = [{"bytes": data, "path": None} for data in collection().values()]
    made = datasets.Dataset.from_dict({"name": list(collection()), "image": values})
    made = made.cast_column("image", datasets.Image(decode=False))
    if streamed:
        made = made.to_iterable_dataset(num_shards=2)
    filtered = kept(made, "trainable", KEY, image="image")
    loader = DataLoader(filtered, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert sorted(sample["name"] for sample in loader) == sorted(TRAINABLE)


def test_normalised_tensors_are_errors_that_do_not_pass():
    scaled = Indexed(["plain"], lambda data: as_floats(data) * 4 - 2)
    assert list(kept(scaled, image="image")) == []
    with pytest.raises(InvalidImageError, match=r"must lie in 0\.\.1"):
        list(kept(scaled, image="image", errors="raise"))


def test_what_is_refused():
    with pytest.raises(KeyFormatError, match="nothing to look for"):
        kept([], public=False)
    with pytest.raises(TypeError, match="is no dataset"):
        kept(7)
    with pytest.raises(ValueError, match="must be one of"):
        kept([], "mine")
    for image, says in ((None, "name its image with image="), ("jpg", "no 'jpg'"), (3, "no 3")):
        with pytest.raises(IntegrationError, match=says):
            list(kept(Indexed(["plain"]), image=image))
    with pytest.raises(IntegrationError, match="name its image"):
        list(kept(Streamed(["plain"]), image=5))


def test_pickles_do_the_same():
    copy = pickle.loads(pickle.dumps(kept(Indexed(FINE), "marked", KEY, image="image")))
    assert [sample["name"] for sample in copy] == MARKED
