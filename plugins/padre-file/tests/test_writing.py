import pytest

from padre_core.streams import filesystems
from padre_file import FileStore


@pytest.fixture
def store(tmp_path):
    store = FileStore(str(tmp_path / "store"))
    yield store
    store.close()


@pytest.fixture
def sent(monkeypatch):
    """The sizes of the files that were sent on their way to the disk before a sync."""
    sizes = []

    def start_writing(fd, offset, size):
        sizes.append(size)
        filesystems.start_writing(fd, offset, size)

    monkeypatch.setattr("padre_file.store.start_writing", start_writing)
    return sizes


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 256 * 1024, 300_000])
def test_pieces_of_any_size_come_into_a_file_in_their_order(store, size):
    pieces = [b"first", *(bytes([number]) * size for number in range(12)), memoryview(b"last")]
    list(store.write_folders([{"runs/a/points": pieces}]))
    assert store.read("runs/a/points").data == b"".join(pieces)


def test_a_large_file_of_a_store_that_is_synced_is_sent_ahead_to_the_disk(store, sent):
    store.durability = "power"
    list(store.write_folders([{"runs/a/points": [bytes(400_000)], "runs/a/run.json": [b"{}"]}]))
    assert sent == [400_000]
    store.sync()
    assert store.read("runs/a/points").data == bytes(400_000)


def test_a_file_of_a_store_that_is_never_synced_is_not_sent_ahead(store, sent):
    list(store.write_folders([{"runs/a/points": [bytes(400_000)]}]))
    assert sent == []
