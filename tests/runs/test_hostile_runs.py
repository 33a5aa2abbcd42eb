"""Recipes, run folders and scores of strangers: no code, no other file, no way out of a folder."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.toy_data import Pendulum, trained_run

from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.data.benchmarks.kth import KTH
from statecast.data.cache.frame_store import open_prepared
from statecast.errors import FileError, InputError, StatecastError
from statecast.evaluation.comparability import read_runs, read_scores
from statecast.evaluation.comparison import compare
from statecast.io.sealed_json import sealed
from statecast.reports.inspection.inspect_path import inspect_path
from statecast.reports.page.charts import plain_name
from statecast.reports.page.write_report import write_report
from statecast.runs.create import create_run
from statecast.runs.digests import record_digests
from statecast.runs.load import load
from statecast.runs.recipes.resolve import as_tables, read_recipe, resolve
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.training.checkpoints import list_checkpoints, load_checkpoint
from statecast.training.logs import drop_rows_after, read_log

OVERRIDES = ["--train.steps", "4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run folder with scores; made once, and copied."""
    made = trained_run(tmp_path_factory.mktemp("trained"), OVERRIDES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "pendulum", Pendulum)
        evaluate_run(made, ["--evaluate.max_windows", "4"])
    return made.folder


@pytest.fixture
def run(trained, recipe, tmp_path):
    """A run folder of one's own."""
    return shutil.copytree(trained, tmp_path / "run")


# Recipes

TAGS = (
    "!!python/object/apply:os.system ['{command}']",
    "!!python/object/new:os.system ['{command}']",
    "!!python/object:conftest.Canary {{}}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object/apply:subprocess.Popen [['sh', '-c', '{command}']]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['{command}']",
    "!include {text}",
    "!env HOME",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["{tag}", "model: {tag}", "model: {{name: {tag}}}", "{tag}: 1"])
def test_tags_of_yaml_build_nothing(place, tag, canary, tmp_path):
    value = tag.format(command=canary.command, text=canary.text)
    path = tmp_path / "a.yaml"
    path.write_text(place.format(tag=value))
    (tmp_path / "config.yaml").write_text(path.read_text())
    with pytest.raises(StatecastError) as caught:
        resolve(read_recipe(str(path)))
    canary.unseen(caught.value)
    with pytest.raises(StatecastError):
        open_run(tmp_path)


CLASSES = (
    "os.system", "statecast.models.srvp.SRVP", "conftest.Canary", "../srvp", "srvp\0",
    {"class_path": "os.system", "init_args": {}}, ["srvp"], None, 3,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["model", "data"])
@pytest.mark.parametrize("name", CLASSES, ids=str)
def test_models_and_data_come_from_their_registries_alone(name, kind, canary):
    tables = {"model": {"name": "srvp"}, "data": {"name": "moving_digits"}}
    tables[kind]["name"] = name
    with pytest.raises(InputError):
        resolve(tables)


def test_class_paths_in_options_are_not_imported(canary):
    evil = {"class_path": "os.system", "init_args": {"command": canary.command}}
    for option in ("latent_size", "architecture", "solver", "normalise"):
        with pytest.raises(InputError):
            resolve({"model": {"name": "srvp", option: evil}, "data": {"name": "moving_digits"}})
    for option in ("crop", "path", "variables", "engine"):
        with pytest.raises(InputError):
            resolve({"model": {"name": "srvp"}, "data": {"name": "fields", option: evil}})


def test_options_that_name_files_do_not_read_them(canary, tmp_path):
    """jsonargparse could take a path for the options that the file holds."""
    for value in (str(canary.text), f"@{canary.text}", f"file://{canary.text}"):
        tables = {"model": {"name": "srvp"}, "data": {"name": "fields", "path": value}}
        assert resolve(tables)["data"]["path"] == value
        for option in ("--data.crop", "--data.context", "--model.latent_size", "--model.config"):
            with pytest.raises(InputError) as caught:
                resolve(tables, [option, value])
            canary.unseen(caught.value)


def bomb(levels=9, merge=False):
    """A few hundred bytes of YAML that stand for a billion values."""
    lines = ["a0: &a0 {k: 1}"]
    for level in range(1, levels):
        parts = ", ".join([f"*a{level - 1}"] * 10)
        inner = f"<<: [{parts}]" if merge else f"x: [{parts}]"
        lines.append(f"a{level}: &a{level} {{{inner}}}")
    return "\n".join(lines)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("merge", [False, True])
def test_references_that_grow_without_end_are_refused(merge):
    with pytest.raises(InputError, match="refers to parts of itself"):
        as_tables(bomb(merge=merge), "a.yaml")
    tables = {"model": {"name": "srvp", "latent_size": bomb(merge=merge)},
              "data": {"name": "moving_digits"}}  # fmt: skip
    with pytest.raises(InputError):
        resolve(tables)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "model: &a {x: *a}", "[" * 5000, "{a: " * 2000, "model: {x: " + "1" * 5000 + "}",
        "model: {x: 2001-99-99}", "model: {x: !!int a}", "1: {a: 1}", "null: {a: 1}", "model: 1",
        "? [a]\n: {b: 1}", "model: {? [1]: 2}", "\ufeff", "\x00", "a" * (1 << 19), "model: {1: 2}",
        "- model", "model: {name: srvp}\n---\nmodel: {name: srvp}", "=", "<<: 1", "model: {<<: 1}",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_other_odd_yaml_is_our_own_error(text):
    with pytest.raises(StatecastError) as caught:
        resolve(as_tables(text, "a.yaml"))
    assert len(str(caught.value)) < 1000


def test_code_is_taken_from_the_user_and_from_no_recipe(recipe, tmp_path):
    script = tmp_path / "i3d.pt"
    with pytest.raises(InputError, match="names a file of code to run"):
        resolve(read_recipe(recipe) | {"evaluate": {"fvd_weights": str(script)}})
    option = ["--evaluate.fvd_weights", str(script)]
    assert resolve(read_recipe(recipe), option)["evaluate"]["fvd_weights"] == str(script)
    made = create_run(recipe, tmp_path / "run", [*OVERRIDES, *option])
    assert open_run(made.folder).tables["evaluate"]["fvd_weights"] is None
    path = made.folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["evaluate"]["fvd_weights"] = "i3d.pt"
    path.write_text(yaml.safe_dump(content))
    record_digests(made.folder, {})
    with pytest.raises(StatecastError, match="names a file of code to run"):
        open_run(made.folder)


# Run folders


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "scores.json", "env.json", "metrics.csv", "official.json",
     "preparation.safetensors", "checkpoints"],
)  # fmt: skip
def test_links_out_of_a_run_folder_are_not_followed(name, run, canary, tmp_path):
    path = run / name
    if path.is_dir():
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved", target_is_directory=True)
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(canary.text)
    looks = {
        "config.yaml": lambda: open_run(run),
        "scores.json": lambda: read_scores(run),
        "metrics.csv": lambda: (read_log(run), drop_rows_after(path, 3)),
        "preparation.safetensors": lambda: load(run),
        "checkpoints": lambda: load(run),
    }
    if name in looks:
        with pytest.raises(StatecastError, match="link that leads out") as caught:
            looks[name]()
        canary.unseen(caught.value)
    size = canary.text.stat().st_size
    report = ["report", str(run), "--output", str(tmp_path / "r.html"), "--windows", "2"]
    shown = name == "env.json"  # of a report, which takes a while, and is alike for all
    for words in (["inspect", str(run)], report if shown else ["train", "--resume", str(run)]):
        main(words)
    assert canary.text.stat().st_size == size
    if Path(report[3]).exists():
        canary.unseen(Path(report[3]).read_text())


def test_links_in_a_checkpoint_are_not_followed(run, canary):
    (step,) = list_checkpoints(run)
    for name in ("model.safetensors", "state.safetensors", "manifest.json"):
        kept = (step / name).read_bytes()
        (step / name).unlink()
        (step / name).symlink_to(canary.secret)
        with pytest.raises(StatecastError) as caught:
            load_checkpoint(run)
        canary.unseen(caught.value)
        (step / name).unlink()
        (step / name).write_bytes(kept)
    load_checkpoint(run)
    (run / "checkpoints" / "step=000099").symlink_to(step, target_is_directory=True)
    assert list_checkpoints(run) == [step]


@pytest.mark.parametrize("text", ["../..", "../../outside", "/etc", "step=000004/../..", "\0", "..",
                                  "step=000004\nstep=000005", "step=-1", "\xff\xfe"])  # fmt: skip
def test_names_of_checkpoints_lead_nowhere_else(text, run):
    for which in (text, f"../{text}", "step=000004"):
        with pytest.raises(StatecastError):
            load_checkpoint(run, which)


def test_a_pickle_in_place_of_weights_is_not_read_as_one(run, canary):
    import pickle

    from statecast.io.atomic_files import sha256_of

    (step,) = list_checkpoints(run)
    manifest = json.loads((step / "manifest.json").read_text())
    for name in manifest["files"]:
        (step / name).write_bytes(pickle.dumps(canary))
        manifest["files"][name]["sha256"] = sha256_of(step / name)
    manifest.pop("sha256")
    (step / "manifest.json").write_text(sealed(manifest))
    with pytest.raises(StatecastError):
        load(run)
    with pytest.raises(StatecastError):
        train_run(open_run(run), resume=True)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "3", "null", '{"$": "x"}', "\xff",
                                     "9" * 5000, '{"format": 1}'])  # fmt: skip
def test_damaged_json_is_our_own_error(content, run):
    places = [run / "scores.json", next(run.rglob("manifest.json"))]
    for path in places:
        path.write_text(content, encoding="latin-1")
    for look in (lambda: load(run), lambda: read_scores(run), lambda: compare(read_runs([run]))):
        with pytest.raises(StatecastError):
            look()
    inspect_path(run)


def test_no_run_folder_holds_a_pickle(run):
    for path in run.rglob("*"):
        if path.is_file():
            start = path.read_bytes()[:2]
            assert not start.startswith((b"\x80", b"PK"))
            assert path.suffix in (".yaml", ".json", ".csv", ".safetensors", ".png", "")


HOSTILE = ("<script>alert(1)</script>", "../../../evil", "a/b\\c", "$(touch x)", "red",
           "'; DROP TABLE", "-->", "]]>", "{{7*7}}", "$\\frac{1}{0}$")  # fmt: skip


def test_scores_with_control_characters_are_refused(run):
    whole = json.loads((run / "scores.json").read_text())
    for letters in ("\x1b[2J", "\u202e", "\x07", "a\nb"):
        for part in ({letters: 1}, {"notes": [letters]}):
            scores = whole | {"protocol": whole["protocol"] | part}
            (run / "scores.json").write_text(json.dumps(scores))
            with pytest.raises(StatecastError, match="control characters"):
                read_scores(run)


def test_names_of_pictures_are_letters_digits_and_dashes():
    for name in HOSTILE:
        assert "/" not in plain_name(name)
        assert "." not in plain_name(name)


def test_names_of_runs_are_not_for_a_shell(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("a b", "$(touch evil)", "; touch evil", "é\n", "-x", "a'b\"c", "\x1b[31m"):
        path = tmp_path / f"{name}.yaml"
        shutil.copy(recipe, path)
        made = create_run(str(path), None, OVERRIDES)
        assert made.folder.parent.resolve() == (tmp_path / "runs").resolve()
        assert open_run(made.folder).tables["train"]["steps"] == 4
        assert main(["inspect", str(made.folder)]) == 0
        assert "\x1b" not in capsys.readouterr().out
    assert not (tmp_path / "evil").exists()


def test_letters_that_move_a_cursor_are_not_printed(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text('"\\e[2J\\e[31mall is well": {a: 1}')
    assert main(["train", str(path)]) == 2
    assert "\x1b" not in capsys.readouterr().err


# Prepared stores


def test_a_prepared_store_does_not_reach_elsewhere(canary, tmp_path):
    for name in ("frames.bin", "manifest.json"):
        folder = tmp_path / name
        folder.mkdir()
        manifest = {
            "options": KTH.kind.identity,
            "files": {"frames.bin": {"bytes": canary.secret.stat().st_size, "sha256": "0" * 64}},
            "content": {"shape": [0, 1, 64, 64], "dtype": "|u1", "sequences": [], "notes": {}},
        }
        (folder / "manifest.json").write_text(sealed(manifest))
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(canary.secret)
        with pytest.raises(FileError, match="link that leads out"):
            open_prepared(folder, KTH.kind)


def test_names_in_scores_are_text_everywhere(run, canary, tmp_path):
    scores = json.loads((run / "scores.json").read_text())
    first = next(iter(scores["forecasters"]))
    every = "".join(HOSTILE)
    scores["forecasters"][every] = scores["forecasters"][first]
    score = scores["forecasters"][first].pop("mse")
    scores["forecasters"][first] = {f"../../../evil{every}": score}
    for name in HOSTILE:
        scores["protocol"][name] = name
        scores["not_computed"][name] = name
    scores["protocol"]["name"] = HOSTILE[0]
    (run / "scores.json").write_text(json.dumps(scores))
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    output = tmp_path / "report.html"
    write_report([run], output, windows=2, samples=2)
    text = output.read_text()
    assert "<script" not in text
    assert "\x1b" not in text
    made = {path for path in tmp_path.rglob("*") if run not in path.parents} - before
    pictures = tmp_path / "report_pictures"
    assert all(path in (output, pictures) or path.parent == pictures for path in made)
