"""Pictures of a conversion that cannot be read: all of them are found before it stops, or they are left out."""

from tqdm import tqdm

FLAG = "--skip-damaged"
HELP = "Leave out pictures that cannot be read, and list them.  [default: find all of them, then stop]"
NAMED = 20  # names in an error


class Damage:
    """What a conversion could not read.

    Attributes:
        faults: name of a picture -> the line that says what is wrong with it.
        skip: whether the conversion goes on without these pictures.
    """

    def __init__(self, skip: bool):
        self.skip = skip
        self.faults: dict[str, str] = {}

    def add(self, name: str, error: Exception | str) -> None:
        self.faults[name] = str(error)

    @property
    def stops(self) -> bool:
        """Whether the conversion is lost, and reads on only to find the other damaged pictures."""
        return bool(self.faults) and not self.skip

    def check(self, where: str, total: int) -> list[str]:
        """Lines that list what was left out of `total` pictures.

        ValueError if nothing may be left out, or nothing is left; the list is printed then.
        """
        count, faults = len(self.faults), list(self.faults.values())
        if count == 0:
            return []
        if count == 1 and self.stops:
            raise ValueError(f"{faults[0]}, or leave it out by {FLAG}")
        summary = f"{count} of {total} pictures cannot be read"
        if self.skip and count < total:
            return [f"left out: {summary}", *faults]
        for fault in faults:
            tqdm.write(fault)
        names = ", ".join(list(self.faults)[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
        remedy = "none is left" if self.skip else f"replace them, or leave them out by {FLAG}"
        raise ValueError(f"{where}: {summary}: {names}; {remedy}")
