"""Pictures of decompositions: outlines surround what was pasted."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from statecast.errors import InputError
from statecast.frames import Frames
from statecast.models.ddpae.model import Decomposition
from statecast.models.ddpae.spatial_transformer import paste
from statecast.plots.decomposition import outline, plot_decomposition


def decomposition():
    """Two bright objects of half the sides in frames of 16×24, at 2 context and 3 later times."""
    objects = torch.ones(1, 2, 1, 8, 12)
    poses = torch.tensor([[2.0, 0.5, -0.25], [2.0, -0.75, 0.5]]).expand(1, 5, 2, 3)
    repeated = objects.unsqueeze(1).expand(1, 5, 2, 1, 8, 12).flatten(0, 2)
    components = paste(repeated, poses.flatten(0, 2), (16, 24)).view(1, 5, 2, 1, 16, 24)
    frames = components.sum(dim=2).clamp(max=1)
    return Decomposition(objects, poses, components, frames, torch.arange(-1.0, 4.0))


def test_outlines_surround_objects():
    parts = decomposition()
    axes = Figure().add_subplot()
    for index in range(2):
        outline(axes, parts.poses[0, 0, index].numpy(), (16, 24), "black")
        box = axes.patches[index]
        rows, columns = (parts.components[0, 0, index, 0] > 0).nonzero().T.numpy()
        assert box.get_x() == pytest.approx(columns.min(), abs=1)
        assert box.get_y() == pytest.approx(rows.min(), abs=1)
        assert box.get_x() + box.get_width() == pytest.approx(columns.max(), abs=1)
        assert box.get_y() + box.get_height() == pytest.approx(rows.max(), abs=1)


def test_a_picture_has_a_row_for_frames_sum_and_each_object(tmp_path):
    parts = decomposition()
    context = Frames.context_of(parts.frames[:, :2], ("intensity",))
    figure = plot_decomposition(context, parts, tmp_path / "parts.png", title="Two objects")
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")
    words = [text.get_text() for text in figure.texts]
    assert words[:4] == ["frames", "sum", "object 1", "object 2"]
    assert len(figure.axes) == 2 + 5 + 2 * (1 + 5)
    assert [len(axes.patches) for axes in figure.axes[2:7]] == [2] * 5
    shown = np.asarray(figure.axes[0].images[0].get_array())[..., 0]
    assert np.allclose(shown, parts.frames[0, 0, 0], atol=1 / 255)
    with pytest.raises(InputError, match="sequences 0 to 0, got sequence=1"):
        plot_decomposition(context, parts, sequence=1)
