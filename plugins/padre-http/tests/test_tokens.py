from __future__ import annotations

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest

from padre_core.errors import AccessDeniedError, AuthenticationError, BackendError, InvalidObjectError, NotFoundError
from padre_http.origin import parse_origin
from padre_http.secret import Secret
from padre_http.tokens import Token, TokenFile, default_path, source_for
from padre_http.tokens.keep import FileKeep
from padre_http.tokens.sources import signed_out

LAB, OTHER = parse_origin("https://lab.example.org"), parse_origin("https://other.example.org")


@pytest.fixture
def file():
    return TokenFile(default_path())


def found(file, origin=LAB, **options):
    token = source_for(origin, **options, file=file).token()
    return None if token is None else token.secret.reveal()


def test_an_option_comes_first(file, monkeypatch, tmp_path):
    monkeypatch.setenv("PADRE_TOKEN", f"{LAB.url} padre_environment")
    FileKeep(file).save(LAB, Token(Secret("padre_kept")))
    path = tmp_path / "token"
    path.write_text("padre_file\n")
    path.chmod(0o600)
    assert found(file, token="padre_option", token_file=path) == "padre_option"
    assert found(file, token=lambda: Secret("padre_called")) == "padre_called"
    assert found(file, token_file=path) == "padre_file"
    assert found(file) == "padre_environment"
    monkeypatch.delenv("PADRE_TOKEN")
    assert found(file) == "padre_kept"


@pytest.mark.parametrize(
    ("token", "url", "lab", "other"),
    [
        ("padre_x", None, None, None),
        ("padre_x", "padre+https://lab.example.org", "padre_x", None),
        ("padre_x", "https://lab.example.org:443/", "padre_x", None),
        ("padre_x", "file:///data", None, None),
        ("https://lab.example.org padre_x", "padre+https://other.example.org", "padre_x", None),
        ("http://lab.example.org padre_x", None, None, None),
        ("a b padre_x", None, None, None),
    ],
)
def test_a_token_of_the_environment_goes_to_the_server_that_it_is_for(file, monkeypatch, token, url, lab, other):
    monkeypatch.setenv("PADRE_TOKEN", token)
    if url is not None:
        monkeypatch.setenv("PADRE_URL", url)
    assert (found(file), found(file, OTHER)) == (lab, other)


def test_who_is_not_signed_in_is_told_how_and_what_is_wrong_with_the_environment(monkeypatch):
    assert "padre login https://lab.example.org" in str(signed_out(LAB))
    monkeypatch.setenv("PADRE_TOKEN", "padre_x")
    assert "PADRE_URL" in str(signed_out(LAB))
    assert "padre_x" not in str(signed_out(LAB))
    assert isinstance(signed_out(LAB), AuthenticationError)


def test_a_callable_is_asked_again_when_its_token_was_refused(file):
    tokens = iter(["padre_1", "padre_2"])
    source = source_for(LAB, lambda: next(tokens), file=file)
    first = source.token().secret
    assert source.token().secret == first
    assert source.renew(first).secret.reveal() == "padre_2"
    assert source.renew(first).secret.reveal() == "padre_2"


def test_a_token_file_is_read_again_when_it_changes(file, tmp_path):
    path = tmp_path / "token"
    path.write_text("padre_1")
    path.chmod(0o600)
    source = source_for(LAB, token_file=path, file=file)
    assert source.token().secret.reveal() == "padre_1"
    path.write_text("padre_22")
    assert source.token().secret.reveal() == "padre_22"
    path.unlink()
    with pytest.raises(NotFoundError):
        source.token()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused(file, tmp_path, mode):
    path = tmp_path / "token"
    path.write_text("padre_secret")
    path.chmod(mode)
    with pytest.raises(AccessDeniedError) as caught:
        source_for(LAB, token_file=path, file=file).token()
    assert "padre_secret" not in str(caught.value)


def test_what_is_no_regular_file_is_no_token(file, tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(BackendError):
        source_for(LAB, token_file=tmp_path / "pipe", file=file).token()


@pytest.mark.parametrize("text", ["", " ", "two words", "padre_\r\nX: y", "naïve", "x" * 5000])
def test_what_cannot_stand_in_a_header_is_no_token(file, text):
    with pytest.raises(InvalidObjectError):
        source_for(LAB, text, file=file)


def test_kept_tokens_are_for_one_server_each_and_for_nobody_else_to_read(file):
    keep = FileKeep(file)
    later = datetime.now(UTC).replace(microsecond=5) + timedelta(hours=1)
    keep.save(LAB, Token(Secret("padre_lab"), later))
    keep.save(OTHER, Token(Secret("padre_other")))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert keep.load(LAB).renew_at == later
    assert (found(file), found(file, OTHER)) == ("padre_lab", "padre_other")
    keep.forget(LAB)
    assert (found(file), found(file, OTHER)) == (None, "padre_other")


def test_what_another_process_keeps_is_seen_at_once(file):
    FileKeep(file).save(LAB, Token(Secret("padre_1")))
    source = source_for(LAB, file=file)
    FileKeep(TokenFile(file.path)).save(LAB, Token(Secret("padre_2")))
    assert source.token().secret.reveal() == "padre_2"


def test_many_may_keep_tokens_at_once(file):
    origins = [parse_origin(f"https://lab{number}.example.org") for number in range(20)]
    threads = [
        threading.Thread(target=FileKeep(TokenFile(file.path)).save, args=(origin, Token(Secret(f"padre_{place}"))))
        for place, origin in enumerate(origins)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(file.path.read_text())) == 20
    assert os.listdir(file.path.parent).count(file.path.name) == 1


def test_a_damaged_file_says_what_to_do(file):
    file.path.parent.mkdir(parents=True)
    file.path.write_text("{")
    file.path.chmod(0o600)
    with pytest.raises(BackendError, match="padre login"):
        file.read()


def test_a_token_is_exchanged_long_before_it_ends_if_it_is_this_clients_own():
    secret, now = Secret("padre_x"), datetime.now(UTC)
    assert not Token(secret).due
    assert not Token.of_session(secret, None).due
    session = Token.of_session(secret, now + timedelta(hours=10))
    assert not session.due
    assert timedelta(hours=5) < session.renew_at - now < timedelta(hours=7)
    assert Token.of_session(secret, now - timedelta(hours=1)).due
