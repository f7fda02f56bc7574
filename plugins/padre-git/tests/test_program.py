"""What the `git` program is told, and by whom."""

from padre_git.program import honoured

from .by_hand import bare

CONFIGURATION = """
[credential]
    helper = store
[http]
    proxy = http://proxy.example.org:3128
    sslVerify = false
[core]
    hooksPath = /tmp/hooks
[url "ext::touch pwned"]
    insteadOf = https://lab.example.org
"""


def test_of_the_users_configuration_only_how_to_sign_in_and_the_way_there_count(tmp_path, monkeypatch):
    file = tmp_path / "gitconfig"
    file.write_text(CONFIGURATION)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    found = honoured(bare(tmp_path / "lab.git"))
    assert found == [("credential.helper", "store"), ("http.proxy", "http://proxy.example.org:3128")]


def test_what_a_repository_says_itself_does_not_count(tmp_path):
    repository = bare(tmp_path / "lab.git")
    with (repository / "config").open("a") as file:
        file.write(CONFIGURATION)
    assert honoured(repository) == []
