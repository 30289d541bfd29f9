from eg3d.training.progress import Progress


def test_bad_steps_are_counted_in_a_row():
    progress, counts = Progress(), []
    for finite in (True, False, False, True, False):
        progress.after_step(finite)
        counts.append((progress.bad_steps, progress.healthy))
    assert counts == [(0, True), (1, False), (2, False), (0, True), (1, False)]


def test_a_run_that_goes_on_knows_what_its_state_says():
    assert Progress.of(None) == Progress(stop_code=0, bad_steps=0, images_saved=None, tick_unfinished=False)
    for unfinished in (False, True):
        state = {"images_seen": 8} | Progress(tick_unfinished=unfinished).state()
        assert Progress.of(state) == Progress(images_saved=8, tick_unfinished=unfinished)
