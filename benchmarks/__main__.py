"""`python -m benchmarks`: measure, print what came of each goal, and write the results down."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report, now
from benchmarks.runner import Result, Runner, load
from benchmarks.subjects import select
from benchmarks.venvs import ROOT, Venvs
from benchmarks.workloads import WORKLOADS

CACHE = ROOT / ".benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="PaDRe beside other trackers.")
    parser.add_argument("--quick", action="store_true", help="little work, once: shows that all of it runs")
    parser.add_argument("--only", metavar="WORKLOAD", action="append", choices=[w.key for w in WORKLOADS])
    parser.add_argument("--subjects", metavar="A,B", help="only these; `padre` means all of its variants")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=5, help="seconds for a workload of a slow tracker")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where environments are kept between runs")
    parser.add_argument("--folder", type=Path, help="where stores are made: the disk to measure; default: the cache")
    parser.add_argument("--keep", action="store_true", help="leave the stores for a look at them")
    parser.add_argument("--json", type=Path, help="where results go; default: results.json in the cache")
    parser.add_argument(
        "--also", type=Path, metavar="JSON", help="report these results of an earlier part of the work too"
    )
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    return parser.parse_args()


def main() -> None:
    """Measure all that was asked for."""
    options = arguments()
    subjects = select(options.subjects)
    workloads = [w.sized(quick=options.quick) for w in WORKLOADS if not options.only or w.key in options.only]
    venvs = Venvs(options.cache / "venvs")
    for name in dict.fromkeys(entry.venv for entry in subjects):
        venvs.make(name)
    parent = options.folder or options.cache
    root = Path(tempfile.mkdtemp(prefix="stores-", dir=parent))
    runner = Runner(root, venvs, budget=options.budget, rounds=1 if options.quick else options.rounds)
    results: list[Result] = []
    try:
        for workload in workloads:
            for result in runner.measure(workload, subjects):
                results.append(result)
                show(result)
    finally:
        if not options.keep:
            shutil.rmtree(root)
    measured = {(result.workload, result.subject) for result in results}
    before = load(options.also) if options.also else []
    results = [*(result for result in before if (result.workload, result.subject) not in measured), *results]
    shown = {result.workload for result in results}
    report = Report(
        command=command(options),
        rounds=runner.rounds,
        workloads=[w.sized(quick=options.quick) for w in WORKLOADS if w.key in shown],
        subjects=subjects,
        versions={e.name: venvs.version(e.venv, e.distribution) for e in subjects if e.distribution},
        results=results,
        taken=now(),
    )
    (options.json or options.cache / "results.json").write_text(report.json())
    if options.write_docs:
        report.write_into(PAGE)
    for line in report.verdicts():
        if line.reached:
            print(f"{line.verdict:12}  {line.work}: {line.goal}; reached {line.reached}")


def command(options: argparse.Namespace) -> str:
    """What measures the same again, wherever."""
    words = ["python -m benchmarks", *(["--quick"] if options.quick else [])]
    words += [f"--only {key}" for key in options.only or ()]
    words += [f"--subjects {options.subjects}"] if options.subjects else []
    words += [f"--rounds {options.rounds} --budget {options.budget:g}"]
    words += [f"--also {options.also.name}"] if options.also else []
    return " ".join(words)


def show(result: Result) -> None:
    """One line on the way, for those who wait."""
    figures = ", ".join(f"{name} {figure.value:.4g}" for name, figure in result.figures.items())
    error = result.error and f"failed: {result.error.splitlines()[-1]}"
    print(f"{result.workload:14} {result.subject:16} {error or figures or '–'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
