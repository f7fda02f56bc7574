from pathlib import Path

import pytest

import padre_core as padre
from padre_core import plugins


def test_a_bare_path_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("a b", "./a b", tmp_path / "a b"):
        assert plugins.check_url(path) == (tmp_path / "a b").as_uri()
    assert plugins.check_url("~/lab") == (Path.home() / "lab").as_uri()


def test_a_url_stays_as_it_is():
    for url in ("file:///data/lab", "memory://x", "ssh://git@example.org/lab", "https://example.org/a?b=c"):
        assert plugins.check_url(url) == url


@pytest.mark.parametrize("url", ["", "a\nb", "a\x00b", "file:/data", "http://[::1", "mailto:ada"])
def test_a_malformed_url_is_refused(url):
    with pytest.raises(padre.InvalidObjectError):
        padre.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:hunter2@example.org/x", "s3://ada:hunter2@bucket", "https://hunter2@example.org",
        "https:/ada:hunter2@example.org", "https://ada:hunter2@[::1", "postgresql://ada:hunter2@db/x?y=z",
    ],
)  # fmt: skip
def test_a_secret_in_a_url_is_refused_and_never_repeated(url):
    with pytest.raises(padre.InvalidObjectError) as caught:
        padre.open(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_an_unknown_scheme_lists_what_is_installed():
    with pytest.raises(padre.PluginNotFoundError, match=r"installed are .*file://.*, memory://"):
        padre.open("gopher://x")


def test_without_the_file_plugin_its_name_is_said():
    with pytest.raises(padre.PluginNotFoundError):
        padre.open("/data/lab", deny_plugins=["padre-file"])


def test_the_file_plugin_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(plugins, "_discover", lambda: dict.fromkeys(plugins.GROUPS, ()))
    with pytest.raises(padre.PluginNotFoundError, match="pip install padre-file"):
        padre.open()


def test_an_unknown_durability_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(padre.InvalidObjectError, match="'power' or 'process'"):
        padre.open(tmp_path / "store", durability="none")
    assert not (tmp_path / "store").exists()


def test_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(padre.UnsupportedError, match="colour"):
        padre.open("memory://", colour="red")
