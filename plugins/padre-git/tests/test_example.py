"""The example that publishes the digits experiment."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "git" / "publish.py"


@pytest.mark.slow
def test_the_digits_experiment_is_published_and_read_in_a_plain_clone(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "published" in done.stdout
    trained, read = done.stdout.splitlines()[:-2], done.stdout.splitlines()[-1]
    assert read in trained
