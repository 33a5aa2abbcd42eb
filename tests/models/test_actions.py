"""Frames forecast under actions: what published equations say of them, and from when they act."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.seeds import seeded
from helpers.tensorflow_checkpoints import write_checkpoint
from torch.func import functional_call
from torch.nn import functional

from statecast.data.base import collate_batches
from statecast.errors import InputError
from statecast.forecasting.forecast_file import forecast_file
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models import MODELS
from statecast.models.build import build_model
from statecast.models.pixel_motion.cdna import CDNA
from statecast.models.pixel_motion.sv2p import Stage
from statecast.models.savp.cell import SAVPCell
from statecast.models.savp.model import Draws
from statecast.runs.create import create_run
from statecast.runs.load import load_model
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.loading import load_official
from statecast.runs.run import evaluate_run, open_run, train_run

GOLDEN = Path(__file__).parents[1] / "golden"
SPEC = FrameSpec(
    channels=("c",), space=(16, 16), context=2, horizon=3, value_range=(0.0, 1.0), actions=2,
    agent_states=3,
)  # fmt: skip
LENGTH = SPEC.length
MOTION = {"width": 3, "lstm_widths": (3, 3, 4, 4, 5, 4, 3)}
SMALL = {
    "cdna": MOTION,
    "sv2p": {**MOTION, "tower_widths": (3, 4, 4), "posterior_start": 0},
    "savp": {"width": 3, "encoder_width": 3, "discriminator_width": 2, "noise_size": 2},
}
ACTING = [name for name, kind in MODELS.items() if getattr(kind, "takes_actions", False)]
CLOSE = {"rtol": 2e-4, "atol": 2e-6}


def made(name, spec=SPEC, **options):
    """A model in training whose weights are so large that each term shows."""
    model = MODELS[name](spec, **SMALL[name], **options, generator=seeded())
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if part.startswith(("cell", "encoder", "dynamics")):
                weight.copy_(0.4 * torch.randn(weight.shape, generator=seeded(len(part))))
    return model.train()


def batch_of(spec=SPEC, batch=3, length=LENGTH, seed=1):
    generator = seeded(seed)
    values = torch.rand(batch, length, *spec.frame_shape, generator=generator)
    actions = torch.randn(batch, length - 1, spec.actions, generator=generator)
    states = torch.randn(batch, length, spec.agent_states, generator=generator)
    states = states if spec.agent_states else None
    return Batch.of(values, spec.context, actions=actions, agent_states=states)


def flags_of(seed, batch=3, inputs=LENGTH - 2):
    flags = torch.rand(batch, inputs, generator=seeded(seed)) < 0.5
    flags[:, : SPEC.context - 1] = True
    return flags


def predicted_state(model, action, state):
    weight, bias = model.dynamics.linear.weight, model.dynamics.linear.bias
    return bias + sum(weight[:, place] * number for place, number in enumerate([*action, *state]))


def check_gradients(model, one, other):
    """Two losses have the same gradients."""
    weights = {k: w for k, w in model.named_parameters() if not k.startswith("discriminators")}
    found, expected = (
        torch.autograd.grad(loss, weights.values(), allow_unused=True, retain_graph=True)
        for loss in (one, other)
    )
    # A bias before normalisation has no gradient but rounding.
    largest = max(float(each.abs().max()) for each in expected if each is not None)
    for name, ours, theirs in zip(weights, found, expected, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7 * largest)


# The published equations, slowly


@pytest.mark.parametrize("name", ["cdna", "sv2p"])
def test_the_cell_of_pixel_motion_adds_a_bias_of_action_and_predicted_state(name):
    """A vector beside the maps of a pointwise convolution is a bias of each video and step."""
    model, batch, flags = made(name, agent_state_weight=0.3), batch_of(), flags_of(3)
    size, four = SPEC.actions + SPEC.agent_states, MOTION["lstm_widths"][3]
    bare = replace(SPEC, actions=0, agent_states=0)
    cell = MODELS[name](bare, **SMALL[name]).cell
    latents = None
    if name == "sv2p":
        stage, noise = Stage(True, 0.1), torch.randn(3, 1, 1, 2, 2, generator=seeded(4))
        posterior = model.tower(batch.values)
        latents = (posterior.mean + posterior.std * noise[:, 0].movedim(1, -1)).movedim(-1, 1)
    weights = dict(model.cell.named_parameters())
    mixing, bias = weights["mix.weight"], weights["mix.bias"]
    around = torch.cat([mixing[:, :four], mixing[:, four + size :]], dim=1)
    states_error, frames_error = [], []
    for video in range(len(batch)):
        frame, state, memory = batch.values[video, 0], batch.agent_states[video, 0], (None,) * 7
        for step in range(LENGTH - 1):
            action = batch.actions[video, step]
            vector = torch.cat([action, state])
            here = weights | {
                "mix.weight": around,
                "mix.bias": bias + mixing[:, four : four + size, 0, 0] @ vector,
            }
            latent = None if latents is None else latents[video : video + 1]
            following, memory = functional_call(cell, here, (frame[None], memory, latent))
            state = predicted_state(model, action, state)
            counted = name == "sv2p" or step + 1 >= SPEC.context
            if counted:
                states_error.append((state - batch.agent_states[video, step + 1]).square().mean())
                frames_error.append((following[0] - batch.values[video, step + 1]).square().mean())
            true = step + 1 < LENGTH - 1 and flags[video, step]
            frame = batch.values[video, step + 1] if true else following[0]
    total = torch.stack(frames_error).mean() + 0.3 * torch.stack(states_error).mean()
    if name == "sv2p":
        terms = model.loss_given(batch, flags, noise, stage)
        total = total + 0.1 * posterior.divergence_from_standard().mean()
    else:
        terms = model.loss_given(batch, flags)
    torch.testing.assert_close(terms["agent_states"], torch.stack(states_error).mean(), **CLOSE)
    torch.testing.assert_close(terms["total"], total, **CLOSE)
    check_gradients(model, terms["total"], total)


def slow_posterior(model, batch, video, step):
    """Mean and standard deviation of SAVP's latent between two frames."""
    encoder = model.encoder
    pair = [batch.values[video, step], batch.values[video, step + 1]]
    tiled = [number.expand(1, *SPEC.space) for number in batch.actions[video, step]]
    maps = torch.cat([*pair, *tiled])[None]
    for index, layer in enumerate(encoder.convolutions):
        maps = functional.conv2d(maps, layer.weight, layer.bias, stride=2, padding=1)
        if index > 0:
            norm = encoder.norms[index - 1]
            maps = functional.instance_norm(maps, eps=norm.eps)
            maps = maps * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
        maps = functional.leaky_relu(maps, 0.2)
    code = maps.mean(dim=(2, 3))[0]
    mean = encoder.mean.weight @ code + encoder.mean.bias
    variance = encoder.log_variance.weight @ code + encoder.log_variance.bias
    return mean, (variance.clamp(-10, 10) / 2).exp()


def slow_window(model, twin, batch, flags, latents):
    """Frames and states of a SAVP's window, video by video."""
    frames, states = [], []
    for video in range(len(batch)):
        first = batch.values[video : video + 1, 0]
        frame, state, memory, inner = first, batch.agent_states[video, 0], twin.start(first), None
        made_frames, made_states = [], []
        for step in range(LENGTH - 1):
            inner = model.cell.lstm(latents[video][step][None], inner)
            action = batch.actions[video, step]
            # Frames move under the state, but do not move it.
            vector = torch.cat([action, state.detach(), inner[0][0]])[None]
            full, smallest, lstms = twin.features(frame, vector, memory)
            memory = memory._replace(lstms=lstms)
            images = model.cell.kernels_of(smallest), model.cell.scratch(full).sigmoid()
            padded = functional.pad(frame, (2, 2, 2, 2), mode="replicate")
            padded[..., 0, :], padded[..., -1, :] = padded[..., 3, :], padded[..., -4, :]
            padded[..., :, 0], padded[..., :, -1] = padded[..., :, 3], padded[..., :, -4]
            moved = functional.conv2d(padded, images[0].movedim(1, 0))
            images = torch.cat([moved, frame, first, images[1]], dim=1)
            masks = model.cell.masks(full, images).softmax(dim=1)
            following = (masks * images).sum(dim=1, keepdim=True)
            state = predicted_state(model, action, state)
            made_frames.append(following[0])
            made_states.append(state)
            true = step + 1 < LENGTH - 1 and flags[video, step]
            frame = batch.values[video : video + 1, step + 1] if true else following
            state = batch.agent_states[video, step + 1] if true else state
        frames.append(torch.stack(made_frames))
        states.append(torch.stack(made_states))
    return torch.stack(frames), torch.stack(states)


def test_savp_sees_action_state_and_latent_beside_the_input_of_every_convolution():
    weights = dict.fromkeys(("gan_weight", "vae_gan_weight", "vae_gan_feature_weight"), 0.0)
    model, batch = made("savp", agent_state_weight=0.3, kl_start=0, kl_end=0, **weights), batch_of()
    size = SPEC.actions + SPEC.agent_states + 2
    twin = SAVPCell(
        SPEC.frame_shape, width=3, noise_size=size, condition_size=0, transformations=4,
        kernel_size=5, output="sigmoid", epsilon=1e-6,
    )  # fmt: skip
    # Its layers are those of the golden files, whose latent is as long as all three together.
    twin.stages_down, twin.stages_up = model.cell.stages_down, model.cell.stages_up
    drawn = torch.randn(3, LENGTH - 1, 2, generator=seeded(5))
    flags = flags_of(3)
    draws = Draws(drawn, drawn, (flags, flags), torch.zeros(3, 4, dtype=torch.long))
    given = [[slow_posterior(model, batch, v, s) for s in range(LENGTH - 1)] for v in range(3)]
    latents = [
        [mean + std * drawn[v, s] for s, (mean, std) in enumerate(row)]
        for v, row in enumerate(given)
    ]
    frames, states = slow_window(model, twin, batch, flags, latents)
    generated = model.generate(batch, draws)
    torch.testing.assert_close(generated.posterior, frames, rtol=1e-3, atol=1e-5)
    terms = model.generator_terms(batch, generated, draws, 0)
    error = (states - batch.agent_states[:, 1:]).square().mean()
    torch.testing.assert_close(terms["agent_states"], error, **CLOSE)
    divergence = torch.stack(
        [0.5 * (m**2 + s**2 - 1 - 2 * s.log()).sum() for row in given for m, s in row]
    ).mean()
    total = 100 * (frames - batch.values[:, 1:]).abs().mean() + 0.3 * error + divergence
    torch.testing.assert_close(terms["total"], total, rtol=1e-3, atol=0)
    check_gradients(model, terms["total"], total)


# Facts of every model that takes actions


@pytest.mark.parametrize("name", ACTING)
class TestActing:
    def test_an_action_changes_frames_from_its_time_on_and_none_before(self, name):
        model, context = made(name).eval(), batch_of().context

        def frames(actions):
            given = replace(context, actions=actions)
            return model.forecast(given, 3, generator=seeded()).samples[0]

        plain = frames(context.actions)
        for step in range(LENGTH - 1):
            other = context.actions.clone()
            other[:, step] += 5
            changed = (frames(other) != plain).flatten(2).any(dim=2).all(dim=0).tolist()
            first = max(0, step - (SPEC.context - 1))
            assert changed == [lead >= first for lead in range(3)], step

    def test_the_agent_s_state_changes_the_forecast(self, name):
        model, context = made(name).eval(), batch_of().context
        other = context.agent_states.clone()
        other[:, 0] += 1
        one, two = (
            model.forecast(replace(context, agent_states=s), generator=seeded()).samples
            for s in (context.agent_states, other)
        )
        assert not torch.equal(one, two)

    def test_a_sequence_does_not_depend_on_others_nor_on_later_actions(self, name):
        model, context = made(name).eval(), batch_of().context
        whole = model.forecast(context, 3, samples=1 + model.stochastic, generator=seeded()).samples
        short = replace(context, actions=context.actions[:, :2])
        found = model.forecast(short, 1, samples=1 + model.stochastic, generator=seeded()).samples
        torch.testing.assert_close(found, whole[:, :, :1])
        if not model.stochastic:
            alone = model.forecast(context.select(slice(1, 2)), 3).samples
            torch.testing.assert_close(alone, whole[:, 1:2], rtol=1e-4, atol=1e-6)

    def test_actions_of_a_bare_array_are_given_beside_it(self, name):
        spec = replace(SPEC, agent_states=0)
        model, batch = made(name, spec).eval(), batch_of(spec)
        expected = model.forecast(batch.context, 3, generator=seeded()).samples
        values = batch.context.values
        found = model.forecast(values, 3, actions=batch.actions, generator=seeded()).samples
        assert torch.equal(found, expected)
        (one,) = model.forecast(
            values[0, :, 0], 3, actions=batch.actions[0].numpy(), generator=seeded()
        ).samples
        assert one.shape == (1, 3, 1, 16, 16)

    def test_without_states_the_actions_alone_are_seen_and_every_weight_is_reached(self, name):
        for spec in (SPEC, replace(SPEC, agent_states=0)):
            model = made(name, spec)
            terms = model.loss(batch_of(spec), generator=seeded())
            assert ("agent_states" in terms) == (spec.agent_states > 0)
            terms["total"].backward()
            for weight, parameter in model.named_parameters():
                assert parameter.grad is not None, weight

    def test_what_is_missing_is_named(self, name):
        model, batch = made(name), batch_of()
        context = batch.context
        with pytest.raises(InputError, match=r"needs actions of shape \(batch, 4, 2\).* got None"):
            model.forecast(context.values)
        with pytest.raises(InputError, match=r"\(batch, 5, 2\).* got \(3, 4, 2\)"):
            model.forecast(context, 4)
        with pytest.raises(InputError, match=r"got \(3, 4, 3\)"):
            model.forecast(context, actions=torch.zeros(3, 4, 3))
        with pytest.raises(InputError, match=r"beginning with \(3,\), got \(2, 4, 2\)"):
            model.forecast(context, actions=torch.zeros(2, 4, 2))
        with pytest.raises(InputError, match="needs agent_states"):
            model.forecast(replace(context, agent_states=None))
        with pytest.raises(InputError, match="actions of a context must be finite"):
            model.forecast(replace(context, actions=context.actions / 0))
        with pytest.raises(InputError, match="frames with actions and agent_states, got none"):
            model.loss(Batch.of(batch.values, 2), generator=seeded())

    def test_changes_from_a_reference_are_forecast_under_actions_too(self, name):
        model = build_model(
            name, SPEC, SMALL[name], reference="persistence", spread=False, generator=seeded()
        )
        model.weight.fill_(1)
        batch = batch_of()
        assert torch.isfinite(model.loss(batch, generator=seeded())["total"])
        one, two = (
            model.forecast(batch.context, actions=a * batch.actions, generator=seeded()).samples
            for a in (1, 9)
        )
        assert not torch.equal(one, two)


def test_half_precision_leaves_predicted_states_their_digits():
    dynamics, batch = made("cdna").dynamics, batch_of()
    none = torch.empty(3, 0, dtype=torch.bool)
    expected = dynamics(batch.actions, batch.agent_states, none).predicted
    with torch.autocast("cpu", torch.bfloat16):
        found = dynamics(batch.actions, batch.agent_states, none).predicted
    torch.testing.assert_close(found, expected)


def test_models_that_take_no_actions_ignore_those_of_a_context_and_refuse_others():
    context = batch_of().context
    for model in (
        MODELS["persistence"](SPEC),
        made("cdna", replace(SPEC, actions=0, agent_states=0)),
    ):
        one = model.forecast(context, 2).samples
        assert torch.equal(one, model.forecast(context.values, 2).samples)
        with pytest.raises(InputError, match="takes no actions"):
            model.forecast(context, 2, actions=context.actions)


def test_actions_go_with_their_windows():
    batch = batch_of()
    part = batch.select(slice(1, 3))
    assert torch.equal(part.actions, batch.actions[1:3])
    assert torch.equal(part.agent_states, batch.agent_states[1:3])
    joined = collate_batches([batch, part])
    assert torch.equal(joined.actions, torch.cat([batch.actions, part.actions]))
    assert torch.equal(joined.agent_states, torch.cat([batch.agent_states, part.agent_states]))
    shorter = replace(batch, target=batch.target.at([0, 2]))
    assert torch.equal(shorter.target.agent_states, batch.target.agent_states[:, [0, 2]])
    assert torch.equal(shorter.context.actions, batch.actions)
    later = batch.context.at(slice(-1, None))
    assert torch.equal(later.values, batch.context.values[:, 1:])
    assert torch.equal(later.actions, batch.actions[:, 1:])
    assert torch.equal(later.agent_states, batch.agent_states[:, 1:2])


def test_frames_refuse_actions_of_another_shape():
    values = torch.zeros(2, 3, 1, 8, 8)
    with pytest.raises(InputError, match=r"actions must have the shape .* got \(3, 4, 2\)"):
        Frames.context_of(values, actions=torch.zeros(3, 4, 2))
    with pytest.raises(
        InputError, match=r"agent_states .* beginning with \(2, 3\), got \(2, 2, 1\)"
    ):
        Frames.context_of(values, agent_states=torch.zeros(2, 2, 1))
    with pytest.raises(InputError, match="actions must be an array of numbers"):
        Frames.context_of(values, actions="left")
    with pytest.raises(InputError, match="states need actions"):
        replace(SPEC, actions=0)


def shifted(batch, generator):
    """Random frames, and the same moved by −1, 0 or 1 pixels, as actions say."""
    first = torch.rand(batch, 1, 8, 16, generator=generator)
    actions = torch.randint(-1, 2, (batch, 1, 1), generator=generator)
    second = torch.stack(
        [one.roll(int(a), dims=-1) for one, a in zip(first, actions[:, 0, 0], strict=True)]
    )
    return Batch.of(torch.stack([first, second], dim=1), 1, actions=actions.float())


def test_a_model_learns_what_actions_do():
    spec = FrameSpec(channels=("c",), space=(8, 16), context=1, horizon=1, actions=1)
    errors = {}
    for given in (spec, replace(spec, actions=0)):
        model = CDNA(given, **MOTION, normalise="none", generator=seeded())
        optimizer, generator = torch.optim.Adam(model.parameters(), lr=0.01), seeded(2)
        for _ in range(50):
            optimizer.zero_grad()
            model.loss(shifted(8, generator))["total"].backward()
            optimizer.step()
        test = shifted(64, seeded(3))
        forecast = model.forecast(test.context).samples[0]
        errors[given.actions] = float((forecast - test.target.values).square().mean())
    assert errors[1] < 0.5 * errors[0]


def test_a_run_trains_scores_and_forecasts_under_actions(tmp_path):
    """From a file to a file; a run that is opened again knows what it needs."""
    generator = np.random.default_rng(4)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        frames=generator.random((6, 7, 1, 8, 8), np.float32),
        actions=generator.normal(size=(6, 9, 2)).astype("f4"),
        agent_states=generator.normal(size=(6, 7, 1)).astype("f4"),
    )
    table = {"name": "arrays", "path": str(path), "axes": "ntcyx", "context": 2, "horizon": 3}
    train = {"steps": 2, "batch_size": 2, "validate_every": 2, "device": "cpu"}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({
        "model": {"name": "cdna", "width": 2, "lstm_widths": [2] * 7},
        "data": table | {"actions": True, "value_range": [0.0, 1.0]},
        "train": train, "evaluate": {"samples": 1, "metrics": ["mse"]},
    }))  # fmt: skip
    run = create_run(str(recipe), tmp_path / "run")
    assert not [c for c in run.inferred_options if c.what == "actions"]
    train_run(run)
    again = open_run(tmp_path / "run")
    assert (again.spec.actions, again.spec.agent_states) == (2, 1)
    scores = evaluate_run(again).forecasters
    assert np.isfinite(scores["cdna"]["mse"]["mean"].value)
    assert np.isfinite(scores["persistence"]["mse"]["mean"].value)
    written = forecast_file(load_model(tmp_path / "run"), path, tmp_path / "b.npz")
    assert written.shape == (1, 6, 3, 1, 8, 8)
    with pytest.warns(UserWarning, match="has no options lstm_widths"):
        ignoring = create_run(str(recipe), tmp_path / "other", ["--model.name=convlstm"])
    assert [c.chosen for c in ignoring.inferred_options if c.what == "actions"] == [
        "read, and ignored by convlstm"
    ]


# Published weights


def with_actions(name):
    """The golden variables with places for 7 numbers of actions and states, filled with zeros."""
    arrays = dict(np.load(GOLDEN / name / "weights.npz"))
    generator = np.random.default_rng(1)
    head = generator.normal(size=(7, 3)).astype("f4"), np.ones(3, "f4")
    if name == "sv2p":
        places = {"generator/conv4/weights": 1}
        names = ("generator/state_pred/weights", "generator/state_pred/biases")
    else:
        cell, latent = "generator/rnn/savp_cell/", 3
        places = {
            key: latent + ("lstm_h" in key) * array.shape[3] // 4
            for key, array in arrays.items()
            if key.startswith(cell)
            and key.endswith(("conv_pool2d/kernel", "upsample_conv2d/kernel", "2dlstm_cell/kernel"))
        }
        names = (f"{cell}state_pred/dense/kernel", f"{cell}state_pred/dense/bias")
        first = "generator/encoder/layer_1/conv2d/kernel"
        arrays[first] = np.insert(arrays[first], [arrays[first].shape[2]] * 4, 0, axis=2)
    arrays |= dict(zip(names, head, strict=True))
    for key, after in places.items():
        array = arrays[key]
        arrays[key] = np.insert(array, [array.shape[2] - after] * 7, 0, axis=2)
    return arrays, places


@pytest.mark.parametrize("name", ["sv2p", "savp"])
def test_published_weights_with_actions(name, tmp_path):
    arrays, places = with_actions(name)
    config = json.loads((GOLDEN / name / "config.json").read_text())
    settings = config["hparams"] if name == "savp" else {"context_frames": 2}
    settings |= {"state_weight": 0.01}
    (tmp_path / "model_hparams.json").write_text(json.dumps(settings))
    write_checkpoint(tmp_path / "model-1", arrays)
    model = load_official(tmp_path)
    assert (model.spec.actions, model.spec.agent_states) == (4, 3)
    context = batch_of(model.spec, batch=2, length=5).context
    found = model.forecast(context, 3, generator=seeded()).samples
    plain = dict(np.load(GOLDEN / name / "weights.npz"))
    bare = from_arrays(name, plain, config | ({"tensorflow": "1"} if name == "savp" else {}))
    expected = bare.forecast(context.values, 3, generator=seeded()).samples
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # weights of actions are zero
    first = next(iter(places))
    place = arrays[first].shape[2] - places[first] - 7  # of the first number of actions
    arrays[first][:, :, place] = 1
    write_checkpoint(tmp_path / "model-2", arrays)
    acting = load_official(tmp_path)
    one, two = (
        acting.forecast(context, 3, actions=a, generator=seeded()).samples
        for a in (context.actions, context.actions * torch.tensor([0.0, 1, 1, 1]))
    )
    assert not torch.equal(one, two)
    same = acting.forecast(
        context, 3, actions=context.actions * torch.tensor([1.0, 0, 0, 0]), generator=seeded()
    ).samples
    torch.testing.assert_close(same, one)
