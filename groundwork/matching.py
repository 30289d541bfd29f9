"""What happens if pictures and their labels do not match: the one rule of every script that reads both.

Labels may name pictures that are missing, and pictures may have no label. Either is an error that says how many there
are and which come first. `--skip-unmatched` goes on with what matches, and the same words become a note. Pictures in
which a tool of ours found no face are left out without that flag, with a note: nobody can label them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from groundwork.archive import normalised
from groundwork.strict_pickle import one_line

FLAG = "--skip-unmatched"
HELP = "Leave out pictures without a label and labels without a picture, and say how many."
LABEL_FILE = "dataset.json"  # the labels of a data set
FACTS_FILE = "pose_estimate.json"  # beside estimated labels: how they were made, and which pictures have no face
RENDERED_FILE = "labels_generate.json"  # beside generated pictures: the cameras that they were drawn from
NAMED = 3  # names in a line


@dataclass(frozen=True)
class Words:
    """How messages name what has no counterpart; they go on after `4 of 8`."""

    missing: str = "labelled images are missing"
    unlabelled: str = "images have no label"


IMAGES = Words()


@dataclass(frozen=True)
class Matched:
    """Which labels and pictures belong together.

    Attributes:
        pictures: name of a label -> name of its picture, in the order of the labels.
        missing: labels whose picture is not there.
        unlabelled: pictures without a label, apart from `faceless`.
        faceless: pictures without a label that a tool of ours has tried to label: in which no face was found.
        unusable: those of `faceless` that were damaged, or no crops.
        respelt: labels whose picture is spelt with other capitals.
    """

    pictures: dict[str, str]
    missing: list[str]
    unlabelled: list[str]
    faceless: list[str]
    respelt: list[str]
    unusable: frozenset[str] = frozenset()

    def without(self, unreadable: Collection[str]) -> "Matched":
        """The same if some pictures are but names, as broken links are: those that are labelled count as missing."""
        gone = [label for label, picture in self.pictures.items() if picture in unreadable]
        if not gone:
            return self
        pictures = {label: picture for label, picture in self.pictures.items() if picture not in unreadable}
        return replace(self, pictures=pictures, missing=self.missing + gone)

    def faults(self, words: Words = IMAGES) -> str:
        """What does not match; "" if all does."""
        labels = len(self.pictures) + len(self.missing)
        sides = ((self.missing, labels, words.missing), (self.unlabelled, self._there, words.unlabelled))
        return "; ".join(_count(names, total, what) for names, total, what in sides if names)

    @property
    def _there(self) -> int:
        return len(self.pictures) + len(self.unlabelled) + len(self.faceless)

    def _advice(self) -> str:
        """If nothing matches: where the first label's picture may lie."""
        label = self.missing[0]
        for picture in self.unlabelled:
            if picture.endswith(f"/{label}") or label.endswith(f"/{picture}"):
                return f"{one_line(label, 200)} may be {one_line(picture, 200)}: give the folder that labels count from"
        return "give what belongs together"

    def notes(self, where: str, skip: bool, words: Words = IMAGES) -> list[str]:
        """Lines that say what is left out. ValueError if something does not match and is not to be skipped.

        It is an error too if nothing matches at all.
        """
        notes, faults = [], self.faults(words)
        if not self.pictures and self.missing:
            raise ValueError(f"{where}: nothing matches ({faults}); {self._advice()}")
        if not self.pictures:
            raise ValueError(f"{where}: {faults or 'holds no labels'}; label the images first")
        if faults and not skip:
            raise ValueError(
                f"{where}: {faults}; complete the set, or go on with the {len(self.pictures)} that match by {FLAG}"
            )
        if faults:
            notes.append(f"{where}: {faults}; left out by {FLAG}, {len(self.pictures)} match")
        for unusable, why in ((False, "as no face was found"), (True, "which cannot be read or are no crops")):
            names = [name for name in self.faceless if (name in self.unusable) == unusable]
            if names:
                what = f"images are left out, {why} ({FACTS_FILE})"
                notes.append(f"{where}: {_count(names, self._there, what)}")
        if self.respelt:
            what = "labels spell their image with other capitals"
            notes.append(f"{where}: {_count(self.respelt, len(self.pictures), what)}")
        return notes


def match_names(
    listed: Collection[str], there: Collection[str], faceless: Collection[str] = (), unusable: Collection[str] = ()
) -> Matched:
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
        respelt=sorted(respelt),
        unusable=frozenset(unusable),
    )


def _respelt(listed: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Label -> picture of names that differ in capitals only, if there is no other of the same letters."""
    labels, pictures = defaultdict(list), defaultdict(list)
    for names, by_letters in ((listed, labels), (there, pictures)):
        for name in names:
            by_letters[name.casefold()].append(name)
    return {
        names[0]: pictures[letters][0] for letters, names in labels.items() if len(names) == len(pictures[letters]) == 1
    }


def faceless_in(facts: object) -> list[str]:
    """The pictures without a label that the content of a FACTS_FILE names; none if it is another file."""
    failed = facts.get("failed") if isinstance(facts, dict) else None
    return [normalised(name) for name in failed] if isinstance(failed, dict) else []


def unusable_in(facts: object) -> list[str]:
    """Those of them that were damaged, or no crops."""
    names = facts.get("unusable") if isinstance(facts, dict) else None
    return [normalised(name) for name in names if isinstance(name, str)] if isinstance(names, list) else []


def first_of(names: list[str]) -> str:
    """`the first is a.png (then b.png, c.png, ...)`."""
    first, *others = (one_line(name, 200) for name in names[:NAMED])
    then = f" (then {', '.join(others)}{', ...' if len(names) > NAMED else ''})" if others else ""
    return f"the first is {first}{then}"


def _count(names: list[str], total: int, what: str) -> str:
    """`4 of 8 labelled images are missing, the first is a.png`."""
    if len(names) == 1:
        what = what.replace(" are ", " is ", 1).replace(" have ", " has ", 1)
    return f"{len(names)} of {total} {what}, {first_of(names)}"
