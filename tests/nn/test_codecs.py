"""Codecs: any size that the strides allow, clear errors for others, content used once."""

import pytest
import torch

from statecast.errors import InputError
from statecast.nn.architectures import decoder_of, encoder_of
from statecast.nn.codecs import Content

SIZES = [("dcgan", (64, 64)), ("dcgan", (32, 48)), ("vgg", (64, 96)), ("vgg", (32, 32))]


def codec(architecture, space, *, skips=False, channels=2, mixing="concat"):
    shape = (channels, *space)
    encoder = encoder_of(architecture, shape, 6, width=4, layers=3, bias=False, head="tanh")
    decoder = decoder_of(
        architecture, shape, 6, 6, width=4, layers=3, bias=False, skips=skips, output="sigmoid",
        mixing=mixing,
    )  # fmt: skip
    return encoder.eval(), decoder.eval()


@pytest.mark.parametrize(("architecture", "space"), [*SIZES, ("mlp", (17,)), ("mlp", (5, 7))])
def test_decoded_frames_have_the_size_of_encoded_ones(architecture, space):
    encoder, decoder = codec(architecture, space)
    frames = torch.rand(3, 2, *space)
    code = encoder(frames).code
    assert code.shape == (3, 6)
    decoded = decoder(Content(code), torch.rand(3, 4, 6))
    assert decoded.shape == (3, 4, 2, *space)
    assert 0 < decoded.min() <= decoded.max() < 1


@pytest.mark.parametrize(("architecture", "space"), SIZES)
def test_decoding_many_latents_equals_decoding_one_at_a_time(architecture, space):
    encoder, decoder = codec(architecture, space, skips=True)
    encoding = encoder(torch.rand(2, 2, *space))
    content = Content(encoding.code, encoding.skips)
    latents = torch.randn(2, 3, 6)
    together = decoder(content, latents)
    for index in range(3):
        alone = decoder(content, latents[:, index : index + 1])
        torch.testing.assert_close(together[:, index], alone[:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "space", "nearest"),
    [("dcgan", (60, 64), "64×64"), ("vgg", (100, 70), "96×64"), ("vgg", (33, 40), "32×40")],
)
def test_a_size_that_the_strides_do_not_divide_names_the_nearest(architecture, space, nearest):
    with pytest.raises(InputError, match=nearest):
        codec(architecture, space)


def test_images_are_needed_by_convolutions():
    with pytest.raises(InputError, match="architecture: mlp"):
        codec("dcgan", (100,))


def test_points_have_no_skips():
    with pytest.raises(InputError, match="skips: false"):
        codec("mlp", (10,), skips=True)


def test_a_product_needs_codes_of_one_size():
    with pytest.raises(InputError, match="4 and 5"):
        decoder_of(
            "mlp", (1, 9), 4, 5, width=4, layers=2, bias=True, skips=False, output="identity",
            mixing="product",
        )  # fmt: skip
