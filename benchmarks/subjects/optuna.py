"""Optuna's journal of one file: a run is a trial, and a search is a look at all of them."""

from collections.abc import Callable, Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.subject import Subject


class OptunaJournal(Subject[optuna.Trial]):
    """A trial has one series of values; metrics of one point are kept as user attributes, as are text and tags.

    Points are not read back: with each report Optuna copies the whole trial, so 100,000 of them are out of reach.
    """

    def open(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(JournalFileBackend(str(self.folder / "journal.log")))
        self.study = optuna.create_study(study_name="trackers", storage=storage, load_if_exists=True)

    def close(self) -> None:
        """Each call has written its lines."""

    def run(
        self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[optuna.Trial], None]
    ) -> str:
        trial = self.study.ask()
        for key, value in parameters.items():
            if isinstance(value, str):
                trial.set_user_attr(key, value)
            else:
                trial.suggest_float(key, value, value)
        for key, tag in tags.items():
            trial.set_user_attr(key, tag)
        body(trial)
        self.study.tell(trial, 0.0)
        return str(trial.number)

    def log_point(self, run: optuna.Trial, name: str, value: float, step: int) -> None:
        if name == "loss":
            run.report(value, step)
        else:
            run.set_user_attr(name, value)

    def list_runs(self) -> Sequence[object]:
        return list(self.study.trials)

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        found = [
            trial
            for trial in self.study.trials
            if trial.user_attrs["accuracy"] > accuracy and trial.user_attrs["model"] == model
        ]
        return sorted(found, key=lambda trial: -trial.user_attrs["accuracy"])[:top]

    def get(self, run_id: str) -> object:
        return self.study._storage.get_trial(int(run_id))
