"""Ridge regression baseline: every model's score from the embedding. Axes: B queries, M candidates."""

from sklearn.linear_model import Ridge

from train.baselines.task import Array, Queries, Task

ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class RidgeScores:
    """A linear map of the embedding, one output a model. Its quality may leave [0, 1]. Ignores the seed."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def fit(self, task: Task, seed: int) -> None:
        """Solve for the weights."""
        self.regressor = Ridge(self.alpha).fit(task.train.embedding, task.train_outcomes.score)

    def predict(self, queries: Queries) -> Array:
        """Quality (B, M)."""
        return self.regressor.predict(queries.embedding)
