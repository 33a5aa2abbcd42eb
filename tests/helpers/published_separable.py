"""Separable as published, restated slowly: plain modules with the published names of tensors.

Frame by frame, one decoding at a time, everything concatenated. Only what names and equations
need is here; nothing of the library is used.
"""

import json
import sys
import types
from itertools import pairwise

import torch
from torch import nn

PARAMETERS = {
    "apex_amp": False, "architecture": "dcgan", "batch_size": 4, "beta1": 0.9, "beta2": 0.99,
    "chkpt_interval": None, "code_size_s": 7, "code_size_t": 5, "data": "mnist",
    "data_dir": "data", "dec_hidden_size": 4, "dec_n_layers": 3, "decoder_architecture": None,
    "device": None, "downsample": 2, "enc_hidden_size": 4, "enc_n_layers": 3, "epochs": 3,
    "gain_encoder": 0.02, "gain_resnet": 0.71, "init_encoder": "normal",
    "init_resnet": "orthogonal", "lamb_ae": 10, "lamb_pred": 45, "lamb_s": 45, "lamb_t": 0.001,
    "lr": 0.0004, "mixing": "concat", "n_blocks": 2, "n_object": 2, "n_wave_points": 12,
    "no_s": False, "nt_cond": 3, "nt_pred": 2, "num_workers": 0, "offset": 3,
    "res_hidden_size": 6, "scheduler": False, "scheduler_decay": 0.5,
    "scheduler_milestones": [1], "skipco": False, "torch_amp": False, "xp_dir": "xp",
    "zones": [1, 2],
}  # fmt: skip
SHAPES = {
    "mnist": (1, 64, 64), "chairs": (3, 64, 64), "taxibj": (2, 32, 32), "sst": (1, 64, 64),
    "wave": (1, 64, 64), "wave_partial": (1, 12),
}  # fmt: skip


def unit(convolution, norm=True, rectify=True):
    parts = [convolution]
    if norm:
        parts.append(nn.BatchNorm2d(convolution.out_channels))
    if rectify:
        parts.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*parts)


def units(*sizes, pool=False, rise=False):
    """3×3 convolutions in a row."""
    parts = [unit(nn.Conv2d(a, b, 3, 1, 1)) for a, b in pairwise(sizes)]
    return nn.Sequential(*[nn.MaxPool2d(2)] * pool, *parts, *[nn.Upsample(scale_factor=2)] * rise)


class DCGAN64Encoder(nn.Module):
    def __init__(self, channels, code, w):
        super().__init__()
        sizes = [channels, w, 2 * w, 4 * w, 8 * w]
        self.conv = nn.ModuleList(
            unit(nn.Conv2d(a, b, 4, 2, 1), norm=a != channels) for a, b in pairwise(sizes)
        )
        self.last_op = nn.Sequential(nn.Flatten(), nn.Linear(8 * w * 16, code))

    def forward(self, x):
        skips = []
        for layer in self.conv:
            x = layer(x)
            skips.insert(0, x)
        return self.last_op(x).flatten(1), skips


class VGG64Encoder(DCGAN64Encoder):
    def __init__(self, channels, code, w, small):
        nn.Module.__init__(self)
        self.conv = nn.ModuleList([
            units(channels, w, w),
            units(w, 2 * w, 2 * w, pool=True),
            units(2 * w, 4 * w, 4 * w, 4 * w, pool=True),
            units(4 * w, 8 * w, 8 * w, 8 * w, pool=True),
        ])  # fmt: skip
        head = unit(nn.Conv2d(8 * w, code, 4), rectify=False)
        self.last_op = nn.Sequential(nn.Identity() if small else nn.MaxPool2d(2), head)


class DCGAN64Decoder(nn.Module):
    def __init__(self, channels, code, w, skip):
        super().__init__()
        c = 2 if skip else 1
        self.first_upconv = unit(nn.ConvTranspose2d(code, 8 * w, 4))
        sizes = [8 * w, 4 * w, 2 * w, w]
        self.conv = nn.ModuleList(
            unit(nn.ConvTranspose2d(a * c, b, 4, 2, 1)) for a, b in pairwise(sizes)
        )
        self.conv.append(nn.ConvTranspose2d(w * c, channels, 4, 2, 1))

    def forward(self, code, skips):
        x = self.first_upconv(code[..., None, None])
        for index, layer in enumerate(self.conv):
            x = layer(torch.cat([x, skips[index]], 1) if skips else x)
        return x


class VGG64Decoder(DCGAN64Decoder):
    def __init__(self, channels, code, w, skip, small):
        nn.Module.__init__(self)
        c = 2 if skip else 1
        rise = nn.Identity() if small else nn.Upsample(scale_factor=2)
        self.first_upconv = nn.Sequential(unit(nn.ConvTranspose2d(code, 8 * w, 4)), rise)
        last = units(w * c, w)
        last.append(nn.ConvTranspose2d(w, channels, 3, 1, 1))
        self.conv = nn.ModuleList([
            units(8 * w * c, 8 * w, 8 * w, 4 * w, rise=True),
            units(4 * w * c, 4 * w, 4 * w, 2 * w, rise=True),
            units(2 * w * c, 2 * w, w, rise=True),
            last,
        ])  # fmt: skip


class BasicBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).clamp(min=0)))
        return (y + (x if self.downsample is None else self.downsample(x))).clamp(min=0)


class ResNet18(nn.Module):
    def __init__(self, channels, code, w):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, w, 5, 2, 3), nn.BatchNorm2d(w)
        self.layer1 = nn.Sequential(BasicBlock(w, w, 1), BasicBlock(w, w, 1))
        for number, (a, b) in enumerate(pairwise([w, 2 * w, 4 * w, 8 * w]), start=2):
            blocks = nn.Sequential(BasicBlock(a, b, 2), BasicBlock(b, b, 1))
            setattr(self, f"layer{number}", blocks)
        self.conv_out, self.bn_out = nn.Conv2d(8 * w, code, 3), nn.BatchNorm2d(code)  # unused

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).clamp(min=0), 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.conv_out(x).flatten(1), []


class EncoderSST(nn.Module):
    def __init__(self, channels, code, w):
        super().__init__()
        self.conv1 = units(channels, w, w)
        self.conv2 = units(w, 2 * w, 2 * w, pool=True)
        self.conv3 = units(2 * w, 4 * w, 4 * w, 4 * w, pool=True)
        self.conv4 = units(4 * w, 8 * w, code)
        self.conv4.append(unit(nn.Conv2d(code, code, 3, 1, 1), norm=False, rectify=False))

    def forward(self, x):
        fine = self.conv1(x)
        middle = self.conv2(fine)
        coarse = self.conv3(middle)
        return self.conv4(coarse), [coarse, middle, fine]


class DecoderSST(nn.Module):
    def __init__(self, channels, code, w):
        super().__init__()
        self.conv1 = units(code, 4 * w, 4 * w, 2 * w, rise=True)
        self.conv2 = units(2 * w, 2 * w, 2 * w, w, rise=True)
        self.conv3 = units(w, w, channels)

    def forward(self, code, skips):
        return self.conv3(self.conv2(self.conv1(code)))


class DecoderSST_Skip(nn.Module):
    def __init__(self, channels, code, w):
        super().__init__()
        self.conv1 = units(code, 4 * w, 4 * w, 2 * w)
        self.conv2 = units(6 * w, 2 * w, w, w, rise=True)
        self.conv3 = units(3 * w, 2 * w, w, w, rise=True)
        self.conv4 = units(2 * w, w, w, channels)

    def forward(self, code, skips):
        x = self.conv1(code)
        for skip, layer in zip(skips, (self.conv2, self.conv3, self.conv4), strict=True):
            x = layer(torch.cat([skip, x], 1))
        return x


class MLP(nn.Module):
    def __init__(self, inputs, hidden, outputs, layers):
        super().__init__()
        sizes = [inputs, *[hidden] * (layers - 1), outputs]
        self.module = nn.Sequential(
            *(nn.Sequential(*[nn.ReLU()] * (i > 0), nn.Linear(a, b))
              for i, (a, b) in enumerate(pairwise(sizes)))
        )  # fmt: skip


class MLPEncoder(nn.Module):
    def __init__(self, inputs, hidden, code, layers):
        super().__init__()
        self.mlp = MLP(inputs, hidden, code, layers)

    def forward(self, x):
        return self.mlp.module(x.flatten(1)), []


class MLPDecoder(nn.Module):
    def __init__(self, code, hidden, shape, layers):
        super().__init__()
        self.mlp = MLP(code, hidden, torch.Size(shape).numel(), layers)
        self.output_shape = list(shape)

    def forward(self, code, skips):
        return self.mlp.module(code).view(-1, *self.output_shape)


class MLPResBlock(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.mlp = MLP(size, hidden, size, 3)

    def forward(self, x):
        return x + self.mlp.module(x)


class MLPResnet(nn.Module):
    def __init__(self, size, blocks, hidden):
        super().__init__()
        self.blocks = nn.ModuleList(MLPResBlock(size, hidden) for _ in range(blocks))

    def forward(self, x):
        return nn.Sequential(*self.blocks)(x)


class ConvResBlock(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.conv = units(size, hidden, hidden)
        self.conv.append(unit(nn.Conv2d(hidden, size, 3, 1, 1), rectify=False))
        self.up = nn.Identity()

    def forward(self, x):
        return x + self.conv(x)


class ConvResnet(nn.Module):
    def __init__(self, size, blocks, hidden):
        super().__init__()
        self.resblock_modules = nn.ModuleList(ConvResBlock(size, hidden) for _ in range(blocks))

    def forward(self, x):
        return nn.Sequential(*self.resblock_modules)(x)


class ConstantS(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.code_size = size

    def forward(self, x):
        return torch.ones(len(x), self.code_size), []


HOMES = {
    "conv": (DCGAN64Encoder, VGG64Encoder, DCGAN64Decoder, VGG64Decoder, BasicBlock, ResNet18,
             EncoderSST, DecoderSST, DecoderSST_Skip),
    "mlp": (MLP,),
    "mlp_encdec": (MLPEncoder, MLPDecoder),
    "resnet": (MLPResBlock, MLPResnet, ConvResBlock, ConvResnet),
    "utils": (ConstantS,),
}  # fmt: skip


class Twin:
    """The four published modules with seeded weights, and what is computed with them."""

    def __init__(self, seed=0, **changes):
        self.settings = PARAMETERS | changes
        s = types.SimpleNamespace(**self.settings)
        self.s, self.shape = s, SHAPES[s.data]
        size = s.code_size_s + s.code_size_t
        if s.no_s or s.mixing == "mul":
            size = s.code_size_t
        self.ov_Es = ConstantS(s.code_size_t) if s.no_s else self.encoder(s.code_size_s)
        self.ov_Et = self.encoder(s.code_size_t)
        self.decoder = self.decoder_of(size)
        kind = ConvResnet if s.architecture == "encoderSST" else MLPResnet
        self.t_resnet = kind(s.code_size_t, s.n_blocks, s.res_hidden_size)
        self.modules = {n: getattr(self, n) for n in ("ov_Es", "ov_Et", "decoder", "t_resnet")}
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules.values():
            draw(module.eval(), generator)

    def encoder(self, code):
        s, channels = self.s, self.s.nt_cond * self.shape[0]
        small, w = self.shape[-1] == 32, s.enc_hidden_size
        inputs = s.nt_cond * torch.Size(self.shape).numel()
        return {
            "dcgan": lambda: DCGAN64Encoder(channels, code, w),
            "vgg": lambda: VGG64Encoder(channels, code, w, small),
            "resnet": lambda: ResNet18(channels, code, w),
            "encoderSST": lambda: EncoderSST(channels, code, w),
            "mlp": lambda: MLPEncoder(inputs, w, code, s.enc_n_layers),
        }[s.architecture]()

    def decoder_of(self, code):
        s, channels, small = self.s, self.shape[0], self.shape[-1] == 32
        w = s.dec_hidden_size
        sst = DecoderSST_Skip if s.skipco else DecoderSST
        return {
            "dcgan": lambda: DCGAN64Decoder(channels, code, w, s.skipco),
            "vgg": lambda: VGG64Decoder(channels, code, w, s.skipco, small),
            "decoderSST": lambda: sst(channels, code, w),
            "mlp": lambda: MLPDecoder(code, w, self.shape, s.dec_n_layers),
        }[s.decoder_architecture or s.architecture]()

    def save(self, folder):
        """Write the published files: whole pickled modules, under the published paths."""
        folder.mkdir()
        names = {"var_sep": (), "var_sep.networks": ()}
        names |= {f"var_sep.networks.{home}": classes for home, classes in HOMES.items()}
        try:
            for name, classes in names.items():
                sys.modules[name] = types.ModuleType(name)
                for kind in classes:
                    setattr(sys.modules[name], kind.__name__, kind)
                    kind.__module__ = name
            for name, module in self.modules.items():
                torch.save(module, folder / f"{name}.pt")
        finally:
            for name in names:
                sys.modules.pop(name, None)
        (folder / "params.json").write_text(json.dumps(self.settings))
        return folder

    def window(self, frames):
        return frames.reshape(len(frames), -1, *self.shape[1:])

    def content(self, frames):
        code, skips = self.ov_Es(self.window(frames))
        return code, skips if self.s.skipco else []

    def dynamics(self, frames):
        return self.ov_Et(self.window(frames))[0]

    def decode(self, content, latent):
        code, skips = content
        product = self.s.no_s or self.s.mixing == "mul"
        frame = self.decoder(code * latent if product else torch.cat([code, latent], 1), skips)
        return frame if self.s.data in ("sst", "taxibj") else torch.sigmoid(frame)

    def forecast(self, context, length, content_from=None):
        """Frames from the one that the inferred dynamics belong to, and their codes."""
        content = self.content(context if content_from is None else content_from)
        latent, latents, frames = self.dynamics(context), [], []
        for _ in range(length):
            latents.append(latent)
            frames.append(self.decode(content, latent))
            latent = self.t_resnet(latent)
        return torch.stack(frames, 1), torch.stack(latents, 1)

    def losses(self, full, window):
        """The four terms of a whole sequence, with the alignment at this window."""
        n, offset = self.s.nt_cond, self.s.offset
        start = 0 if offset else n
        frames, latents = self.forecast(full[:, :n], full.shape[1] - start)
        content, later = self.content(full[:, :n]), self.content(full[:, -n:])
        aligned = self.decode(content, self.dynamics(full[:, window : window + n]))
        flat = [torch.cat([c.flatten(), *(k.flatten() for k in ks)]) for c, ks in (content, later)]
        square = latents[:, 0].square()
        mean = self.s.architecture == "encoderSST"
        return {
            "forecast": (frames - full[:, start:]).square().mean(),
            "alignment": (aligned - full[:, window + n - offset]).square().mean(),
            "invariance": (flat[0] - flat[1]).square().mean(),
            "prior": 0.5 * (square.mean() if mean else square.sum(1).mean()),
        }


def draw(module, generator):
    """Fill every tensor of a module, statistics included."""
    for name, tensor in module.state_dict().items():
        last = name.rsplit(".", 1)[-1]
        if not tensor.is_floating_point():
            continue
        values = torch.randn(tensor.shape, generator=generator)
        if last == "running_var":
            values = 0.5 + values.abs()
        elif tensor.ndim == 1:
            values = 0.2 * values + (1 if last == "weight" else 0)
        else:
            values = values * (1.5 / tensor[0].numel()) ** 0.5
        tensor.copy_(values)
