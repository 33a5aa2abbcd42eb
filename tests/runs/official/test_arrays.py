"""Arrays and settings of published systems that do not fit are named."""

import numpy as np
import pytest
import torch
from helpers.golden import arrays_of, settings_of

from statecast.errors import InputError
from statecast.runs.official import from_arrays

ARRAYS = {  # golden file: an array, and what the error says of it where it is missing
    "ddpae": ("content_lstm/out_layer.bias", "lack the tensor content_lstm/out_layer.bias"),
    "drnet": ("netD.upc5.0.bias", "decoder has 26 arrays, got 25"),
    "dsvae": ("full/z_rnn.bias_ih_l0", r"lack the tensor z_rnn\.bias_ih_l0"),
    "kvae": ("vae/decoder/Conv_3/biases", "lack 'vae/decoder/Conv_3/biases'"),
    "mcnet": ("channels_1/comb1/w", "lack the tensor comb1/w"),
    "phydnet": ("phycell.cell_list.0.convgate.bias", r"lack .*cell_list\.0\.convgate\.bias"),
    "phydnet_2020": ("phycell.cell_list.0.convgate.bias", r"lack .*cell_list\.0\.convgate\.bias"),
    "pknl": ("predict_flow0.weight", r"lack the tensor predict_flow0\.weight"),
    "savp": ("generator/rnn/savp_cell/masks/conv2d/bias", "savp_cell/masks/conv2d/bias"),
    "struct_vrnn": ("vrnn/gru_cell/bias", "vrnn/gru_cell/bias"),
    "sv2p": ("generator/conv4/weights", "generator/conv4/weights"),
    "svg_lp": ("frame_predictor.embed.bias", r"lack the tensor frame_predictor\.embed\.bias"),
    "td_vae": ("z_b.1.fc_mu.bias", r"lack the tensor z_b\.1\.fc_mu\.bias"),
}
SETTINGS = {  # golden file: a setting that cannot be done without
    "ddpae": "ngf",
    "drnet": "pose_dim",
    "dsvae": "hidden_dim",
    "kvae": "sizes",
    "phydnet": "branch_width",
    "phydnet_2020": "branch_width",
    "pknl": "horizon",
    "sv2p": "kernel",
}
VARIANT = {"dsvae": {"variant": "full"}}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit_are_named(name):
    (array, lacking), arrays = ARRAYS[name], arrays_of(name)
    config = settings_of(name) | VARIANT.get(name, {})
    wrong = np.zeros((11,) * arrays[array].ndim, np.float32)
    more = "netX.bias" if name == "drnet" else f"{array.partition('/')[0]}/more"
    for changed, message in (
        ({k: v for k, v in arrays.items() if k != array}, lacking),
        (arrays | {array: wrong}, "should .*shape"),
        (arrays | {more: arrays[array]}, more.rpartition("/")[2].partition(".")[0]),
    ):
        with pytest.raises(InputError, match=message):
            from_arrays(name, changed, config)


@pytest.mark.parametrize("name", ["svg_lp", "mim", "pknl", "mcnet", "sv2p", "struct_vrnn"])
def test_how_arrays_lie_in_memory_does_not_matter(name):
    arrays, config = arrays_of(name), settings_of(name)
    expected = from_arrays(name, arrays, config).state_dict()
    for changed in (
        {k: a.astype(">f8") for k, a in arrays.items()},
        {k: np.flip(np.flip(a).copy()) for k, a in arrays.items()},
        {"state_dict": {f"module.{k}": torch.from_numpy(a) for k, a in reversed(arrays.items())}},
    ):
        found = from_arrays(name, changed, config).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[k], t) for k, t in expected.items())


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_missing_are_named(name):
    config = settings_of(name)
    del config[SETTINGS[name]]
    with pytest.raises(InputError, match=f"lack '?{SETTINGS[name]}"):
        from_arrays(name, arrays_of(name), config)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dsvae", {"variant": "half"}, "factorised and full, got 'half'"),
        ("pknl", {"context": "four"}, "arrays of pknl describe no model: unsupported operand"),
        (
            "struct_vrnn",
            {"use_deterministic_belief": True},
            "use_deterministic_belief must be False",
        ),
        (
            "savp",
            {"hparams": {"where_add": "input"}},
            "where_add must be all for our SAVP, got input",
        ),
    ],
)
def test_settings_that_ours_lacks_are_refused(name, changes, message):
    config = settings_of(name)
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    with pytest.raises(InputError, match=message):
        from_arrays(name, arrays_of(name), config)
