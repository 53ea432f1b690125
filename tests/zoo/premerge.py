"""What the model zoo's premerge does with a bundle, in a process of its own: run as a program.

Anew with ``monai.bundle``'s own verbs, after https://github.com/Project-MONAI/model-zoo ``ci/verify_bundle.py`` and
``ci/unit_tests``; the working directory is the bundle's root.
"""

import sys
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

ROOT = Path.cwd()
NAMES = {
    "meta_file": str(ROOT / "configs" / "metadata.json"),
    "config_file": str(ROOT / "configs" / "inference.json"),
}


def verify(schema: str, scratch: str) -> None:
    """Metadata against the schema, the network against the metadata, the weights as TorchScript."""
    verify_metadata(meta_file=NAMES["meta_file"], filepath=schema)
    verify_net_in_out(net_id="network_def", bundle_root=str(ROOT), **NAMES)
    exported = str(Path(scratch) / "verify_model.ts")
    ckpt_export(
        net_id="network_def",
        filepath=exported,
        ckpt_file=str(ROOT / "models" / "model.pt"),
        bundle_root=str(ROOT),
        **NAMES,
    )
    torch.jit.load(exported)


def workflows(dataset_dir: str, scratch: str) -> None:
    """Training for an epoch, evaluation and inference, as the zoo's unit tests run them."""
    own = {"bundle_root": str(ROOT), "dataset_dir": dataset_dir}
    few = {"max_epochs": 1, "val_interval": 1, "num_workers": 0, "batch_size": 2}
    run("train", "train", **own, **few, ckpt_dir=f"{scratch}/train", output_dir=f"{scratch}/train")
    run("evaluation", "evaluate", **own, subset="all", output_dir=f"{scratch}/evaluate")
    run(
        "inference",
        "inference",
        **{**own, "dataset_dir": f"{dataset_dir}/imagesTr"},
        output_dir=f"{scratch}/inference",
    )


def run(workflow_type: str, name: str, **override: object) -> None:
    """Initialise, check the properties, run, finalise."""
    workflow = ConfigWorkflow(
        workflow_type=workflow_type,
        config_file=str(ROOT / "configs" / f"{name}.json"),
        logging_file=str(ROOT / "configs" / "logging.conf"),
        meta_file=NAMES["meta_file"],
        **override,
    )
    workflow.initialize()
    missing = workflow.check_properties()
    if missing != []:
        raise SystemExit(f"{name}.json lacks {missing}")
    workflow.run()
    workflow.finalize()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import scripts

    if scripts.BUNDLE_ROOT != ROOT:
        raise SystemExit(f"the code is that of {scripts.BUNDLE_ROOT}, not the bundle's own")
    {"verify": verify, "workflows": workflows}[sys.argv[1]](*sys.argv[2:])
