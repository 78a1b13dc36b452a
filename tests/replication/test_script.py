"""How several experiments share one command line; what a single one does with it is in test_running.py."""

import dataclasses
from pathlib import Path

import joblib
import pytest

import tlkeras as tl
from tlkeras.files import write_text
from tlkeras.replication import comparison, results, script
from tlkeras.replication.experiment import Plan
from tlkeras.replication.run_folder import RunFolder

TUNER = tl.Tuner("vgg16", phases=tl.Phase(1, 1e-3, keep="last"))
SEARCH = tl.Search(TUNER, {"learning_rate": (1e-3, 1e-2)}, tl.KFold(2))


def experiment(name, cells, **fields):
    """An experiment of the script `both`, with the same cells on its own data set and on one that stands in."""
    protocol = tl.Protocol(split=tl.Predefined(), cells=cells)
    defaults = {
        "script": "both",
        "paper": tl.Paper(title="Two toys", authors="Nobody", venue="nowhere"),
        "dataset": "chest_xray",
        "default_backbones": ("vgg16",),
        "smoke_backbones": ("mobilenet_025",),
        "protocols": {"paper": protocol, "stand_in": dataclasses.replace(protocol, dataset="ham10000")},
        "reported": {},
    }
    return tl.Experiment(name=name, **(defaults | fields))


FIRST = experiment("first", {("trained", "vgg16"): TUNER, ("trained", "mobilenet_025"): TUNER})
SECOND = experiment(
    "second",
    {
        ("knn", "vgg16"): tl.Extractor("vgg16", weights=tl.EarlierRun("first", "trained")),
        ("svm", "resnet50"): tl.Extractor("resnet50", "svm"),
    },
    default_backbones=("vgg16", "resnet50"),
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Calls a script and runs nothing; returns {experiment: (options, backend and jobs, published to)}."""
    monkeypatch.chdir(tmp_path)
    seen, published = {}, {}

    def run_experiment(experiment, options):
        parallel = joblib.Parallel()
        seen[experiment.name] = (options, (type(parallel._backend).__name__, parallel.n_jobs))
        write_text(options.out / options.protocol / "table.md", "")
        return RunFolder(options.out / options.protocol)

    monkeypatch.setattr(script, "run_experiment", run_experiment)
    # Which data sets are there is looked at before anything runs; here there are none.
    monkeypatch.setattr(Plan, "load", lambda *_, **__: None)
    monkeypatch.setattr(script, "publish", lambda source, target: published.setdefault(Path(source), Path(target)))
    monkeypatch.setattr(results, "report_experiment", lambda *_: None)
    monkeypatch.setattr(comparison, "compare_protocols", lambda *_: None)

    def call(*arguments, experiments=(FIRST, SECOND)):
        seen.clear()
        script.main(experiments, list(arguments))
        return {
            name: (options, where, published.get(options.out / options.protocol))
            for name, (options, where) in seen.items()
        }

    return call


@pytest.fixture
def refused(run, capsys):
    """Calls a script with arguments that it refuses; returns what it says."""

    def call(*arguments, **fields):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments, **fields)
        assert stopped.value.code == 2
        return capsys.readouterr().err

    return call


def test_all_experiments_run_in_order_each_into_a_folder_of_its_own(run):
    ran = run("--out", "here", "--publish", "there", "--seeds", "3", "4")
    assert list(ran) == ["first", "second"]
    for name, (options, _, published) in ran.items():
        assert options.out == Path("here", name)
        assert published == Path("there", name, "paper")
        assert options.seeds == (3, 4)
        assert options.protocol == "paper"  # the first one is the default


def test_the_default_folders_of_several_are_told_apart_from_those_of_a_smoke_run(run):
    assert [options.out for options, *_ in run().values()] == [Path("runs/first"), Path("runs/second")]
    assert [options.out for options, *_ in run("--smoke").values()] == [
        Path("runs/smoke/first"),
        Path("runs/smoke/second"),
    ]
    # One experiment alone has no folder between.
    ((options, *_),) = run("--out", "here", experiments=FIRST).values()
    assert options.out == Path("here")
    ((options, *_),) = run("--smoke", experiments=(FIRST,)).values()
    assert options.out == Path("runs/first-smoke")


def test_only_takes_some_of_them_in_the_order_of_the_script(run, refused):
    assert list(run("--only", "second")) == ["second"]
    assert list(run("--only", "second", "first")) == ["first", "second"]
    assert "--only: received 'third'; accepted: first, second" in refused("--only", "third")


def test_methods_and_networks_go_to_the_experiments_that_have_them(run):
    assert {name: ran[0].methods for name, ran in run("--methods", "knn", "trained").items()} == {
        "first": ("trained",),
        "second": ("knn",),
    }
    assert list(run("--methods", "knn")) == ["second"]
    by_network = run("--backbones", "resnet50", "vgg16")
    assert {name: ran[0].backbones for name, ran in by_network.items()} == {
        "first": ("vgg16",),
        "second": ("resnet50", "vgg16"),
    }
    assert list(run("--backbones", "mobilenet_025")) == ["first"]


def test_what_no_chosen_experiment_has_is_refused(refused):
    assert "--methods: received 'tree'; accepted: trained, knn, svm" in refused("--methods", "trained", "tree")
    assert "--methods: received 'knn'; accepted: trained" in refused("--only", "first", "--methods", "knn")
    assert "--backbones: received 'vgg19'; accepted: vgg16, mobilenet_025, resnet50" in refused("--backbones", "vgg19")


def test_networks_run_when_none_is_named(run):
    assert {name: ran[0].backbones for name, ran in run().items()} == {
        "first": ("vgg16",),
        "second": ("vgg16", "resnet50"),
    }
    assert run("--smoke")["first"][0].backbones == ("mobilenet_025",)
    # Of a stand-in all: the document's own networks say nothing about it.
    stand_in = run("--protocol", "stand_in")
    assert stand_in["first"][0].backbones == ("vgg16", "mobilenet_025")


def test_only_earlier_and_jobs_are_asked_for_where_there_is_something_to_choose(refused):
    assert "unrecognized arguments: --only" in refused("--only", "first", experiments=FIRST)
    assert "unrecognized arguments: --earlier" in refused("--earlier", "x", experiments=FIRST)
    assert "unrecognized arguments: --jobs" in refused("--jobs", "2")


SEARCHING = experiment("searching", {("best", "vgg16"): SEARCH})


def test_cells_of_a_grid_run_where_jobs_and_backend_say(run, refused):
    ((_, where, _),) = run(experiments=SEARCHING).values()
    assert where[1] == 1
    ((_, where, _),) = run("--jobs", "3", experiments=SEARCHING).values()
    assert where == ("LokyBackend", 3)
    for jobs in ("0", "-1"):
        said = refused("--jobs", jobs, experiments=SEARCHING)
        assert f"--jobs: received {jobs}; accepted is 1 or more." in said
    assert "invalid choice: 'dask'" in refused("--backend", "dask", experiments=SEARCHING)


def test_a_data_set_that_is_missing_is_said_before_anything_runs(run, refused, monkeypatch):
    def load(plan, data, **_):
        if plan.experiment.name == "second":
            raise tl.InputError(f"there is no second data set in {data}")

    monkeypatch.setattr(Plan, "load", load)
    said = refused("--data", "here")
    assert "second (--only names those that can be run): there is no second data set in here" in said
    assert "== first ==" not in said
    assert list(run("--only", "first", "--data", "here")) == ["first"]


def test_where_nothing_is_left_to_do_it_is_said(refused):
    assert "nothing to do for first, second" in refused("--methods", "trained", "--backbones", "resnet50")
