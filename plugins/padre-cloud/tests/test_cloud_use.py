"""Whole uses of a store in a bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from emulators import s3_options

import padre_core as padre

sys.path.append(str(Path(__file__).parents[2] / "padre-http" / "tests"))

from http_proxy import Proxy

EXAMPLE = Path(__file__).parents[3] / "examples" / "cloud" / "train.py"


@pytest.mark.slow
def test_four_processes_train_into_one_bucket_while_a_fifth_searches_it(ministack):
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    env |= {"AWS_ENDPOINT_URL": ministack.options["endpoint_url"]}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), ministack.fresh()],
        env=os.environ | env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = [int(count) for count in re.findall(r"^(\d+) of 8 runs are done", done.stdout, re.MULTILINE)]
    assert counts == sorted(counts)
    assert counts[-1] == 8
    assert len(re.findall(r"alpha=\S+ +accuracy=0\.9\d\d", done.stdout)) == 3


def test_small_files_are_sent_side_by_side_and_each_once(ministack, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        (folder / f"file-{number}.txt").write_text(f"text {number % 20}")
    proxy = Proxy(ministack.options["endpoint_url"])
    with padre.open(ministack.fresh(), **s3_options(proxy.url)) as ws, ws.start_run() as run:
        proxy.requests.clear()
        artifacts = run.log_artifacts(folder)
        sent = [line for line in proxy.requests if any(artifact.digest in line for artifact in artifacts)]
        assert len(sent) == 20
        assert {line.split()[0] for line in sent} == {"PUT"}
        for artifact in artifacts:
            assert ws.artifacts.read(artifact) == (folder / artifact.path).read_bytes()
    proxy.close()
