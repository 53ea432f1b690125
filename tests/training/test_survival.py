"""A small training that is broken off: what it goes on with, and what it refuses."""

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from mcanet.scripts.lock import FolderLock
from mcanet.scripts.networks import license_of
from mcanet.scripts.training import Checkpoints, OnlyFinite, SaveBest, SaveLast
from mcanet.scripts.training.parts import read_parts, write_parts
from monai.data import DataLoader, MetaTensor, list_data_collate
from monai.engines import SupervisedTrainer

from ..conftest import BUNDLE
from ..damage import spoil_a_weight

EPOCHS = 5
TASKS = BUNDLE / "models" / "tasks"


def trainer_of(
    folder: Path,
    infinite: bool = False,
    skip: bool = False,
    resume: bool = True,
    ckpt_dir: Path | None = None,
    cases: Sequence[str] = (),
    **settings: object,
) -> tuple[SupervisedTrainer, torch.nn.Module, list[float]]:
    """A trainer with its network, and the list that its learning rates go to."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, 3 * EPOCHS)
    items = [
        {
            "image": MetaTensor(torch.randn(2), meta={"filename_or_obj": f"case_{i}.nii.gz"}),
            "label": torch.ones(1),
        }
        for i in range(6)
    ]
    if infinite:
        items[3]["image"][0] = torch.inf
    trainer = SupervisedTrainer(
        max_epochs=EPOCHS,
        device=torch.device("cpu"),
        train_data_loader=DataLoader(items, batch_size=2, collate_fn=list_data_collate),
        network=network,
        loss_function=torch.nn.MSELoss(),
        optimizer=optimizer,
        decollate=False,
        train_handlers=[OnlyFinite(network, skip), SaveLast(network, folder)],
    )
    rates: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: rates.append(schedule.get_last_lr()[0]))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.best_metric = evaluator.state.best_metric_epoch = -1
    trainer.validated = evaluator.state  # type: ignore[attr-defined]

    def validate(engine: Engine) -> None:
        evaluator.state.best_metric, evaluator.state.best_metric_epoch = 0.5, 1

    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), validate)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    Checkpoints(
        folder, parts, evaluator, {"learning_rate": 0.1, **settings}, resume, ckpt_dir=ckpt_dir, cases=cases
    ).attach(trainer)
    return trainer, network, rates


def break_off(folder: Path, epoch: int, **settings: object) -> list[float]:
    """Train until an epoch has begun its second step; returns the learning rates until then."""
    trainer, _, rates = trainer_of(folder, **settings)

    def die(engine: Engine) -> None:
        if engine.state.iteration == 3 * (epoch - 1) + 2:
            raise KeyboardInterrupt

    trainer.add_event_handler(Events.ITERATION_STARTED, die)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    return rates


@contextmanager
def disk_that_fills() -> Iterator[Callable[[], None]]:
    """What makes the disk full for files of more than 1000 bytes, until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_training_that_was_broken_off_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    trainer, unbroken, rates = trainer_of(tmp_path / "unbroken")
    trainer.run()
    assert sorted(file.name for file in (tmp_path / "unbroken").iterdir()) == [
        ".mcanet.lock",
        "checkpoint.pt",
        "last.pt",
    ]
    before = break_off(tmp_path / "broken", epoch=4)
    trainer, network, after = trainer_of(tmp_path / "broken")
    trainer.run()
    assert before[:9] + after == rates
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight), name


@pytest.mark.parametrize("left", [0, 100, 1500])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, left: int) -> None:
    break_off(tmp_path, epoch=4)
    last = tmp_path / "checkpoint.pt"
    last.write_bytes(last.read_bytes()[:left])
    trainer, network, after = trainer_of(tmp_path)
    trainer.run()
    assert len(after) == 3 * (EPOCHS - 2)
    unbroken = trainer_of(tmp_path / "unbroken")
    unbroken[0].run()
    assert torch.equal(network[1].weight, unbroken[1][1].weight)


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_one_before(tmp_path: Path) -> None:
    break_off(tmp_path, epoch=4)
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    trainer, _, _ = trainer_of(tmp_path)  # goes on after epoch 2
    with disk_that_fills() as fill:
        trainer.add_event_handler(Events.EPOCH_STARTED, fill)
        with pytest.raises(SystemExit, match="cannot write .*checkpoint.pt"):
            trainer.run()
    trainer, _, after = trainer_of(tmp_path)
    trainer.run()
    assert len(after) == 3 * (EPOCHS - 2)


def test_a_checkpoint_with_other_bytes_in_a_weight_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_off(tmp_path, epoch=4)
    spoil_a_weight(tmp_path / "checkpoint.pt")
    trainer, _, after = trainer_of(tmp_path)
    trainer.run()
    assert "checkpoint.pt' is damaged (in " in caplog.text
    assert len(after) == 3 * (EPOCHS - 2)


def test_two_damaged_checkpoints_are_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    break_off(tmp_path, epoch=4)
    for name in ("checkpoint.pt", "checkpoint_before.pt"):
        (tmp_path / name).write_bytes(b"half")
    with pytest.raises(SystemExit, match="no whole checkpoint .* start anew with --resume false"):
        trainer_of(tmp_path)[0].run()


def test_another_training_does_not_go_on_with_it(tmp_path: Path) -> None:
    break_off(tmp_path, epoch=2)
    with pytest.raises(SystemExit, match=r"learning_rate was 0.1, is 0.2"):
        trainer_of(tmp_path, learning_rate=0.2)[0].run()


def test_a_training_goes_on_when_a_broken_file_was_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_off(tmp_path, epoch=4, cases=["whole", "half", "whole"])
    trainer, _, after = trainer_of(tmp_path, cases=["whole", "mended", "whole"])
    trainer.run()
    assert "1 of 3 cases are not those that it was trained with: taken for mended ones" in caplog.text
    assert len(after) == 3 * (EPOCHS - 3)
    trainer, _, rates = trainer_of(tmp_path, cases=["whole", "corrected", "whole"])
    trainer.run()
    assert len(rates) == 3 * EPOCHS  # after its end, it is trained anew on them


def test_a_training_does_not_go_on_with_another_data_set_of_the_same_names(tmp_path: Path) -> None:
    break_off(tmp_path, epoch=4, cases=["a", "b", "c"])
    with pytest.raises(SystemExit, match=r"was another one \(2 of 3 cases are not those"):
        trainer_of(tmp_path, cases=["x", "b", "y"])[0].run()


def test_what_was_thrown_away_does_not_come_back_for_a_damaged_checkpoint(tmp_path: Path) -> None:
    break_off(tmp_path, epoch=4)  # leaves epoch 2 beside epoch 3
    break_off(tmp_path, epoch=2, resume=False)
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(SystemExit, match="no whole checkpoint"):
        trainer_of(tmp_path)[0].run()


def test_a_file_that_is_no_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_off(tmp_path, epoch=4)
    torch.save({"network": {}}, tmp_path / "checkpoint.pt")
    trainer, _, after = trainer_of(tmp_path)
    trainer.run()
    assert "is no checkpoint of this training: it lacks" in caplog.text
    assert len(after) == 3 * (EPOCHS - 2)


def test_a_training_that_has_ended_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer_of(tmp_path)[0].run()
    kept = torch.load(tmp_path / "last.pt", weights_only=True)
    trainer, network, rates = trainer_of(tmp_path)
    trainer.run()
    assert rates == []
    assert "nothing to do: ended after epoch 5" in caplog.text
    for weights in (network.state_dict(), torch.load(tmp_path / "last.pt", weights_only=True)):
        assert all(torch.equal(weights[name], kept[name]) for name in kept)
    for changed in ({"resume": False}, {"learning_rate": 0.2}):
        trainer, _, rates = trainer_of(tmp_path, **changed)
        trainer.run()
        assert len(rates) == 3 * EPOCHS
    assert "another training has ended" in caplog.text
    assert "(learning_rate was 0.1, is 0.2): its weights are replaced" in caplog.text


@pytest.mark.parametrize("ended", [False, True])
def test_a_training_does_not_go_on_without_its_best_weights(ended: bool, tmp_path: Path) -> None:
    best = tmp_path / "best" / "model.pt"
    best.parent.mkdir()
    torch.save({}, best)
    whole = best.read_bytes()
    if ended:
        trainer_of(tmp_path, ckpt_dir=best.parent)[0].run()
    else:
        break_off(tmp_path, epoch=4, ckpt_dir=best.parent)
    for content in (None, b"half"):
        best.unlink(missing_ok=True)
        if content is not None:
            best.write_bytes(content)
        with pytest.raises(
            SystemExit, match=r"model.pt is missing or damaged, .*best weights \(of epoch 1\)"
        ):
            trainer_of(tmp_path, ckpt_dir=best.parent)[0].run()
    if ended:
        torch.save({"another": torch.ones(1)}, best)
        with pytest.raises(SystemExit, match="is not what this training ended with"):
            trainer_of(tmp_path, ckpt_dir=best.parent)[0].run()
    best.write_bytes(whole)
    trainer, _, rates = trainer_of(tmp_path, ckpt_dir=best.parent)
    trainer.run()
    assert len(rates) == (0 if ended else 3 * (EPOCHS - 3))


def test_the_weights_of_another_training_are_not_taken_for_its_best(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = tmp_path / "best" / "model.pt"
    best.parent.mkdir()
    torch.save({}, best)
    break_off(tmp_path, epoch=3, ckpt_dir=best.parent)
    trainer, _, _ = trainer_of(tmp_path, ckpt_dir=best.parent)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=4), lambda engine: engine.terminate())
    trainer.run()
    assert trainer.validated.best_metric == 0.5
    break_off(tmp_path, epoch=4, ckpt_dir=best.parent, resume=False)
    torch.save({"another": torch.ones(1)}, best)  # or a newer one, by a kill before its checkpoint
    trainer, _, _ = trainer_of(tmp_path, ckpt_dir=best.parent)
    trainer.run()
    assert trainer.validated.best_metric == -1  # so that the next validation writes it
    assert "is not that of epoch 1, but of a later one or of another training" in caplog.text


def test_two_processes_do_not_train_into_one_folder(tmp_path: Path) -> None:
    for folder, ckpt_dir in ((tmp_path, None), (tmp_path / "another", tmp_path)):
        lock = FolderLock(tmp_path)
        with pytest.raises(SystemExit, match=r"cannot train: another run \(process \d+\) is writing to"):
            trainer_of(folder, ckpt_dir=ckpt_dir)
        lock.close()
        torch.save({}, tmp_path / "model.pt")
        trainer_of(folder, ckpt_dir=ckpt_dir)[0].run()
    FolderLock(tmp_path).close()  # let go at the end


def test_what_a_kill_left_half_written_goes(tmp_path: Path) -> None:
    best = tmp_path / "best"
    best.mkdir()
    mine = tmp_path / ".notes.tmp"
    left = [tmp_path / name for name in (".history.csv.123.tmp", ".checkpoint.pt.tmp", ".report.html.9.tmp")]
    left.append(best / ".model.pt.tmp")
    for file in (mine, *left):
        file.write_text("half")
    trainer_of(tmp_path, ckpt_dir=best)[0].run()
    assert mine.exists()
    assert not any(file.exists() for file in left)


def test_a_training_that_stopped_early_and_was_killed_does_not_train_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stopper:
        patience, counter = 2, 0

        def state_dict(self) -> dict[str, int]:
            return {"counter": 2}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.counter = state["counter"]

    def parts(trainer: SupervisedTrainer) -> None:
        evaluator = Engine(lambda engine, batch: None)
        evaluator.state.best_metric, evaluator.state.best_metric_epoch = 0.5, 1
        Checkpoints(tmp_path, {"early_stop": Stopper()}, evaluator, {}).attach(trainer)

    def die(engine: Engine) -> None:
        if engine.state.epoch == 2:
            raise KeyboardInterrupt

    trainer, _, _ = trainer_of(tmp_path / "elsewhere")
    parts(trainer)
    trainer.add_event_handler(Events.EPOCH_STARTED, die)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    trainer, _, rates = trainer_of(tmp_path / "another")
    parts(trainer)
    trainer.run()
    assert rates == []
    assert "nothing to do: ended after epoch 1" in caplog.text


def test_a_full_disk_leaves_what_was_saved(tmp_path: Path) -> None:
    trainer, _, _ = trainer_of(tmp_path)
    with disk_that_fills() as fill:
        trainer.add_event_handler(Events.EPOCH_STARTED(once=3), fill)
        with pytest.raises(SystemExit, match=r"cannot write .*checkpoint.pt: .*File too large"):
            trainer.run()
    trainer, _, after = trainer_of(tmp_path)
    trainer.run()
    assert len(after) == 3 * (EPOCHS - 2)


def test_a_batch_that_is_not_finite_stops_the_training_and_names_its_cases(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"epoch 1, a gradient is not finite .*'case_2.nii.gz', 'case_3.nii.gz'"
    ):
        trainer_of(tmp_path, infinite=True)[0].run()


def test_a_batch_that_is_not_finite_is_skipped_and_named_if_so_chosen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, network, _ = trainer_of(tmp_path, infinite=True, skip=True)
    trainer.run()
    assert caplog.text.count("batch skipped") == EPOCHS
    assert "case_3.nii.gz" in caplog.text
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    scores = iter([0.5, 0.7, 0.6])
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.best_metric, evaluator.state.best_metric_epoch = -1, -1

    def validate(engine: Engine) -> None:
        score = next(scores)
        torch.nn.init.constant_(network.weight, score)
        if score > engine.state.best_metric:
            engine.state.best_metric, engine.state.best_metric_epoch = score, engine.state.epoch

    evaluator.add_event_handler(Events.EPOCH_COMPLETED, validate)
    SaveBest(network, tmp_path, {"training": ["a"], "validation": ["b"]}).attach(evaluator)
    evaluator.run([0], max_epochs=3)
    assert float(torch.load(tmp_path / "model.pt", weights_only=True)["weight"]) == pytest.approx(0.7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "split.json"]


def test_weights_never_lie_without_their_licence_and_their_cases(tmp_path: Path) -> None:
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.best_metric, evaluator.state.best_metric_epoch, evaluator.state.epoch = 0.5, 1, 1
    saved: list[tuple[str, dict]] = []

    class Network(torch.nn.Linear):
        def state_dict(self, *args: object, **kwargs: object) -> dict:
            saved.append((license_of(tmp_path / "model.pt"), read_parts(tmp_path / "model.pt")))
            return super().state_dict(*args, **kwargs)

    for name, init_path in (("a", TASKS / "cardiac.pt"), ("b", TASKS / "nuclei.pt")):
        SaveBest(Network(1, 1), tmp_path, {"training": [name], "validation": []}, init_path)(evaluator)
    assert saved == [
        ("CC BY-NC-SA 4.0 (ACDC)", {"training": {"a"}, "validation": set()}),
        ("CC BY-NC-SA 4.0 (ACDC)", {"training": {"a", "b"}, "validation": set()}),
    ]
    assert license_of(tmp_path / "model.pt") == ""
    assert read_parts(tmp_path / "model.pt")["training"] == {"b"}


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    with disk_that_fills() as fill:
        fill()
        with pytest.raises(OSError, match="split.json"):
            write_parts({"training": ["a" * 2000], "validation": []}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_of_the_last_weights(tmp_path: Path) -> None:
    with disk_that_fills() as fill:
        fill()
        with pytest.raises(SystemExit, match=r"cannot write .*last.pt: "):
            SaveLast(torch.nn.Linear(100, 100), tmp_path)()
    assert list(tmp_path.iterdir()) == []
