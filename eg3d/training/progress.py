"""The course of one run, as `loop.py` and `records.py` see it."""

from dataclasses import dataclass


@dataclass
class Progress:
    """Loop and records write it; the trainer, which knows only its step, never sees it.

    Attributes:
        stop_code: exit code of the run; 0 unless a signal or the time limit has stopped it.
        bad_steps: steps in a row, up to the last one, with a loss that is not finite.
        images_saved: position of the state on the disk, in images seen; None if there is none.
        tick_unfinished: the tick at this position is not over. Its weights are saved, its metrics and its line are not.
    """

    stop_code: int = 0
    bad_steps: int = 0
    images_saved: int | None = None
    tick_unfinished: bool = False

    @classmethod
    def of(cls, state: dict | None) -> "Progress":
        """The progress of a new run (None), or of the run that left this training state."""
        if state is None:
            return cls()
        return cls(images_saved=state["images_seen"], tick_unfinished=state["tick_unfinished"])

    def state(self) -> dict:
        """What the training state holds of it."""
        return {"tick_unfinished": self.tick_unfinished}

    @property
    def healthy(self) -> bool:
        """Whether the present weights are worth going on from."""
        return self.bad_steps == 0

    def after_step(self, finite: bool) -> None:
        """Counts a step; `finite`: whether all of its losses were."""
        self.bad_steps = 0 if finite else self.bad_steps + 1

    def what_is_saved(self, images_seen: int) -> str:
        """What the state on the disk holds after a stop."""
        if self.images_saved == images_seen:
            return "all saved"
        sick = "the last with a loss that is not finite"
        return f"{sick}; " + (f"{self.images_saved} are saved" if self.images_saved else "none are saved")
