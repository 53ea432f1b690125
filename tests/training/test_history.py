"""What a training leaves to look at: a row an epoch, curves, a page, and the time that is left."""

import csv
import math
from pathlib import Path

import monai.bundle
import pytest
import torch
from ignite.engine import Engine, Events
from mcanet.scripts.training import Checkpoints, History, KeepLoss, RunProgress
from mcanet.scripts.training.report import write_report
from monai.engines import SupervisedTrainer
from monai.handlers import from_engine
from PIL import Image

from ..conftest import BUNDLE
from ..end_to_end import hippocampi

EPOCHS, STEPS = 4, 3


def train(folder: Path, break_off_in: int | None = None) -> History:
    """A training whose loss falls by the step, validated in every second epoch."""
    trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(1 / engine.state.iteration)}])
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.best_metric = evaluator.state.best_metric_epoch = 0
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)

    def validate(engine: Engine) -> None:
        evaluator.state.epoch = engine.state.epoch
        evaluator.state.metrics = {"val_mean_dice": engine.state.epoch / 10}

    def die(engine: Engine) -> None:
        raise KeyboardInterrupt

    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), validate)
    history = History(folder, evaluator, optimizer, {"data": "<a folder>"})
    history.attach(trainer)
    RunProgress().attach(trainer)
    Checkpoints(folder, {"history": history}, evaluator, {}).attach(trainer)
    if break_off_in is not None:
        trainer.add_event_handler(Events.EPOCH_STARTED(once=break_off_in), die)
    trainer.run(range(STEPS), max_epochs=EPOCHS)
    return history


def test_an_epoch_whose_steps_all_failed_has_no_loss(tmp_path: Path) -> None:
    trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(torch.nan)}])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    History(tmp_path, Engine(lambda engine, batch: None), optimizer, {}).attach(trainer)
    trainer.run(range(STEPS), max_epochs=1)
    assert [row["train_loss"] for row in rows_of(tmp_path)] == [""]
    assert (tmp_path / "report.html").is_file()


def test_a_validation_without_a_figure_is_not_the_best(tmp_path: Path) -> None:
    rows = [{"epoch": i + 1, "train_loss": 1.0, "val_mean_dice": dice, "learning_rate": 0.1, "seconds": 1.0}
            for i, dice in enumerate([math.nan, 0.25, None])]  # fmt: skip
    write_report(tmp_path, rows, {})
    assert "<strong>0.2500</strong>" in (tmp_path / "report.html").read_text()
    write_report(tmp_path, rows[:1], {})
    assert "Best:" not in (tmp_path / "report.html").read_text()


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_epoch_has_a_row_and_the_end_its_curves_and_its_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mcanet"):
        train(tmp_path)
    assert str(tmp_path / "report.html") in caplog.text
    rows = rows_of(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["val_mean_dice"] for row in rows] == ["", "0.2", "", "0.4"]
    assert float(rows[0]["train_loss"]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert {row["learning_rate"] for row in rows} == {"0.1"}
    assert Image.open(tmp_path / "curves.png").size[0] > 500
    page = (tmp_path / "report.html").read_text()
    assert "after epoch 4" in page
    assert "0.4000" in page
    assert "&lt;a folder&gt;" in page
    assert "http" not in page.replace("http-equiv", "")  # it opens offline


def test_a_training_that_goes_on_has_one_history_and_a_bar_over_what_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, break_off_in=3)
    assert [row["epoch"] for row in rows_of(tmp_path)] == ["1", "2"]
    capfd.readouterr()
    train(tmp_path)
    assert [row["epoch"] for row in rows_of(tmp_path)] == ["1", "2", "3", "4"]
    bar = capfd.readouterr().err
    assert "epoch 3 of 4:  50%" in bar
    assert f"{EPOCHS * STEPS}/{EPOCHS * STEPS}" in bar


def test_of_a_step_only_its_loss_is_kept_as_handlers_of_monai_read_it() -> None:
    network = torch.nn.Conv2d(1, 1, 1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(2, 1, 4, 4), "label": torch.ones(2, 1, 4, 4)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=torch.nn.MSELoss(),
        decollate=False,
        train_handlers=[KeepLoss()],
    )
    trainer.run()
    loss = from_engine("loss", first=True)(trainer.state.output)
    assert loss.ndim == 0
    assert not loss.requires_grad
    assert list(trainer.state.output[0]) == ["loss"]


def test_the_last_epoch_is_validated_whatever_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    workflow = monai.bundle.create_workflow(
        config_file=str(BUNDLE / "configs" / "train.json"),
        workflow_type="train",
        dataset_dir=str(hippocampi.decathlon(tmp_path / "data", 3)),
        output_dir=str(tmp_path / "out"),
        ckpt_dir=str(tmp_path / "out"),
        max_epochs=3,
        val_interval=2,
        num_workers=0,
        num_samples=2,
        planes=[2],
        spacing=3,
        roi_size=[32, 32],
    )
    workflow.run()
    workflow.finalize()
    assert [bool(row["val_mean_dice"]) for row in rows_of(tmp_path / "out")] == [False, True, True]
