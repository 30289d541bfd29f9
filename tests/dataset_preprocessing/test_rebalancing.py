import math

import pytest

from dataset_preprocessing.rebalancing import repeated_name, repeats_of

# Rows of EG3D's FFHQ with mirrored copies by number of copies; that many images come of them.
PUBLISHED, IMAGES = {1: 68262, 2: 57980, 4: 12154, 8: 1408, 16: 110}, 245862


def test_the_published_counts_follow_from_the_arcs():
    # by an arc's distance from the middle, half of an arc's images at each side
    yaws = [
        sign * (k + 0.1) for k, n in enumerate(PUBLISHED.values()) for sign in (-1, 1) for _ in range(n // 2)
    ]  # the middle arc reaches from -0.5 to 0.5
    yaws += [4.5, -4.5]  # the outermost, which set the range
    names = [f"{i}.png" for i in range(len(yaws))]
    copies = repeats_of(names, yaws)
    assert {n: copies.count(n) for n in (1, 2, 4, 8)} == {n: PUBLISHED[n] for n in (1, 2, 4, 8)}
    assert copies.count(16) == PUBLISHED[16] + 2 and sum(copies) == IMAGES + 2 * 16


def test_a_set_whose_poses_are_even_stays_as_it_is():
    yaws = [math.radians(i % 91 - 45) for i in range(91 * 20)]
    assert set(repeats_of([f"{i}.png" for i in range(len(yaws))], yaws)) == {1}


def test_no_arc_gets_fuller_than_the_fullest_one_was():
    yaws = [0.0] * 10 + [0.44] * 4 + [-0.44] * 4 + [1.0, -1.0]
    copies = repeats_of([f"{i}.png" for i in range(len(yaws))], yaws)
    assert copies[:10] == [1] * 10 and copies[10:18] == [2] * 8 and copies[18:] == [8, 8]


def test_an_image_and_its_mirrored_copy_are_repeated_equally_often_and_keep_their_names_in_common():
    names = ["a.png", "a_mirror.png", *(f"b{i}.png" for i in range(20))]
    copies = repeats_of(names, [0.31, -0.35, *[0.0] * 19, 1.0])
    assert copies[0] == copies[1] > 1
    assert repeated_name("x/a.png", 0) == "x/a.png" and repeated_name("x/a.png", 2) == "x/a_02.png"
    assert repeated_name("x/a_mirror.png", 2) == "x/a_02_mirror.png"


@pytest.mark.parametrize("yaws", [[], [0.0], [0.3]])
def test_a_set_of_one_pose_stays_as_it_is(yaws):
    assert repeats_of(["a.png"] * len(yaws), yaws) == [1] * len(yaws)
