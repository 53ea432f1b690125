"""Every engine gives the labels of the plain network in float32."""

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from mcanet.scripts import BUNDLE_ROOT
from mcanet.scripts.inference import SlicewiseInferer, open_engine
from mcanet.scripts.networks import Ensemble, MCANet, load_weights
from mcanet.scripts.study import RefusedError

slow = pytest.mark.slow
ENGINES = ["eager", *(pytest.param(name, marks=slow) for name in ("compiled", "openvino", "onnxruntime"))]


@pytest.fixture(scope="module")
def network() -> MCANet:
    return load_weights(MCANet(3, 3), BUNDLE_ROOT / "models" / "model.pt").eval()


def pictures(*sizes: tuple[int, int, int]) -> list[torch.Tensor]:
    """Smooth random pictures (B, 3, H, W) of the given (B, H, W)."""
    torch.manual_seed(0)
    return [
        torch.nn.functional.interpolate(torch.randn(b, 3, 9, 9), (h, w), mode="bicubic") for b, h, w in sizes
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_labels_of_any_batch_and_size_equal_the_networks(network: MCANet, engine: str) -> None:
    if engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    opened = open_engine(copy.deepcopy(network), engine, mixed_precision=False)
    with torch.no_grad():
        # five sizes: more than have a program each
        for batch in pictures(
            (5, 96, 96), (1, 96, 96), (2, 320, 480), (3, 75, 41), (1, 64, 64), (2, 100, 76)
        ):
            expected, answer = network(batch), opened(batch)
            assert answer.dtype == torch.float32
            torch.testing.assert_close(answer, expected, rtol=0, atol=1e-3)
            assert (answer.argmax(1) == expected.argmax(1)).float().mean() > 0.9999


def test_bfloat16_gives_nearly_the_same_labels(network: MCANet) -> None:
    opened = open_engine(copy.deepcopy(network), mixed_precision=True)
    with torch.no_grad():
        (batch,) = pictures((2, 96, 96))
        answer = opened(batch)
        assert answer.dtype == torch.float32
        assert not torch.equal(answer, network(batch)), "it computed in float32"
        assert (answer.argmax(1) == network(batch).argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize(
    ("cpu_name", "features", "lower"),
    [
        ("Intel Xeon", {"avx512_bf16", "amx_bf16"}, True),
        ("Intel Xeon", {"avx512_bf16"}, False),  # a hypervisor hides AMX: 1.2 to 1.5 times as slow as float32
        ("AMD EPYC 9R14", {"avx512_bf16"}, True),
        ("AMD EPYC 7B13", set(), False),
    ],
)
def test_bfloat16_is_taken_where_it_was_measured_to_be_faster(
    network: MCANet, monkeypatch: pytest.MonkeyPatch, cpu_name: str, features: set[str], lower: bool
) -> None:
    cpu = {"cpu_name": cpu_name, **{name: name in features for name in ("avx512_bf16", "amx_bf16")}}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    (batch,) = pictures((1, 64, 64))
    with torch.no_grad():
        answer = open_engine(copy.deepcopy(network))(batch)
        exact = open_engine(copy.deepcopy(network), mixed_precision=False)(batch)
    assert torch.equal(answer, exact) is not lower


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("engine", ["eager", pytest.param("compiled", marks=slow)])
@pytest.mark.parametrize("mixed_precision", [None, False])
def test_a_gpu_gives_the_labels_of_the_cpu(
    network: MCANet, engine: str, mixed_precision: bool | None
) -> None:
    opened = open_engine(copy.deepcopy(network).cuda(), engine, mixed_precision)
    with torch.no_grad():
        (batch,) = pictures((4, 96, 96))
        answer = opened(batch.cuda()).cpu()
        same = (answer.argmax(1) == network(batch).argmax(1)).float().mean()
    assert answer.dtype == torch.float32
    assert same > (0.999 if mixed_precision is False else 0.97)


def test_an_ensemble_is_fused_member_by_member(network: MCANet) -> None:
    torch.manual_seed(0)
    ensemble = Ensemble([network, MCANet(3, 3).eval()])
    with torch.no_grad():
        (batch,) = pictures((2, 64, 64))
        torch.testing.assert_close(
            open_engine(copy.deepcopy(ensemble), mixed_precision=False)(batch),
            ensemble(batch),
            rtol=0,
            atol=1e-3,
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ensemble_of_one_class_is_one_under_every_engine(engine: str) -> None:
    if engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    torch.manual_seed(0)
    ensemble = Ensemble([MCANet(3, 1).eval(), MCANet(3, 1).eval()])
    opened = open_engine(copy.deepcopy(ensemble), engine, mixed_precision=False)
    assert isinstance(opened, Ensemble)  # its members are passes that --uncertainty compares
    with torch.no_grad():
        (batch,) = pictures((2, 64, 64))
        torch.testing.assert_close(opened(batch), ensemble(batch), rtol=0, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "weight",
    [
        None,
        "encoder.stages.1.0.mlp.project.weight",
        "decoder.squeeze.0.weight",
        "decoder.attention.project.weight",
        "decoder.bottleneck.0.0.0.weight",
    ],
)
def test_what_is_not_finite_never_becomes_a_label(network: MCANet, engine: str, weight: str | None) -> None:
    if engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    spoiled, volume = copy.deepcopy(network), torch.randn(1, 3, 48, 40, 1)
    if weight is None:
        volume[0, 1, 20, 20, 0] = torch.nan
    else:
        with torch.no_grad():
            spoiled.get_parameter(weight).view(-1)[0] = torch.nan
    opened = open_engine(spoiled, engine, mixed_precision=False)
    with pytest.raises(ValueError, match="the network's answer is not finite"):
        SlicewiseInferer()(volume, opened)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_too_small_for_the_network_is_refused(network: MCANet, engine: str) -> None:
    if engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    opened = open_engine(copy.deepcopy(network), engine, mixed_precision=False)
    for size in ((4, 4), (1, 3)):
        with pytest.raises(RefusedError, match=f"would see {size[0]} x {size[1]} pixels"):
            SlicewiseInferer()(torch.zeros(1, 3, *size), opened)
    assert SlicewiseInferer()(torch.zeros(1, 3, 5, 1), opened).shape == (1, 1, 5, 1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [100.0, 700.0, 1e3, 1e5, 1e20])
def test_what_overflows_never_becomes_a_label(network: MCANet, engine: str, value: float) -> None:
    if engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    batch = torch.zeros(1, 3, 112, 112)
    batch[:, :, 20:60, 8:58] = value
    opened = open_engine(copy.deepcopy(network), engine, mixed_precision=False)
    with torch.no_grad():
        answer, exact = opened(batch), copy.deepcopy(network).double()(batch.double())
    assert answer.isfinite().all() == (value == 100), "it is exact, or refused"
    if value == 100:
        assert torch.equal(answer.argmax(1), exact.argmax(1))


@slow
def test_threads_may_share_openvino(network: MCANet) -> None:
    pytest.importorskip("openvino")
    opened, batches = (
        open_engine(copy.deepcopy(network).half(), "openvino", mixed_precision=False),
        pictures((4, 64, 64)) * 40,
    )
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(opened, batches))
    assert all(torch.equal(answer, answers[0]) for answer in answers)


@slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_exported_engines_take_no_more_threads_than_pytorch(network: MCANet, engine: str) -> None:
    pytest.importorskip(engine)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        opened = open_engine(copy.deepcopy(network), engine, mixed_precision=False)
        with torch.no_grad():
            opened(*pictures((1, 64, 64)))
    finally:
        torch.set_num_threads(threads)
    if engine == "openvino":
        ((request,),) = opened.requests.values()  # a second one would run beside it
        taken = request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
    else:
        taken = opened.session.get_session_options().intra_op_num_threads
    assert taken == 1


@slow
def test_openvino_tells_nobody_of_its_use(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    script = tmp_path / "listen.py"
    script.write_text(
        "import sys\n"
        "from mcanet.scripts.inference import open_engine\n"
        "from mcanet.scripts.networks import MCANet\n"
        "calls = ('os.fork', 'os.posix_spawn', 'subprocess.Popen', 'socket.getaddrinfo', 'socket.connect')\n"
        "sys.addaudithook(lambda event, _: print(event) if event in calls else None)\n"
        "open_engine(MCANet(3, 3).eval(), 'openvino')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == ""


def test_an_unknown_engine_is_named_with_those_there_are(network: MCANet) -> None:
    with pytest.raises(SystemExit, match="no engine 'tensorflow': expected one of eager, compiled"):
        open_engine(network, "tensorflow")


@pytest.mark.parametrize("package", ["openvino", "onnxruntime"])
def test_a_missing_package_is_an_error_with_the_command(
    network: MCANet, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # import then fails as if it were not installed
    with pytest.raises(SystemExit, match=f"pip install {package}"):
        open_engine(network, package)


def test_onnxruntime_refuses_bfloat16(network: MCANet) -> None:
    with pytest.raises(SystemExit, match="no bfloat16"):
        open_engine(network, "onnxruntime", mixed_precision=True)
