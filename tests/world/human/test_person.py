"""Persons: drawn by place, no two alike, each part by itself."""

import numpy as np

from eg3d.world.human import person as module
from eg3d.world.human.person import Person, drawn_expression
from eg3d.world.human.physique import Expression, Shape


def test_a_person_depends_on_its_place_alone_and_splits_share_nobody():
    people = {split: [Person.draw(split, index) for index in range(40)] for split in ("faces", "gaze-loss", "test")}
    assert people["faces"][3] == Person.draw("faces", 3) and hash(people["faces"][3]) == hash(Person.draw("faces", 3))
    shapes = [person.shape for group in people.values() for person in group]
    assert len(set(shapes)) == len(shapes) == 120
    assert Person.draw("faces", 3) != Person.draw("faces", 3 + (1 << 32))


def test_a_draw_more_in_one_part_changes_no_other(monkeypatch):
    before = Person.draw("test", 5)
    draw = Shape.draw.__func__

    def greedy(cls, rng):
        rng.uniform(size=9)
        return draw(cls, rng)

    monkeypatch.setattr(Shape, "draw", classmethod(greedy))
    after = Person.draw("test", 5)
    assert after.shape != before.shape and after.setting == before.setting


def test_a_new_version_of_the_world_draws_other_people(monkeypatch):
    before = Person.draw("test", 5)
    monkeypatch.setattr(module, "HUMAN_VERSION", module.HUMAN_VERSION + 1)
    assert Person.draw("test", 5).shape != before.shape


def test_a_mirrored_person_differs_only_by_sides():
    person = Person.draw("test", 6)
    twin = person.mirrored()
    assert twin.name == person.name and twin != person
    assert twin.shape.mirrored() == person.shape and twin.shape.targets.keys() != person.shape.targets.keys()
    assert sorted(twin.shape.targets.values()) == sorted(person.shape.targets.values())
    assert Expression(smile=0.5, lean=0.3).mirrored() == Expression(smile=0.5, lean=-0.3)


def test_expressions_differ_from_picture_to_picture_but_not_from_draw_to_draw():
    person = Person.draw("test", 3)
    drawn = [drawn_expression(person, picture) for picture in range(200)]
    assert drawn[4] == drawn_expression(person, 4) and len(set(drawn)) == 200
    blinks, smiles = np.array([(e.blink, e.smile) for e in drawn]).T
    assert blinks.max() <= 0.2 and (blinks == 0).mean() > 0.7 and smiles.max() > 0.5 and (smiles == 0).mean() > 0.1
