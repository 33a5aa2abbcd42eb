"""The Kalman filter: golden values, and what follows from the joint Gaussian of all values."""

import pytest
import torch
from helpers.golden import tensors_of

from statecast.nn.kalman import Moments, apply, correct, discretise, draw_backwards, smooth

EXACT = {"atol": 1e-10, "rtol": 1e-9}
MASKS = ("all", "middle_missing", "random", "forecast", "first_missing")


@pytest.fixture(scope="module")
def golden():
    return tensors_of("kvae", "kalman_float64")


def run(golden, known):
    """Predicted and filtered moments with a batch of one, and the log-likelihood of each value."""
    state = Moments(golden["initial_mean"][None], golden["initial_covariance"][None])
    predicted, filtered, terms = [], [], []
    for time, value in enumerate(golden["observations"]):
        emission = golden["C"][time]
        predicted.append(state)
        expected = state.transform(emission, golden["R"])
        terms.append(expected.log_density(value[None])[0] * known[time])
        state = correct(state, value[None], known[time][None], emission=emission, noise=golden["R"])
        filtered.append(state)
        state = state.transform(golden["A"][time], golden["Q"])
        state = state._replace(mean=state.mean + golden["B"][time] @ golden["controls"][time])
    return Moments.stack(predicted, 1), Moments.stack(filtered, 1), torch.stack(terms), state


@pytest.mark.parametrize("mask", MASKS)
def test_it_gives_the_golden_moments_and_likelihood(golden, mask):
    predicted, filtered, terms, after = run(golden, golden[f"{mask}/mask"].bool())
    smoothed = smooth(filtered, predicted, golden["A"][None, :-1])
    found = {"predicted": predicted, "filtered": filtered, "smoothed": smoothed.moments}
    for name, moments in found.items():
        torch.testing.assert_close(moments.mean[0], golden[f"{mask}/{name}_mean"], **EXACT)
        expected = golden[f"{mask}/{name}_covariance"]
        torch.testing.assert_close(moments.covariance[0], expected, **EXACT)
    observed = predicted.transform(golden["C"], golden["R"])
    expected = golden[f"{mask}/predicted_observation"]
    torch.testing.assert_close(observed.mean[0], expected, **EXACT)
    expected = golden[f"{mask}/predicted_observation_covariance"]
    torch.testing.assert_close(observed.covariance[0], expected, **EXACT)
    lag_one = smoothed.gains @ smoothed.moments.covariance[:, 1:]
    expected = golden[f"{mask}/smoothed_lag_one_covariance"]
    torch.testing.assert_close(lag_one[0], expected, **EXACT)
    torch.testing.assert_close(after.mean[0], golden[f"{mask}/next_mean"], **EXACT)
    torch.testing.assert_close(after.covariance[0], golden[f"{mask}/next_covariance"], **EXACT)
    torch.testing.assert_close(terms, golden[f"{mask}/log_likelihood_terms"], **EXACT)
    torch.testing.assert_close(terms.sum(), golden[f"{mask}/log_likelihood"], **EXACT)


def joint(golden):
    """Mean and covariance of all states (time * size), by propagating every pair."""
    length, size = len(golden["A"]), len(golden["Q"])
    mean, covariance = [golden["initial_mean"]], torch.zeros(length, length, size, size).double()
    covariance[0, 0] = golden["initial_covariance"]
    for time in range(length - 1):
        transition = golden["A"][time]
        mean.append(transition @ mean[-1] + golden["B"][time] @ golden["controls"][time])
        covariance[time + 1, : time + 1] = transition @ covariance[time, : time + 1]
        covariance[: time + 1, time + 1] = covariance[time + 1, : time + 1].mT
        spread = transition @ covariance[time, time] @ transition.T
        covariance[time + 1, time + 1] = spread + golden["Q"]
    return torch.cat(mean), covariance.permute(0, 2, 1, 3).reshape(length * size, length * size)


def test_missing_values_are_values_left_out_of_the_joint_gaussian(golden):
    known = golden["random/mask"].bool()
    mean, covariance = joint(golden)
    matrix = torch.block_diag(*golden["C"])[known.repeat_interleave(2)]
    values = golden["observations"][known].flatten()
    cross = covariance @ matrix.T
    spread = matrix @ cross + torch.block_diag(*[golden["R"]] * int(known.sum()))
    gain = torch.linalg.solve(spread, cross.T).T
    predicted, filtered, _, _ = run(golden, known)
    smoothed = smooth(filtered, predicted, golden["A"][None, :-1]).moments
    conditional = mean + gain @ (values - matrix @ mean)
    torch.testing.assert_close(smoothed.mean.flatten(), conditional, **EXACT)
    rest = (covariance - gain @ cross.T).unflatten(0, (9, 4)).unflatten(2, (9, 4))
    blocks = rest.diagonal(dim1=0, dim2=2).movedim(-1, 0)
    torch.testing.assert_close(smoothed.covariance[0], blocks, **EXACT)
    torch.testing.assert_close(smoothed.mean[:, -1], filtered.mean[:, -1], **EXACT)


def test_paths_drawn_backwards_have_the_joint_law(golden):
    """A path is affine in its standard normal values: its covariance is read from unit ones."""
    known = golden["random/mask"].bool()
    predicted, filtered, _, _ = run(golden, known)
    transitions = golden["A"][None, :-1]
    unit = torch.cat([torch.zeros(1, 36), torch.eye(36)]).double().view(37, 9, 4)
    rows = [
        Moments(*(part.expand(37, *part.shape[1:]) for part in m)) for m in (filtered, predicted)
    ]
    paths = draw_backwards(*rows, transitions.expand(37, -1, -1, -1), golden["Q"], unit).flatten(1)
    smoothed = smooth(filtered, predicted, transitions)
    torch.testing.assert_close(paths[0], smoothed.moments.mean.flatten(), **EXACT)
    moved = paths[1:] - paths[0]
    covariance = (moved.T @ moved).unflatten(0, (9, 4)).unflatten(2, (9, 4))
    blocks = covariance.diagonal(dim1=0, dim2=2).movedim(-1, 0)
    torch.testing.assert_close(blocks, smoothed.moments.covariance[0], **EXACT)
    neighbours = covariance.diagonal(offset=1, dim1=0, dim2=2).movedim(-1, 0)
    torch.testing.assert_close(neighbours, golden["random/smoothed_lag_one_covariance"], **EXACT)


def test_irregular_times_by_van_loans_integral():
    golden = tensors_of("continuous_time", "irregular_kalman")
    diffusion = golden["L"] @ golden["L"].T

    def move(state, interval):
        transition, noise = discretise(golden["A"], diffusion, interval)
        return state.transform(transition, noise), transition

    state = Moments(golden["initial_mean"][None], golden["initial_covariance"][None])
    before, likelihood, now = 0.0, 0.0, None
    found = {"predicted": [], "filtered": []}
    transitions = []
    for time, value in zip(
        golden["observation_times"].tolist(), golden["observations"], strict=True
    ):
        state, transition = move(state, time - before)
        transitions.append(transition)
        found["predicted"].append(state)
        likelihood += state.transform(golden["C"], golden["R"]).log_density(value[None])
        now = torch.tensor([True])
        state = correct(state, value[None], now, emission=golden["C"], noise=golden["R"])
        found["filtered"].append(state)
        before = time
    stacked = {name: Moments.stack(states, 1) for name, states in found.items()}
    steps = torch.stack(transitions[1:])[None]
    stacked["smoothed"] = smooth(stacked["filtered"], stacked["predicted"], steps).moments
    for name, moments in stacked.items():
        torch.testing.assert_close(moments.mean[0], golden[f"{name}_mean"], **EXACT)
        torch.testing.assert_close(moments.covariance[0], golden[f"{name}_covariance"], **EXACT)
    torch.testing.assert_close(likelihood[0], golden["log_likelihood"], **EXACT)
    for index, time in enumerate(golden["future_times"].tolist()):
        later, _ = move(state, time - before)
        torch.testing.assert_close(later.mean[0], golden["future_mean"][index], **EXACT)
        torch.testing.assert_close(later.covariance[0], golden["future_covariance"][index], **EXACT)


def test_discretised_steps_compose():
    drift = torch.tensor([[0.0, 1.0], [-3.0, -0.2]]).double()
    diffusion = torch.diag(torch.tensor([0.0, 0.5])).double()
    (one, q1), (two, q2) = (discretise(drift, diffusion, h) for h in (0.3, 1.1))
    whole, noise = discretise(drift, diffusion, 1.4)
    torch.testing.assert_close(two @ one, whole, **EXACT)
    torch.testing.assert_close(two @ q1 @ two.T + q2, noise, **EXACT)
    torch.testing.assert_close(apply(whole, torch.ones(2).double()), whole.sum(dim=1))
