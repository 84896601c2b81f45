"""pytest checks anyone's own model, if it is asked to, and serves people's own tests."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import xml.etree.ElementTree

import numpy as np
import onnx
import pytest

from tests.helpers import model_files
from tests.helpers.inner_pytest import BESIDE, BUDGET, CHECKS, MODEL
from tests.helpers.strategies import model_proto


def _table(**keys):
    """Return a table of pyproject.toml for the model."""
    entries = {"model": "small.onnx", "data": "data.npz", "n-steps": model_files.N_STEPS, "max-loss": 5, **keys}
    return "".join(f"{key} = {value!r}\n" for key, value in entries.items() if value is not None)


def test_the_plugin_is_installed_under_its_own_name():
    points = importlib.metadata.distribution("snnrepro").entry_points
    assert [(one.name, one.value) for one in points if one.group == "pytest11"] == [
        ("snnrepro", "snnrepro.checking.plugin")
    ]


def test_what_our_extras_install_leaves_every_project_its_pytest(pytester):
    if importlib.util.find_spec("nengo") is not None and int(pytest.__version__.split(".")[0]) > 8:
        pytest.skip("not what the extra nengo installs: Nengo's own plugin of pytest ends every run of pytest 9")
    pytester.makepyfile("def test_own(): pass")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_nothing_happens_without_its_options(run, pytester):
    pytester.makepyfile(
        """
        import sys
        def test_own():
            loaded = [name for name in sys.modules if name.startswith("snnrepro.")]
            assert sorted(loaded) == ["snnrepro.checking", "snnrepro.checking.plugin", "snnrepro.errors"]
        """
    )
    pytester.makepyprojecttoml("[tool.snnrepro.small]\n" + _table(recipe="no such"))
    run(how="subprocess").assert_outcomes(passed=1)


def test_a_model_and_its_images_are_enough(run):
    result = run(*MODEL, *BUDGET, "-v")
    result.assert_outcomes(passed=CHECKS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["snnrepro::test_the_loss_is_within_the_budget[[]small.onnx] PASSED*"])
    result.stdout.fnmatch_lines(["model*steps*trained*spiking*lost*synops*", f"small.onnx*{model_files.N_STEPS}*150*"])


def test_its_checks_run_beside_peoples_own_tests(run, pytester):
    pytester.makepyfile("def test_own(): pass")
    run(*MODEL, *BUDGET).assert_outcomes(passed=CHECKS + 1)
    run(*MODEL, *BUDGET, "-k", "budget").assert_outcomes(passed=1, deselected=CHECKS + 2 + 1 - 1)


def test_benchmarks_run_beside_it(run, pytester):
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile("def test_own(benchmark): benchmark.pedantic(sum, ([1, 2],), rounds=3)")
    result = pytester.runpytest_subprocess(*BESIDE, *MODEL, *BUDGET)
    result.assert_outcomes(passed=CHECKS + 1)
    result.stdout.fnmatch_lines(["*benchmark: 1 tests*"])
    result.stdout.fnmatch_lines(["small.onnx *"])


def test_it_does_not_matter_what_a_project_calls_its_own_tests(run, pytester):
    pytester.makeini("[pytest]\npython_functions = check_*\npython_files = none.py")
    run(*MODEL, *BUDGET).assert_outcomes(passed=CHECKS)


def test_a_loss_beyond_the_budget_fails_and_says_where_it_comes_from_and_what_to_try(run):
    result = run("--snn-model", "small.onnx", "--snn-data", "data.npz", "--snn-n-steps", "1", "--snn-max-loss", "0")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "it loses * points (* to *): * lost, * won; the budget is 0 points of accuracy (recipe balanced, 1 steps)",
            "trained network: accuracy *; spiking: accuracy *",
            "the layer that adds most: '*', * points of the answers to * images",
            "To try: *",
        ]
    )
    assert "model_checks.py" not in result.stdout.str(), "lines of our own code say nothing to a user"


def test_a_model_that_cannot_be_read_is_explained_once(run, pytester):
    loop = onnx.helper.make_node("NonZero", ["x"], ["y"], name="strange")
    onnx.save(model_proto([loop], {}, "x", (6,), "y", (6,)), str(pytester.path / "small.onnx"))
    result = run(*MODEL)
    assert result.ret == 1
    told = result.stdout.str()
    assert told.count("NonZero 'strange'") == 1
    assert "these nodes cannot be converted: (see the first failure)" in told
    assert "Traceback" not in told
    assert not result.parseoutcomes().get("passed")


def test_each_table_of_pyproject_is_a_model(run, pytester):
    pytester.makepyprojecttoml(f"[tool.snnrepro.one]\n{_table()}\n[tool.snnrepro.two]\n{_table(recipe='rate')}")
    result = run("--snn", "-v")
    result.assert_outcomes(passed=2 * CHECKS)
    result.stdout.fnmatch_lines(["*budget[[]one]*", "*budget[[]two]*", "one *", "two *"], consecutive=False)


def test_a_model_is_checked_with_the_weights_and_neurons_that_are_said(run, pytester):
    pytester.makepyprojecttoml(f"[tool.snnrepro.one]\n{_table(weights='int16')}")
    pytester.makepyfile(
        """
        def test_of_its_own(snn_spiking, snn_run):
            assert (snn_spiking.weights, snn_spiking.neurons_per_activation) == ("int16", 3)
            assert snn_run.n_neurons == snn_spiking.n_neurons
        """
    )
    result = run("--snn", "--snn-neurons-per-activation", "3")
    result.assert_outcomes(passed=CHECKS + 1)


def test_the_command_line_stands_above_the_tables(run, pytester):
    pytester.makepyprojecttoml(f"[tool.snnrepro.one]\n{_table()}")
    result = run("--snn", "--snn-n-steps", "1", "--snn-max-loss", "0")
    result.stdout.fnmatch_lines(["it loses *; the budget is 0 points*(recipe balanced, 1 steps)"])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("steps = 3", "*[[]tool.snnrepro.one]: 'steps' is none of model, data, *"),
        ("n-steps = 'many'", "*n_steps must be int, got 'many'*"),
        ("n-steps = true", "*n_steps must be int, got True*"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(run, pytester, table, told):
    pytester.makepyprojecttoml(f"[tool.snnrepro.one]\nmodel = 'small.onnx'\ndata = 'data.npz'\n{table}")
    result = run("--snn")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--snn",), "*pyproject.toml has no table *"),
        (("--snn-model", "small.onnx"), "*--snn-model needs the images*--snn-data*"),
        (("--snn-data", "data.npz"), "*--snn-data needs a model*"),
        (("--snn-max-loss", "0"), "*--snn-max-loss needs a model*"),
    ],
)
def test_options_that_nothing_would_heed_are_refused(run, options, told):
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])


def test_the_fixtures_serve_peoples_own_tests(run, pytester):
    pytester.makepyprojecttoml(f"[tool.snnrepro.small]\n{_table()}")
    pytester.makepyfile(
        """
        import numpy as np
        import snnrepro as snn

        def test_own(snn_network, snn_spiking, snn_run, snn_images, snn_calibration, snn_evaluation, snn_verification):
            assert len(snn_network.nodes) == 5
            assert snn_spiking.n_steps == snn_run.n_steps == 20
            assert len(snn_run.scores) == len(snn_images.x) == len(snn_images.y) == 150
            judged = {image.tobytes() for image in snn_images.x}
            assert len(snn_calibration.x) == 150 and not judged & {image.tobytes() for image in snn_calibration.x}
            snn.assert_loss_within(snn_spiking, snn_images.x, snn_images.y, 5.0)
            assert snn_evaluation.loss.n_images == 150
            snn.assert_verified(snn_verification)
        """
    )
    run().assert_outcomes(passed=1)  # own tests alone: the checks were not asked for


def test_a_test_that_goes_to_another_folder_changes_nothing(run, pytester):
    pytester.mkdir("elsewhere")
    pytester.makepyfile("import os\ndef test_own(): os.chdir('elsewhere')")
    result = run(*MODEL, *BUDGET, "--snn-save", "ref.json", how="subprocess")
    result.assert_outcomes(passed=CHECKS + 1)
    assert (pytester.path / "ref.json").is_file()


def test_a_fixture_without_a_model_says_what_is_missing(run, pytester):
    pytester.makepyfile("def test_own(snn_network): pass")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no model: give --snn-model and --snn-data, or *"])


def test_a_model_in_memory_takes_the_place_of_the_files(run, pytester):
    pytester.makeconftest(
        """
        import pytest
        from snnrepro.checking.settings import Settings
        from snnrepro.checking.subject import Subject
        from tests.helpers import model_files

        @pytest.fixture(scope="session")
        def snn_subject():
            network = model_files.network()
            return Subject(Settings("mine", network, model_files.images(network), n_steps=20))
        """
    )
    pytester.makepyfile("def test_own(snn_run): assert snn_run.n_steps == 20 and len(snn_run.scores) == 150")
    run().assert_outcomes(passed=1)


def test_training_images_of_a_file_calibrate_and_its_test_images_judge(run, pytester):
    trained = model_files.network()
    (x, y), (more, labels) = model_files.images(trained, 200, 2), model_files.images(trained, 70, 3)
    np.savez(pytester.path / "data.npz", x_train=x, y_train=y, x_test=more, y_test=labels)
    pytester.makepyprojecttoml(f"[tool.snnrepro.small]\n{_table()}")
    pytester.makepyfile(
        "def test_own(snn_images, snn_calibration): assert (len(snn_calibration.x), len(snn_images.x)) == (200, 70)"
    )
    run().assert_outcomes(passed=1)


def test_one_image_is_too_few(run, pytester):
    x, y = model_files.images(model_files.network(), 1)
    np.savez(pytester.path / "data.npz", x=x, y=y)
    result = run(*MODEL, "-k", "budget")
    result.stdout.fnmatch_lines(["*one image cannot both fit neurons and judge them*"])
    result.assert_outcomes(errors=1, deselected=CHECKS + 2 - 1)


def test_figures_are_in_the_junit_file(run, pytester):
    run(*MODEL, *BUDGET, "--junitxml", "junit.xml")
    found = {
        one.get("name"): one.get("value")
        for one in xml.etree.ElementTree.parse(str(pytester.path / "junit.xml")).iter("property")
    }
    assert found["snn_model"] == "small.onnx"
    assert found["snn_figure"] == "accuracy"
    assert float(found["snn_trained"]) - float(found["snn_spiking"]) == pytest.approx(float(found["snn_loss"]))
    assert float(found["snn_operations"]) > float(found["snn_spikes"]) > 0


@pytest.mark.slow
def test_workers_find_and_print_the_same(run):
    pytest.importorskip("xdist")
    alone, beside = (run(*MODEL, *BUDGET, *more, how="subprocess") for more in ((), ("-n", "2")))
    lines = []
    for result in (alone, beside):
        result.assert_outcomes(passed=CHECKS)
        lines.append([line.split()[:-1] for line in result.outlines if line.startswith("small.onnx ")])  # but seconds
    assert len(lines[0]) == 1
    assert lines[0] == lines[1]
