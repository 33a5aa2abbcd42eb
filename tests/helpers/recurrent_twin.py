"""ConvLSTM, PredRNN and MIM: what published codes gave, and slow twins of OpenSTL's equations."""

import numpy as np
import torch
from helpers.golden import arrays_of, settings_of, tensors_of
from torch.nn.functional import conv2d, layer_norm

from statecast.frames import Batch
from statecast.nn.patches import fold_patches, unfold_patches
from statecast.runs.official.predrnn import from_arrays, layout_of, published_names


class Golden:
    """Published weights of a small model, and what the published code made of them."""

    def __init__(self, name, prefix=""):
        self.config, self.expected = settings_of(name), tensors_of(name)
        self.arrays = {
            key.removeprefix(prefix): value
            for key, value in arrays_of(name).items()
            if key.startswith(prefix)
        }
        self.model = from_arrays(self.arrays, self.config)
        context, target = self["context"] / 255, self["target"] / 255
        self.batch = Batch.of(torch.cat([context, target], dim=1), context.shape[1])
        self.order = self.config["parameter_order"]

    def __getitem__(self, key):
        return self.expected[key]

    def close(self, value, key):
        tolerance = self.config["tolerance"]["absolute"]
        torch.testing.assert_close(value, self[key], atol=tolerance, rtol=0)

    def mask(self, bits):
        """Which inputs are true frames; bits of the horizon alone, or of all inputs."""
        bits = torch.as_tensor(bits).bool()
        missing = self.batch.values.shape[1] - 2 - bits.shape[1]
        return torch.cat([bits.new_ones(len(bits), missing), bits], dim=1)

    def outputs(self, mask, batch=None):
        """Predictions of all frames but the first, unfolded."""
        values = (self.batch if batch is None else batch).values
        patches = fold_patches(values, self.model.patch)
        return unfold_patches(self.model.predict_window(patches, mask)[0], self.model.patch)

    def check_gradients(self, total, key, order):
        """Compare the norm of each gradient; what the published model never uses has none."""
        total.backward()
        weights = dict(self.model.named_parameters())
        names = published_names(self.model, layout_of(self.model))
        found = {theirs: float(weights[ours].grad.norm()) for ours, theirs in names.items()}
        norms = torch.tensor([found.pop(name, 0.0) for name in order])
        assert not found
        torch.testing.assert_close(norms, self[key], atol=1e-6, rtol=5e-5)


class Twin:
    """OpenSTL's ConvLSTM, PredRNN and MIM, written from their equations with published names."""

    def __init__(self, system, *, layers=3, width=5, channels=8, grid=(4, 6), seed=0):
        self.system, self.layers, self.width, self.grid = system, layers, width, grid
        self.weights = {}
        generator = torch.Generator().manual_seed(seed)

        def add(name, *shape, norm=True):
            draw = torch.randn(shape, generator=generator) / np.prod(shape[1:]) ** 0.5
            self.weights[f"{name}.0.weight" if norm else name] = draw
            for ending in ("weight", "bias") if norm else ():
                values = torch.randn(shape[0], *grid, generator=generator)
                self.weights[f"{name}.1.{ending}"] = (ending == "weight") + values / 4

        for layer in range(layers):
            inputs = width if layer else channels
            if system == "mim" and layer:
                self.add_mim_layer(add, layer, width)
                continue
            cell = f"{'stlstm_layer' if system == 'mim' else 'cell_list'}.{layer}"
            add(f"{cell}.conv_x", (4 if system == "convlstm" else 7) * width, inputs, 3, 3)
            add(f"{cell}.conv_h", 4 * width, width, 3, 3)
            if system != "convlstm":
                add(f"{cell}.conv_m", 3 * width, width, 3, 3)
            add(f"{cell}.conv_o", width, 2 * width, 3, 3)
            add(f"{cell}.conv_last.weight", width, 2 * width, 1, 1, norm=False)
        add("conv_last.weight", channels, width, 1, 1, norm=False)

    def add_mim_layer(self, add, layer, width):
        block, difference = f"stlstm_layer.{layer}", f"stlstm_layer_diff.{layer - 1}"
        for part, gates in (("t_cc", 3), ("s_cc", 4), ("x_cc", 4)):
            add(f"{block}.conv_{part}", gates * width, width, 3, 3)
        for cell in (block, difference):
            add(f"{cell}.conv_h_concat", 4 * width, width, 3, 3)
            add(f"{cell}.conv_x_concat", 4 * width, width, 3, 3)
            add(f"{cell}.ct_weight", 2 * width, *self.grid, norm=False)
            add(f"{cell}.oc_weight", width, *self.grid, norm=False)
            add(f"{cell}.conv_last.weight", width, 2 * width, 1, 1, norm=False)

    @property
    def config(self):
        """As a golden file's: frames of 2 channels in patches of 2."""
        return {
            "layers": self.layers, "hidden": [self.width] * self.layers, "filter": 3, "patch": 2,
            "frame_channels": 2, "frame_size": [2 * side for side in self.grid], "context": 3,
            "horizon": 2, "layer_norm": True,
        }  # fmt: skip

    def gates(self, name, maps):
        found = conv2d(maps, self.weights[f"{name}.0.weight"], padding="same")
        scale, offset = (self.weights[f"{name}.1.{ending}"] for ending in ("weight", "bias"))
        return layer_norm(found, found.shape[1:], scale, offset).split(self.width, dim=1)

    def fuse(self, cell, *memories):
        return conv2d(torch.cat(memories, 1), self.weights[f"{cell}.conv_last.weight"]).tanh()

    def convlstm(self, cell, x, h, c):
        i, f, g, o = map(
            sum, zip(self.gates(f"{cell}.conv_x", x), self.gates(f"{cell}.conv_h", h), strict=True)
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def st_lstm(self, cell, x, h, c, m):
        i, f, g, i_, f_, g_, o = self.gates(f"{cell}.conv_x", x)
        ih, fh, gh, oh = self.gates(f"{cell}.conv_h", h)
        im, fm, gm = self.gates(f"{cell}.conv_m", m)
        c = (f + fh + 1).sigmoid() * c + (i + ih).sigmoid() * (g + gh).tanh()
        m = (f_ + fm + 1).sigmoid() * m + (i_ + im).sigmoid() * (g_ + gm).tanh()
        (out,) = self.gates(f"{cell}.conv_o", torch.cat([c, m], 1))
        return (o + oh + out).sigmoid() * self.fuse(cell, c, m), c, m

    def peephole(self, cell, u, h, c):
        i, g, f, o = map(
            sum,
            zip(
                self.gates(f"{cell}.conv_x_concat", u),
                self.gates(f"{cell}.conv_h_concat", h),
                strict=True,
            ),
        )
        pi, pf = (c.repeat(1, 2, 1, 1) * self.weights[f"{cell}.ct_weight"]).split(self.width, 1)
        c = (f + pf + 1).sigmoid() * c + (i + pi).sigmoid() * g.tanh()
        return (o + c * self.weights[f"{cell}.oc_weight"]).sigmoid() * c.tanh(), c

    def mim_block(self, cell, x, d, h, c, m, s):
        it, gt, ot = self.gates(f"{cell}.conv_t_cc", h)
        is_, gs, fs, os = self.gates(f"{cell}.conv_s_cc", m)
        ix, gx, fx, ox = self.gates(f"{cell}.conv_x_cc", x)
        m = (fx + fs + 1).sigmoid() * m + (ix + is_).sigmoid() * (gx + gs).tanh()
        kept, s = self.peephole(cell, d, c, s)
        c = kept + (ix + it).sigmoid() * (gx + gt).tanh()
        return (ox + ot + os).sigmoid() * self.fuse(cell, c, m), c, m, s

    def outputs(self, patches, mask):
        """Predictions of all frames but the first, from folded frames (batch, time, …)."""
        zeros = patches.new_zeros(len(patches), self.width, *self.grid)
        h, c, s = ([zeros] * self.layers for _ in range(3))
        d, e = [zeros] * self.layers, [zeros] * self.layers
        m, predicted = zeros, []
        for t in range(patches.shape[1] - 1):
            x = patches[:, t]
            if t:
                true = mask[:, t - 1, None, None, None].float()
                x = true * x + (1 - true) * predicted[-1]
            before = h[0]
            for layer in range(self.layers):
                below = h[layer - 1] if layer else x
                if self.system == "convlstm":
                    h[layer], c[layer] = self.convlstm(
                        f"cell_list.{layer}", below, h[layer], c[layer]
                    )
                elif self.system == "predrnn" or layer == 0:
                    name = f"{'cell_list' if self.system == 'predrnn' else 'stlstm_layer'}.{layer}"
                    h[layer], c[layer], m = self.st_lstm(name, below, h[layer], c[layer], m)
                else:
                    if t:
                        u = h[0] - before if layer == 1 else d[layer - 1]
                        cell = f"stlstm_layer_diff.{layer - 1}"
                        d[layer], e[layer] = self.peephole(cell, u, d[layer], e[layer])
                    h[layer], c[layer], m, s[layer] = self.mim_block(
                        f"stlstm_layer.{layer}", below, d[layer], h[layer], c[layer], m, s[layer]
                    )
            predicted.append(conv2d(h[-1], self.weights["conv_last.weight"]))
        return torch.stack(predicted, dim=1)


def check_against_twin(system):
    """Forecasts and teacher-forced outputs of a model with the weights of a twin are its own."""
    twin = Twin(system)
    model = from_arrays(twin.weights, twin.config)
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(2, 5, 2, *twin.config["frame_size"], generator=generator)
    patches = fold_patches(frames, 2)
    mixed = torch.tensor([[True, False, True], [False, True, False]])
    expected = twin.outputs(patches, mixed)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(model.predict_window(patches, mixed)[0], expected)
    alone = twin.outputs(patches, torch.tensor([[True, True, False]]).expand(2, 3))
    forecast = model.forecast(frames[:, :3], 2).samples[0]
    torch.testing.assert_close(forecast, unfold_patches(alone, 2)[:, -2:])
