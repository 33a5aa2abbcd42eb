"""Codecs: any size that the strides allow, clear errors for others, content used once."""

import pytest
import torch

from statecast.errors import InputError
from statecast.nn.architectures import check_pair, code_shape, decoder_of, encoder_of
from statecast.nn.codecs import Content

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
        architecture, shape, 6, 6, width=4, layers=3, bias=False, skips=skips, output="sigmoid",
        mixing=mixing,
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
        ("resnet", (60, 64), "resnet codec .* 64×64"),
        ("maps", (30, 61), "maps codec .* 32×60"),
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
        ("maps", "dcgan", False, (4, 4), "maps, others vectors"),
        ("vgg", "maps", False, (4, 4), "maps, others vectors"),
        ("vgg", "dcgan", True, (4, 4), "vgg encoder do not fit a dcgan decoder"),
        ("vgg", "vgg", True, (4, 8), "encoder_width and decoder_width to be equal, got 4 and 8"),
    ],
)
def test_codecs_that_do_not_fit_are_refused(encoder, decoder, skips, widths, message):
    with pytest.raises(InputError, match=message):
        check_pair(encoder, decoder, skips=skips, encoder_width=widths[0], decoder_width=widths[1])
    check_pair(decoder, decoder, skips=skips, encoder_width=4, decoder_width=4)


def test_a_product_needs_codes_of_one_size():
    with pytest.raises(InputError, match="4 and 5"):
        decoder_of(
            "mlp", (1, 9), 4, 5, width=4, layers=2, bias=True, skips=False, output="identity",
            mixing="product",
        )  # fmt: skip
