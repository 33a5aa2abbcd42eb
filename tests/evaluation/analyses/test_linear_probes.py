"""Probes: exact where codes are the truth, nothing where they are noise, never fitted on scores."""

import json
import math

import pytest
import torch

from statecast.data.base import DataSource, Windows, seeded_generator
from statecast.evaluation.analyses.base import AnalysisPlan
from statecast.evaluation.analyses.code_shares import Shares, concentration, disentanglement
from statecast.evaluation.analyses.ground_truth import counts_of, order_of, quantities, share_found
from statecast.evaluation.analyses.linear_probes import CODES, Probes
from statecast.evaluation.analyses.ridge_regression import explained, fit_probe
from statecast.evaluation.evaluate import evaluate
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Persistence
from statecast.models.roll_out import State
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.codecs.base import Content

CONTEXT, LENGTH, CLASSES = 3, 5, 4
STREAMS = {"train": 0, "validation": 1, "test": 2}


class Truths(Windows):
    """Windows whose 8 points are the truth itself: positions, velocities, labels, two of each."""

    def __init__(self, split, objects, order=None, count=200):
        self.split, self.objects, self.order, self.count = split, objects, order, count
        self.asked = []

    def __len__(self):
        return self.count

    def batch(self, indices):
        self.asked.append(indices.clone())
        indices = indices if self.order is None else self.order[indices]
        generator = seeded_generator(STREAMS[self.split])
        shape = (self.count, LENGTH, self.objects, 2)
        start = 5 * torch.rand((*shape[:1], 1, *shape[2:]), generator=generator)
        velocity = torch.randn(start.shape, generator=generator).expand(shape)[indices]
        position = start[indices] + torch.arange(LENGTH)[:, None, None] * velocity
        label = torch.randint(CLASSES, (self.count, self.objects), generator=generator)[indices]
        same = counts_of(label, CLASSES).float()[:, None].expand(-1, LENGTH, -1)
        points = torch.cat([position.flatten(2), velocity.flatten(2), same], dim=2)
        latents = {"position": position, "velocity": velocity, "label": label}
        return Batch.of(points[:, :, None], CONTEXT, channels=("u",), latents=latents)

    @property
    def digest(self):
        return self.split


class Known(DataSource):
    def __init__(self, objects=1, order=None):
        self.objects, self.order, self.opened = objects, order, {}

    @property
    def spec(self):
        points = 4 * self.objects + CLASSES
        return FrameSpec(
            channels=("u",), space=(points,), context=CONTEXT, horizon=LENGTH - CONTEXT
        )

    def windows(self, split):
        order = self.order if split == "test" else None
        return self.opened.setdefault(split, Truths(split, self.objects, order))

    @property
    def card(self):
        return {"name": "known"}


class Fake(StateSpaceForecaster):
    """A model whose latent is a function of the moving part of the last frame; content, of both."""

    width = 1

    def __init__(self, data, latent, content):
        super().__init__(data.spec, normalise="none")
        self.moving = 4 * data.objects
        self.latent, self.content = latent, content

    def content_of(self, context):
        return Content(self.content(context[:, -1, 0, self.moving :]))

    def observe(self, context, *, samples=1, generator=None):
        latent = self.latent(context[:, -1, 0, : self.moving], generator)
        return State(self.content_of(context), latent[None], 0.0)

    def step(self, latent, noise, *, solver, fractions):
        return [latent]

    def decode(self, content, latents):
        return latents[:, :, None, :1].expand(-1, -1, 1, self.spec.space[0])

    def loss(self, batch, *, step=0, generator=None):
        return {"total": torch.zeros(())}


def noise(values, generator, size=6):
    return torch.randn(len(values), size, generator=generator)


def found(model, data, **options):
    asked = {"split": "test", "max_windows": None, "batch_size": 64, "seed": 1} | options
    return Probes().run(model, AnalysisPlan(data, **asked))


def test_a_latent_that_is_the_truth_explains_all_of_it_and_nothing_of_the_other():
    data = Known()
    result = found(Fake(data, lambda v, g: v, lambda v: v), data)
    for name in ("position", "velocity"):
        assert result["quantities"][name]["latent"]["r2"] == pytest.approx(1, abs=1e-6)
        assert result["quantities"][name]["content"]["r2"] < 0.05
    label = result["labels"]["label"]
    assert label["content"]["accuracy"] == 1
    assert label["latent"]["accuracy"] < label["chance"] + 0.1
    assert label["chance"] < 0.4
    assert label["classes"] == CLASSES


def test_codes_that_have_one_kind_each_are_disentangled_and_equal_codes_are_not():
    data = Known()
    apart = found(Fake(data, lambda v, g: v, lambda v: v), data)
    assert set(apart["completeness"]) == {"position", "velocity", "label"}
    assert min(apart["completeness"].values()) > 0.7
    assert min(apart["disentanglement"].values()) > 0.7

    class Same(Fake):
        def content_of(self, context):
            return Content(context[:, -1, 0])

        def observe(self, context, *, samples=1, generator=None):
            return State(self.content_of(context), context[None, :, -1, 0], 0.0)

    same = found(Same(data, None, None), data)
    assert same["completeness"] == pytest.approx(dict.fromkeys(apart["completeness"], 0), abs=1e-9)
    assert same["disentanglement"] == pytest.approx(dict.fromkeys(CODES, 0), abs=1e-6)
    assert "disentanglement" in Probes().lines(same)[-2]


def test_shares_are_concentrated_as_their_entropy_says():
    assert concentration([0.3, 0.0]) == 1
    assert concentration([0.2, 0.2, 0.2]) == pytest.approx(0)
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert concentration([0.1, 0.3]) == pytest.approx(1 - quarter)
    assert math.isnan(concentration([0.0, 0.0]))
    assert math.isnan(concentration([0.01, 0.02]))  # chance
    moving = {"position": Shares(True, {"latent": 1.0, "content": 0.5})}
    assert math.isnan(disentanglement(moving, CODES)["latent"])  # nothing that stays is known


def test_a_linear_mixture_of_the_truth_explains_all_of_it():
    data = Known()
    mixture = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    result = found(Fake(data, lambda v, g: 30 + 1000 * v @ mixture, lambda v: v), data)
    for name in ("position", "velocity"):
        assert result["quantities"][name]["latent"]["components"] == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("size", [6, 400])
def test_noise_explains_nothing_even_where_it_has_a_unit_for_each_window(size):
    # With 400 units for 200 windows a fit is exact, and a probe that scored its own would be, too.
    data = Known()
    result = found(
        Fake(data, lambda v, g: noise(v, g, size), lambda v: torch.ones(len(v), 3)), data
    )
    for name in ("position", "velocity"):
        assert result["quantities"][name]["latent"]["r2"] < 0.05
        assert abs(result["quantities"][name]["content"]["r2"]) < 0.05  # a constant is the mean


def test_several_objects_are_read_whatever_their_order_in_the_window():
    data = Known(objects=2)
    result = found(Fake(data, lambda v, g: v, lambda v: v), data)
    assert set(result["quantities"]) == {
        "position_mean", "position_sorted", "velocity_mean", "velocity_sorted",
    }  # fmt: skip
    assert result["quantities"]["position_mean"]["latent"]["r2"] == pytest.approx(1, abs=1e-6)
    # Sorting is no linear map: most of the x positions can be read, not all.
    assert 0.3 < result["quantities"]["position_sorted"]["latent"]["r2"] < 0.9
    assert result["labels"]["label"]["content"]["accuracy"] == 1  # duplicates included


def test_order_of_objects_and_of_windows_does_not_matter():
    batch = Truths("test", 3).batch(torch.arange(20))
    turned = {
        name: value.flip(-2 if value.ndim == 4 else -1) for name, value in batch.latents.items()
    }
    swapped = Batch(context=batch.context, target=batch.target, latents=turned)
    for name, value in quantities(batch, 2).items():
        torch.testing.assert_close(quantities(swapped, 2)[name], value)
    scores = []
    for order in (None, torch.randperm(200, generator=torch.Generator().manual_seed(3))):
        data = Known(objects=2, order=order)
        scores.append(found(Fake(data, lambda v, g: v.square(), lambda v: v), data))
    for name, value in scores[0]["quantities"].items():
        assert scores[1]["quantities"][name]["latent"]["r2"] == pytest.approx(value["latent"]["r2"])


def test_ties_are_broken_by_the_next_key():
    keys = torch.tensor([[[1.0, 5.0], [1.0, 2.0], [0.0, 9.0]]])
    assert order_of(keys).tolist() == [[2, 1, 0]]


@pytest.mark.parametrize(("split", "fitting"), [("test", "train"), ("train", "validation")])
def test_no_scored_window_is_fitted(split, fitting):
    data = Known()
    result = found(Fake(data, lambda v, g: v, lambda v: v), data, split=split, max_windows=50)
    assert (result["fitted_on"], result["windows"]) == (fitting, 50)
    assert set(data.opened) == {split, fitting}
    assert sum(map(len, data.opened[split].asked)) == 50
    assert sum(map(len, data.opened[fitting].asked)) == 200


@pytest.mark.parametrize("time", [-2.0, 0.0, 1.0])
def test_latent_and_truth_are_of_the_same_time(time):
    # The latent is a position alone, carried on with the velocity of its own window: that of any
    # other frame is no function of it.
    class Carried(Fake):
        def observe(self, context, *, samples=1, generator=None):
            position, self.velocity = context[:, -1, 0, :4].split(2, dim=1)
            latent = position + time * self.velocity
            return State(self.content_of(context), latent[None], time)

        def step(self, latent, noise, *, solver, fractions):
            return [latent + self.velocity]

    data = Known()
    result = found(Carried(data, None, lambda v: v), data)
    assert result["quantities"]["position"]["latent"]["r2"] == pytest.approx(1, abs=1e-6)
    assert result["quantities"]["velocity"]["latent"]["r2"] < 0.95


def test_shares_found_count_duplicates():
    truth = counts_of(torch.tensor([[0, 0], [1, 2]]), 4)
    assert share_found(torch.tensor([[1.9, 0.5, 0.0, 0.2], [0.1, 0.9, 0.2, 0.8]]), truth) == 0.75


def test_what_never_varies_explains_nothing_and_is_not_explained():
    generator = torch.Generator().manual_seed(5)
    codes = torch.cat([torch.randn(20, 2, generator=generator), torch.full((20, 1), 0.1)], dim=1)
    truths = torch.cat([codes[:, :1] - 3, torch.full((20, 1), 0.1)], dim=1)
    probe = fit_probe(codes, truths)
    assert probe.weight[2].tolist() == [0, 0]
    shares = explained(probe(codes), truths)
    assert float(shares[0]) == pytest.approx(1)
    assert shares[1].isnan()


def test_a_class_that_only_held_out_windows_have_does_not_decide_the_penalty():
    generator = torch.Generator().manual_seed(6)
    codes = torch.randn(40, 3, generator=generator)
    truths = torch.cat([codes @ torch.ones(3, 1), torch.zeros(40, 1)], dim=1)
    truths += 3 * torch.randn(40, 1, generator=generator) * torch.tensor([1.0, 0.0])
    truths[-1, 1] = 1
    assert fit_probe(codes, truths).penalty > 1e-4  # noisy truths ask for one


def test_ridge_agrees_with_the_normal_equations():
    generator = torch.Generator().manual_seed(4)
    codes = torch.randn(50, 5, generator=generator, dtype=torch.float64) * 3 + 1
    truths = codes[:, :2].sin() + 0.1 * torch.randn(50, 2, generator=generator)
    probe = fit_probe(codes, truths)
    scaled = (codes - codes.mean(0)) / codes.std(0, correction=0)
    normal = scaled.T @ scaled + 50 * probe.penalty * torch.eye(5)
    weight = torch.linalg.solve(normal, scaled.T @ (truths - truths.mean(0)))
    torch.testing.assert_close(probe(codes), scaled @ weight + truths.mean(0))


def test_evaluate_offers_it_and_says_where_it_does_not_apply(data):
    known = Known()
    model = Fake(known, lambda v, g: v, lambda v: v)
    scores = evaluate(model, known, metrics=("mse",), analyses=("probes",))
    result = scores.analyses["probes"]
    assert json.loads(json.dumps(result)) == result
    text = "\n".join(Probes().lines(result))
    assert "position" in text
    assert "fitted on 200 train windows, scored on 200 test windows" in text
    scores = evaluate(Persistence(known.spec), known, metrics=("mse",), analyses=("probes",))
    assert "no latent" in scores.not_computed["probes"]
    other = Fake(known, lambda v, g: v, lambda v: v)
    assert "does not know" in Probes.why_not_applicable(other, data)
