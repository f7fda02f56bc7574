"""Trains classifiers on handwritten digits with cross-validation, and stores all about it in ./padre-store."""

import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.preprocessing import StandardScaler

import padre_core as padre

SEED = 7
FOLDS = 3
EPOCHS = 8
GRID = {"alpha": [1e-4, 1e-2], "penalty": ["l2", "l1"]}

logger = logging.getLogger("quickstart")


def main() -> None:
    """Runs the experiment: a run for each point of the grid."""
    logger.setLevel(logging.INFO)
    digits = load_digits()
    with padre.open() as workspace:
        dataset = put_dataset(workspace, digits)
        experiment = workspace.experiments.put(
            padre.Experiment(
                name="digits-sgd",
                project="quickstart",
                title="Linear classifiers on handwritten digits",
                pipeline=["scale", "classify", "evaluate"],
                datasets=(dataset.reference(),),
                seed=SEED,
                configuration={"folds": FOLDS, "epochs": EPOCHS},
                hyperparameters=GRID,
                domain={"task": "classification", "target": "digit"},
            )
        )
        for parameters in ParameterGrid(GRID):
            with workspace.start_run(experiment, parameters=parameters, tags={"example": "quickstart"}) as run:
                handler = padre.RunHandler(run)
                logger.addHandler(handler)
                accuracy = train(run, dataset, digits.data, digits.target, parameters)
                logger.removeHandler(handler)
            print(f"{run.id}  {parameters}  accuracy {accuracy:.4f}")


def put_dataset(workspace: padre.Workspace, digits: Any) -> padre.Dataset:
    """Stores the data as CSV, with a description of each column."""
    pixels = [padre.Attribute(name=name, type="int", unit="grey level") for name in digits.feature_names]
    target = padre.Attribute(name="digit", type="nominal", target=True)
    table = io.BytesIO()
    np.savetxt(table, np.column_stack([digits.data, digits.target]), fmt="%d", delimiter=",")
    return workspace.datasets.put(
        padre.Dataset(
            name="digits",
            project="quickstart",
            description="8 × 8 images of handwritten digits",
            origin="scikit-learn, from the UCI ML hand-written digits datasets",
            attributes=(*pixels, target),
        ),
        data={"csv": table.getvalue()},
    )


def train(
    run: padre.ActiveRun, dataset: padre.Dataset, images: np.ndarray, digits: np.ndarray, parameters: dict[str, Any]
) -> float:
    """Cross-validates one point of the grid and returns the accuracy over all test rows."""
    truths: list[int] = []
    predictions: list[int] = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, digits)
    for number, (training, test) in enumerate(folds):
        run.log_progress(number, FOLDS, "folds")
        run.log_split(number, train=training, test=test, dataset=dataset)
        scaler = StandardScaler().fit(images[training])
        scaling = run.log_computation("scale", split=number)
        model = SGDClassifier(loss="log_loss", random_state=SEED, **parameters)
        for loss in epochs(model, scaler.transform(images[training]), digits[training]):
            run.log_metric(f"loss/fold-{number}", loss)
        classifying = run.log_computation("classify", split=number, parameters=parameters, predecessors=[scaling])
        probabilities = model.predict_proba(scaler.transform(images[test]))
        predicted = probabilities.argmax(axis=1)
        rows = {"row": test, "truth": digits[test], "prediction": predicted, "probabilities": probabilities}
        run.log_output("predictions", rows=rows, split=number)
        matrix = confusion_matrix(digits[test], predicted).tolist()
        run.log_computation("evaluate", split=number, predecessors=[classifying], result={"confusion": matrix})
        truths.extend(digits[test])
        predictions.extend(predicted)
        logger.info("fold %d: accuracy %.4f on %d rows", number, accuracy_score(digits[test], predicted), len(test))
    run.log_progress(FOLDS, FOLDS, "folds")
    accuracy = float(accuracy_score(truths, predictions))
    run.log_metric("accuracy", accuracy)
    store_model(run, model)
    return accuracy


def epochs(model: SGDClassifier, images: np.ndarray, digits: np.ndarray) -> Iterator[float]:
    """Trains, and tells the loss after each epoch."""
    for _ in range(EPOCHS):
        model.partial_fit(images, digits, classes=np.arange(10))
        yield float(log_loss(digits, model.predict_proba(images)))


def store_model(run: padre.ActiveRun, model: SGDClassifier) -> None:
    """Stores the last fold's model as a file; to PaDRe it is bytes, which it never loads."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.joblib"
        joblib.dump(model, file)
        run.log_artifact(file)


if __name__ == "__main__":
    main()
