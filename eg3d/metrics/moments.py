"""Mean and covariance of features, in float64."""

from dataclasses import dataclass

import torch

CHUNK = 1024  # rows added at a time: sums then depend on the rows and their order alone, not on batches


@dataclass
class FeatureStatistics:
    """Sums over rows x [F]: `count`, `total` = sum x [F], `outer` = sum x x^T [F, F]; all float64 on the CPU."""

    count: int
    total: torch.Tensor
    outer: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> "FeatureStatistics":
        """Of features [N, F]."""
        width = rows.shape[1]
        result = cls(0, torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64))
        for part in rows.split(CHUNK):
            result._add(part.double())
        return result

    def _add(self, rows: torch.Tensor) -> None:
        self.count += len(rows)
        self.total += rows.sum(dim=0)
        self.outer += rows.T @ rows

    @property
    def mean(self) -> torch.Tensor:
        return self.total / self.count

    def covariance(self, ddof: int = 0) -> torch.Tensor:
        """[F, F]; `ddof=0` divides by N, as EG3D does, 1 by N - 1, as torch-fidelity does."""
        centred = self.outer - torch.outer(self.total, self.mean)
        return (centred + centred.T) / (2 * (self.count - ddof))
