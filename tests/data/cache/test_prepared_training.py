"""From owners' files through a prepared store to a trained step; chairs have it beside them."""

import pytest
from helpers.fake_benchmark_files import bair_folder, human_folder, kth_folder, taxi_folder
from helpers.prepared_stores import CHOSEN

from statecast.cli.main import main
from statecast.data.prepare import preparable
from statecast.runs.run import open_run

FOLDERS = {
    "kth": kth_folder, "human36m": human_folder, "bair": bair_folder, "taxibj": taxi_folder,
}  # fmt: skip
TINY = """
model: {{name: separable, architecture: mlp, encoder_width: 4, decoder_width: 4, content_size: 3,
        latent_size: 3, dynamics_hidden: 5}}
data: {{name: {name}}}
train: {{steps: 1, batch_size: 2, validation_windows: 2, precision: float32}}
"""


@pytest.mark.parametrize("name", FOLDERS)
def test_prepare_open_train(name, tmp_path, cache, capsys):
    source = FOLDERS[name](tmp_path / "source")
    assert main(["data", "prepare", name, "--source", str(source)]) == 0
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY.format(name=name))
    options = [f"--data.{option}={value}" for option, value in CHOSEN[name].items()]
    run = tmp_path / "run"
    assert main(["train", str(recipe), "--output", str(run), *options]) == 0
    assert f"{cache / name}" in capsys.readouterr().err  # which data were used
    card = open_run(run).data().card
    assert (card["name"], card["version"]) == (name, preparable()[name].kind.version)
    assert main(["evaluate", str(run), "--evaluate.metrics=[mse]", "--evaluate.samples=1"]) == 0
