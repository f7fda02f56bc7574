"""The shortest training script: `python -P starter.py module:class folder load|start`.

Timed from outside, from the start of the interpreter to its end, so it imports next to nothing of its own.
"""

import sys
from importlib import import_module
from pathlib import Path


def main(target: str, folder: str, work: str) -> None:
    """Import a tracker; then, to `start`, open a new store and create and finish one run."""
    # Last, so that what is installed is measured and not what lies in the tree.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    module, name = target.split(":")
    subject = getattr(import_module(f"benchmarks.subjects.{module}"), name)(Path(folder))
    if work == "start":
        subject.open()
        subject.run({"C": 1.0}, {"team": "vision"}, lambda run: None)
        subject.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
