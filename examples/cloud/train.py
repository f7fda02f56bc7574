"""Four processes train on handwritten digits and log to one bucket, while this one searches it.

    pip install 'padre-cloud[s3]' scikit-learn
    python examples/cloud/train.py s3://my-bucket/digits

No server runs: the processes know of each other only by what they find in the bucket. The URL may be that of any store
that takes several writers at once; credentials are taken from where the provider's own tools look.
"""

import subprocess
import sys
import time

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import padre_core as padre

EXPERIMENT = "cloud/digits-sgd"
WORKERS = 4
RUNS = 2
EPOCHS = 5
WHERE = 'status == "finished"'
ALPHAS = [10.0**-exponent for exponent in range(1, WORKERS * RUNS + 1)]


def main(url: str) -> None:
    """Makes the experiment, starts the workers, and searches until they are done."""
    with padre.open(url) as ws:
        ws.experiments.put(padre.Experiment(name="digits-sgd", project="cloud"))
        workers = [subprocess.Popen([sys.executable, __file__, url, str(number)]) for number in range(WORKERS)]
        while any(worker.poll() is None for worker in workers):
            print(f"{ws.runs.count(where=WHERE)} of {len(ALPHAS)} runs are done", flush=True)
            time.sleep(1)
        if any(worker.returncode for worker in workers):
            sys.exit("a worker failed")
        print(f"{ws.runs.count(where=WHERE)} of {len(ALPHAS)} runs are done; the best are:")
        for run in ws.runs.list(where=WHERE, order_by="-metrics.accuracy.last", limit=3):
            print(f"  alpha={run.parameters['alpha']:<8} accuracy={run.metrics['accuracy'].last:.3f}")


def work(url: str, number: int) -> None:
    """Trains with some of the parameters, a run for each."""
    data, target = load_digits(return_X_y=True)
    train, test, train_target, test_target = train_test_split(data / 16, target, random_state=7)
    with padre.open(url) as ws:
        for alpha in ALPHAS[number::WORKERS]:
            model = SGDClassifier(alpha=alpha, random_state=7)
            with ws.start_run(EXPERIMENT, parameters={"alpha": alpha, "worker": number}) as run:
                for epoch in range(EPOCHS):
                    model.partial_fit(train, train_target, classes=range(10))
                    run.log_metric("accuracy", model.score(test, test_target), step=epoch)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        work(sys.argv[1], int(sys.argv[2]))
