"""Codecs: any size that the strides allow, clear errors for others, content used once."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.nn.codecs.base import Content, DecoderOptions, nearest_size
from statecast.nn.codecs.build import check_pair, code_shape, decoder_of, encoder_of

SIZES = [
    ("dcgan", (64, 64)), ("dcgan", (32, 48)), ("vgg", (64, 96)), ("vgg", (32, 32)),
    ("maps", (64, 64)), ("maps", (20, 36)),
]  # fmt: skip
WITHOUT_SKIPS = [
    ("mlp", (17,)), ("mlp", (5, 7)), ("resnet", (64, 64)), ("resnet", (16, 48)),
]  # fmt: skip


def codec(architecture, space, *, skips=False, channels=2, mixing="concat"):
    shape = (channels, *space)
    encoder = encoder_of(architecture, shape, 6, width=4, layers=3, bias=False, head="tanh")
    decoder = decoder_of(
        architecture,
        shape,
        DecoderOptions(
            content_size=6, latent_size=6, width=4, layers=3, bias=False, skips=skips,
            output="sigmoid", mixing=mixing,
        ),
    )  # fmt: skip
    return encoder.eval(), decoder.eval()


@pytest.mark.parametrize(("architecture", "space"), [*SIZES, *WITHOUT_SKIPS])
def test_decoded_frames_have_the_size_of_encoded_ones(architecture, space):
    encoder, decoder = codec(architecture, space)
    frames = torch.rand(3, 2, *space)
    code = encoder(frames).code
    assert code.shape == (3, *code_shape(architecture, (2, *space), 6))
    decoded = decoder(Content(code), torch.rand(3, 4, *code.shape[1:]))
    assert decoded.shape == (3, 4, 2, *space)
    assert 0 < decoded.min() <= decoded.max() < 1


@pytest.mark.parametrize(("architecture", "space"), SIZES)
@pytest.mark.parametrize("mixing", ["concat", "product"])
def test_decoding_many_latents_equals_decoding_one_at_a_time(architecture, space, mixing):
    encoder, decoder = codec(architecture, space, skips=True, mixing=mixing)
    encoding = encoder(torch.rand(2, 2, *space))
    content = Content(encoding.code, encoding.skips)
    latents = torch.randn(2, 3, *encoding.code.shape[1:])
    together = decoder(content, latents)
    for index in range(3):
        alone = decoder(content, latents[:, index : index + 1])
        torch.testing.assert_close(together[:, index], alone[:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "space", "nearest"),
    [
        ("dcgan", (60, 64), "64×64"),
        ("vgg", (100, 70), "96×64"),
        ("vgg", (33, 40), "32×40"),
        ("resnet", (60, 64), "resnet .* 64×64"),
        ("maps", (30, 61), "maps .* 28×60"),
    ],
)
def test_a_size_that_the_strides_do_not_divide_names_the_nearest(architecture, space, nearest):
    with pytest.raises(InputError, match=nearest):
        codec(architecture, space)


def test_images_are_needed_by_convolutions():
    with pytest.raises(InputError, match="architecture: mlp"):
        codec("dcgan", (100,))


@pytest.mark.parametrize(("architecture", "space"), WITHOUT_SKIPS)
def test_some_codecs_have_no_skips(architecture, space):
    with pytest.raises(InputError, match=f"{architecture} codec .* skips: false"):
        codec(architecture, space, skips=True)


@pytest.mark.parametrize(
    ("encoder", "decoder", "skips", "widths", "message"),
    [
        ("maps", "dcgan", False, (4, 4), "vectors in others"),
        ("vgg", "maps", False, (4, 4), "vectors in others"),
        ("vgg", "dcgan", True, (4, 4), "vgg encoder do not fit a dcgan decoder"),
        ("vgg", "vgg", True, (4, 8), "encoder_width and decoder_width to be equal, got 4 and 8"),
    ],
)
def test_codecs_that_do_not_fit_are_refused(encoder, decoder, skips, widths, message):
    with pytest.raises(InputError, match=message):
        check_pair(encoder, decoder, skips=skips, encoder_width=widths[0], decoder_width=widths[1])
    check_pair(decoder, decoder, skips=skips, encoder_width=4, decoder_width=4)


def test_a_product_needs_codes_of_one_size():
    options = DecoderOptions(
        content_size=4, latent_size=5, width=4, layers=2, bias=True, skips=False,
        output="identity", mixing="product",
    )  # fmt: skip
    with pytest.raises(InputError, match="4 and 5"):
        decoder_of("mlp", (1, 9), options)


def reduction_of(architecture, space):
    return 16 if architecture == "dcgan" or min(space) >= 64 else 8


ANY_SIZE = {
    "architecture": st.sampled_from(["dcgan", "vgg"]),
    "space": st.tuples(st.integers(1, 90), st.integers(1, 90)),
    "channels": st.integers(1, 5),
    "skips": st.booleans(),
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**ANY_SIZE)
def test_any_size_works_or_the_error_names_one_that_does(architecture, space, channels, skips):
    if any(size % reduction_of(architecture, space) for size in space):
        with pytest.raises(InputError, match="nearest size") as error:
            codec(architecture, space, channels=channels)
        height, width = re.search(r"works is (\d+)×(\d+)", str(error.value)).groups()
        space = int(height), int(width)
    encoder, decoder = codec(architecture, space, skips=skips, channels=channels)
    with torch.no_grad():
        encoding = encoder(torch.rand(1, channels, *space))
        content = Content(encoding.code, encoding.skips if skips else ())
        assert decoder(content, torch.rand(1, 2, 6)).shape == (1, 2, channels, *space)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(space=st.tuples(st.integers(1, 140), st.integers(1, 140)), small=st.booleans())
def test_the_nearest_size_is_the_nearest_one(space, small):
    kind = "vgg" if small else "dcgan"
    sides = range(8, 170, 8)
    sizes = [(y, x) for y in sides for x in sides
             if y % reduction_of(kind, (y, x)) == x % reduction_of(kind, (y, x)) == 0]  # fmt: skip
    best = min(abs(y - space[0]) + abs(x - space[1]) for y, x in sizes)
    found = nearest_size(space, lambda shape: reduction_of(kind, shape[1:]))
    assert found in sizes
    assert abs(found[0] - space[0]) + abs(found[1] - space[1]) == best


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(
    ("architecture", "space", "channels"),
    [("dcgan", (16, 48), 1), ("dcgan", (64, 32), 5), ("vgg", (8, 24), 4), ("vgg", (64, 80), 2)],
)
@pytest.mark.parametrize("name", ["srvp", "separable"])
def test_models_take_frames_of_any_size_and_channels(name, architecture, space, channels, skips):
    names = tuple(f"channel_{i}" for i in range(channels))
    spec = FrameSpec(channels=names, space=space, context=2, horizon=2, value_range=(0.0, 1.0))
    sizes = {
        "srvp": {"width": 2, "code_size": 5},
        "separable": {"encoder_width": 2, "decoder_width": 2},
    }
    generator = torch.Generator().manual_seed(0)
    model = MODELS[name](
        spec, architecture=architecture, skips=skips, latent_size=4, generator=generator,
        **sizes[name],
    )  # fmt: skip
    values = torch.rand(3, 4, channels, *space, generator=generator)
    terms = model.loss(Batch.of(values, 2), generator=generator)
    terms["total"].backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    forecast = model.forecast(values[:, :2], 3, generator=generator)
    assert forecast.samples.shape == (1, 3, 3, channels, *space)
