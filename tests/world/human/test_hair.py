"""Hair of the head: where it grows, that it stays out of head and eyes, and how it shines."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eg3d.world import raycast
from eg3d.world.human.hair import SCALP_CENTRE, STYLES, Hair, hair_shade, hairline_height, scalp_cover
from eg3d.world.human.pieces import unit
from eg3d.world.rendered_sets import camera_label

pytestmark = pytest.mark.usefixtures("makehuman_data")
TRIANGLES = 8000


@cache
def person(index: int, style: str = "drawn"):
    from eg3d.world.human.person import Person

    who = Person.draw("test", index)
    if style == "drawn":
        return who
    cut, rng = STYLES[style], np.random.default_rng(index)
    ranges = {name: float(rng.uniform(*getattr(cut, name))) for name in ("length", "thickness", "curl")}
    return replace(who, hair=replace(who.hair, style=style, **ranges))


def hair_of(who):
    from eg3d.world.human.head_shape import human_head
    from eg3d.world.human.locks import locks

    return locks(who.hair, human_head(who))


@pytest.mark.parametrize("style", STYLES)
def test_a_mirrored_person_has_mirrored_hair_of_few_triangles(style):
    who = person(3, style)
    assert (who.hair.mirrored().side, who.hair.mirrored().mirrored()) == (-who.hair.side, who.hair)
    pieces, twins = hair_of(who), hair_of(who.mirrored())
    assert sum(len(piece.faces) for piece in pieces) <= TRIANGLES
    assert bool(pieces) == (style not in ("bald", "buzz"))
    for piece, twin in zip(pieces, twins, strict=True):
        np.testing.assert_allclose(piece.vertices * [-1, 1, 1], twin.vertices, atol=2e-4)  # of 0.4 for the head
        np.testing.assert_allclose(piece.tangents * [-1, 1, 1], twin.tangents, atol=0.02)
        np.testing.assert_array_equal(piece.coords, twin.coords)
        assert np.isfinite(piece.vertices).all() and np.isfinite(piece.normals).all()
        assert len(np.unique(piece.faces)) == len(piece.vertices)


def test_the_same_person_has_the_same_hair_and_another_seed_has_other_locks():
    who = person(4, "wavy")
    (one,), (again,) = hair_of(who), hair_of(who)
    assert one.vertices.tobytes() == again.vertices.tobytes() and one.coords.tobytes() == again.coords.tobytes()
    (other,) = hair_of(replace(who, hair=replace(who.hair, seed=who.hair.seed + 1)))
    assert other.vertices.shape != one.vertices.shape or np.abs(other.vertices - one.vertices).max() > 0.01


@pytest.mark.parametrize("style", ["short", "parted", "long", "bun", "afro", "fringe"])
def test_no_lock_runs_inside_the_head(style):
    from eg3d.world.human.head_shape import human_head
    from eg3d.world.human.scalp import scalp_of

    who = person(7, style)
    scalp = scalp_of(human_head(who).vertices)
    for piece in hair_of(who):
        if style == "bun" and piece.coords[:, 2].std() == 0:
            continue  # the ball of a bun sits on the head and is closed
        middle = piece.vertices if style == "afro" else (piece.vertices[0::2] + piece.vertices[1::2]) / 2
        places = scalp.places(middle)
        inside = scalp.at(places) - np.sqrt((places**2).sum(axis=1))
        assert np.quantile(inside, 0.99) < 0.02  # decimetres


@pytest.mark.skipif(not raycast.HAVE_EMBREE, reason="embree casts rays that are no square picture")
def test_hair_hides_the_eyes_of_few_people_even_where_it_is_wavy():
    from eg3d.world.human.head_shape import human_head

    hidden, camera = [], camera_label(0.15, 0.0)[[3, 7, 11]]
    for who in [person(index, "wavy") for index in range(25)] + [person(index) for index in range(20)]:
        pieces, head = hair_of(who), human_head(who)
        turn = np.stack(np.meshgrid(np.linspace(-0.8, 0.8, 9), np.linspace(-0.25, 0.25, 3)), axis=-1).reshape(-1, 2)
        front = np.stack([np.sin(turn[:, 0]), turn[:, 1], np.cos(turn[:, 0])], axis=1)
        points = (head.eye_centres[:, None] + head.eye_radius[:, None, None] * front).reshape(-1, 3)
        rays = unit(points - camera).astype(np.float32)
        hits = [raycast.cast_embree(p.vertices, p.faces, camera, rays).distance for p in pieces] or [np.array([np.inf])]
        hidden.append((np.min(hits, axis=0) < np.linalg.norm(points - camera, axis=1)).mean())
    assert np.mean(np.array(hidden) > 0.05) < 0.04  # without `locks._behind_curtain`, two of the wavy ones


def test_the_hairline_runs_over_the_forehead_round_the_ear_to_the_nape():
    hair = replace(person(0).hair, style="short", recession=0.0, hairline=0.0, side=1)
    rest = np.array([[0, 8.35, 0.6], [0, 7.9, 1.47], [0, 7.3, 1.6], [0, 7.0, -0.25], [0, 6.4, -0.15], [0.74, 7.7, 0.5]])
    grown = scalp_cover(hair, rest.astype(np.float32)) > 0.5
    assert grown.tolist() == [True, False, False, True, False, True]
    bare = replace(hair, style="bald")
    assert not scalp_cover(bare, rest.astype(np.float32)).any()
    temple = unit(np.array([[0.6, 0.62, 0.8]]))
    assert hairline_height(replace(hair, recession=1.0), temple) < hairline_height(hair, temple) - 15


def test_the_mirrored_scalp_is_painted_as_in_a_mirror():
    hair = replace(person(0).hair, style="parted")
    rest = SCALP_CENTRE + unit(np.random.default_rng(0).normal(size=(2000, 3)))
    rest = rest.astype(np.float32)
    one, twin = scalp_cover(hair, rest), scalp_cover(hair.mirrored(), rest * np.array([-1, 1, 1], np.float32))
    np.testing.assert_array_equal(one, twin)
    assert np.abs(one - scalp_cover(hair.mirrored(), rest)).max() > 0.1


def test_styles_and_colours_suit_people_but_not_always():
    rng = np.random.default_rng(1)
    women = [Hair.draw(rng, 0.0, 30.0, (0.0, 0.1, 0.9)) for _ in range(300)]
    men = [Hair.draw(rng, 1.0, 65.0, (0.0, 0.1, 0.9)) for _ in range(300)]
    african = [Hair.draw(rng, 0.5, 30.0, (1.0, 0.0, 0.0)) for _ in range(300)]

    def share(people, *styles):
        return np.mean([hair.style in styles for hair in people])

    assert share(women, "bald", "receding") == 0 and share(men, "bald", "receding") > 0.2
    assert share(women, "long", "wavy", "bob", "fringe", "bun", "tail") > 0.5 > 0.1 > share(men, "long", "wavy")
    assert share(african, "afro", "curls", "buzz") > 0.4 > share(women, "afro")
    assert np.mean([hair.grey for hair in men]) > 0.4 > 0.05 > np.mean([hair.grey for hair in women])
    brightness = [np.mean([sum(hair.colour) for hair in people]) for people in (african, women)]
    assert brightness[0] < 0.6 * brightness[1]
    assert len({hair.style for hair in women + men + african}) == len(STYLES)


def test_a_strand_shines_most_where_it_lies_across_the_half_vector():
    """Kajiya and Kay: the highlight is a power of the sine between strand and half vector, at any normal."""
    hair = replace(person(0).hair, colour=(0.2, 0.1, 0.05), grey=0.0, gloss=1.0)
    angle = np.radians(np.arange(0, 181, 5))
    count = len(angle)
    tangents = np.stack([np.sin(angle), np.zeros(count), np.cos(angle)], axis=1).astype(np.float32)
    coords = np.tile(np.array([0.1, 0.5, 1.0], np.float32), (count, 1))
    toward = np.array([0.0, 0.0, 1.0], np.float32)
    normals = directions = np.tile(-toward, (count, 1))
    normals = -normals
    lit = hair_shade(hair, coords, tangents, normals, directions, [(toward, np.ones(3, np.float32))], np.float32(0))
    assert abs(np.degrees(angle[lit.sum(axis=1).argmax()]) - 90) <= 15
    assert lit[18].sum() > 3 * lit[0].sum() and (lit >= 0).all()
    behind = hair_shade(hair, coords, tangents, normals, directions, [(-toward, np.ones(3, np.float32))], np.float32(0))
    assert behind.max() < 0.2 * lit.max()
