"""Options that a data set cannot take are refused, with words that tell why."""

import pytest

from statecast.data import DATASETS
from statecast.errors import InputError

OWN = ("arrays", "fields", "videos")  # whose files are asked for first
REFUSED = [
    *(
        (name, {"context": 0}, r"at least [12]|between 2 and")
        for name in DATASETS
        if name not in OWN
    ),
    ("bouncing_ball", {"radius": 14.0}, "no room to move"),
    ("bouncing_ball", {"speeds": (3.0, 2.0)}, "increasing order"),
    ("bouncing_ball", {"test_videos": 0}, "at least 1 window"),
    ("forks", {"horizon": 3}, "longer than 3 frames"),
    ("forks", {"probabilities": (0.0, 0.5)}, "within"),
    ("forks", {"frame_size": 8}, "at least 16 pixels"),
    ("human36m", {"frame_step": 0}, "at least 1"),
    ("kth", {"test_clips": 0}, "at least 1"),
    ("moving_digits", {"digits": 0}, "at least"),
    ("moving_digits", {"frame_size": 8}, "at least"),
    ("moving_digits", {"max_speed": -1}, "at least"),
    ("moving_shapes", {"max_speed": 40.0}, "room that shapes have"),
    ("moving_shapes", {"noise": -1.0}, "camera and noise"),
    ("moving_shapes", {"shapes": 0}, "at least 1 shape"),
    ("oscillators", {"modes": 0}, "at least 1 mode"),
    ("oscillators", {"missing": 1.0}, "missing in"),
    ("oscillators", {"damping": 0.0}, "positive period, damping"),
    ("oscillators", {"horizon": 0}, "at least 1 frame"),
    ("rolling_digits", {"horizon": 1}, "at least 2 frames"),
    ("sst", {"split_gap": -1}, "split_gap"),
    ("sst", {"zones": 0}, "zone"),
    ("sst", {"zones": 2, "land_zones": 3}, "land_zones"),
    ("sst", {"zones": 1, "days": 50}, "50 days leave 10 for the test split"),
    ("taxibj", {"test_windows": 0}, "at least 1"),
    ("turntable", {"objects": 4}, "at least 7 objects"),
    ("turntable", {"frame_size": 4}, "at least 8 pixels"),
    ("turntable", {"horizon": 0}, "at least 1"),
    ("wave_equation", {"test_horizon": 146}, "'test': 146"),
    ("wave_equation", {"test_horizon": 60, "protocol": "paper"}, "'test': 60"),
    ("wave_equation", {"sequences": 9}, "sequences"),
    ("wave_equation", {"points": 0}, "at least 1 point"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_what_a_data_set_cannot_take_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        DATASETS[name](**options)
