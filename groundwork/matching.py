"""What happens if pictures and their labels do not match: the one rule of every script that reads both.

Labels may name pictures that are missing, and pictures may have no label. Either is an error that says how many there
are and which come first. `--skip-unmatched` goes on with what matches, and the same words become a note. Pictures in
which a tool of ours found no face are left out without that flag, with a note: nobody can label them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from groundwork.strict_pickle import one_line

FLAG = "--skip-unmatched"
HELP = "Leave out pictures without a label and labels without a picture, and say how many."
FACTS_FILE = "pose_estimate.json"  # beside estimated labels: how they were made, and which pictures have no face
RENDERED_FILE = "labels_generate.json"  # beside generated pictures: the cameras that they were drawn from
NAMED = 3  # names in a line


@dataclass(frozen=True)
class Matched:
    """Which labels and pictures belong together.

    Attributes:
        pictures: name of a label -> name of its picture, in the order of the labels.
        missing: labels whose picture is not there.
        unlabelled: pictures without a label, apart from `faceless`.
        faceless: pictures without a label in which no face was found.
        respelt: labels whose picture is spelt with other capitals.
    """

    pictures: dict[str, str]
    missing: list[str]
    unlabelled: list[str]
    faceless: list[str]
    respelt: list[str]

    def without(self, unreadable: Collection[str]) -> "Matched":
        """The same if some pictures are but names, as broken links are: those that are labelled count as missing."""
        gone = [label for label, picture in self.pictures.items() if picture in unreadable]
        if not gone:
            return self
        pictures = {label: picture for label, picture in self.pictures.items() if picture not in unreadable}
        return replace(self, pictures=pictures, missing=self.missing + gone)

    def faults(self) -> list[str]:
        """What does not match, in words."""
        labels = len(self.pictures) + len(self.missing)
        faults = []
        if self.missing:
            verb = "is" if len(self.missing) == 1 else "are"
            faults.append(f"{len(self.missing)} of {labels} labelled images {verb} missing, {first_of(self.missing)}")
        if self.unlabelled:
            verb = "has" if len(self.unlabelled) == 1 else "have"
            faults.append(
                f"{len(self.unlabelled)} of {self._there} images {verb} no label, {first_of(self.unlabelled)}"
            )
        return faults

    @property
    def _there(self) -> int:
        return len(self.pictures) + len(self.unlabelled) + len(self.faceless)

    def notes(self, where: str, skip: bool) -> list[str]:
        """Lines that say what is left out. ValueError if something does not match and is not to be skipped.

        It is an error too if nothing matches: `where` then holds other pictures than the labels are of.
        """
        notes, left_out = [], "; ".join(self.faults())
        if not self.pictures:
            raise ValueError(
                f"{where}: no image has a label ({left_out or 'there are none'}); give the set they are of"
            )
        if left_out and not skip:
            raise ValueError(
                f"{where}: {left_out}; complete the set, or go on with the {len(self.pictures)} that match by {FLAG}"
            )
        if left_out:
            notes.append(f"{where}: {left_out}; left out by {FLAG}, {len(self.pictures)} match")
        if self.faceless:
            notes.append(
                f"{where}: {len(self.faceless)} of {self._there} images left out, no face was found in them "
                f"({FACTS_FILE}), {first_of(self.faceless)}"
            )
        if self.respelt:
            notes.append(f"{where}: {len(self.respelt)} labels spell their image otherwise, {first_of(self.respelt)}")
        return notes


def match_names(listed: Collection[str], there: Collection[str], faceless: Collection[str] = ()) -> Matched:
    """Labels and pictures by their names, all as `groundwork.archive.normalised` makes them.

    What is left over is compared without regard to capitals, as Windows and macOS do, if one candidate is left only.
    """
    pictures = set(there)
    found = {name: name for name in listed if name in pictures}
    pictures.difference_update(found)
    respelt = _respelt({name for name in listed if name not in found}, pictures)
    found |= respelt
    pictures.difference_update(respelt.values())
    known = pictures.intersection(faceless)
    return Matched(
        pictures={name: found[name] for name in listed if name in found},
        missing=[name for name in dict.fromkeys(listed) if name not in found],
        unlabelled=[name for name in there if name in pictures and name not in known],
        faceless=[name for name in there if name in known],
        respelt=list(respelt),
    )


def _respelt(listed: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Label -> picture of names that differ in capitals only, if there is no other of the same letters."""
    labels, pictures = defaultdict(list), defaultdict(list)
    for names, by_letters in ((listed, labels), (there, pictures)):
        for name in names:
            by_letters[name.casefold()].append(name)
    return {
        names[0]: pictures[letters][0]
        for letters, names in labels.items()
        if len(names) == len(pictures[letters]) == 1
    }


def first_of(names: list[str]) -> str:
    """`the first is a.png (then b.png, c.png, ...)`."""
    first, *others = (one_line(name, 200) for name in names[:NAMED])
    then = f" (then {', '.join(others)}{', ...' if len(names) > NAMED else ''})" if others else ""
    return f"the first is {first}{then}"
