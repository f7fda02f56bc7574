import json


def test_a_remote_is_added_listed_and_forgotten(command):
    assert command("init", "lab").code == 0
    assert command("remote", "add", "team", "padre+https://lab.example.org").code == 0
    assert command("remote", "add", "nas", "file:///nas/lab", "--policy", "manual", "--default").code == 0
    listed = json.loads(command("remote", "list", "--json").out)
    assert [(item["name"], item["url"], item["policy"], item["default"]) for item in listed] == [
        ("team", "padre+https://lab.example.org", "auto", False),
        ("nas", "file:///nas/lab", "manual", True),
    ]
    removed = json.loads(command("remote", "rm", "team", "--json").out)
    assert (removed["remote"], removed["file"].endswith("padre.toml")) == ("team", True)
    assert command("remote", "list").out.splitlines()[1:] == ["nas   file:///nas/lab  manual  yes"]


def test_a_remote_that_is_not_there_cannot_be_forgotten(command):
    result = command("remote", "rm", "team", "--store", "memory://x")
    assert result.code == 3
    assert "no remote 'team'" in result.err


def test_a_remote_that_no_plugin_opens_is_refused_and_not_noted(command):
    command("init", "lab")
    result = command("remote", "add", "team", "nowhere://lab")
    assert result.code == 8
    assert "no installed plugin serves nowhere://" in result.err
    assert command("remote", "list").out == ""
