"""nnU-Net's own 2D predictor, file to file, with random weights: the peer of `pipeline.py`.

    python nnunet.py INPUT.nii.gz OUTPUT_FOLDER CLASSES

Runs in an environment of its own, which holds `nnunetv2`. The plan is what nnU-Net makes of 512 x 512 CT slices; its
mirroring is off, as ours is.
"""

import sys
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

STAGES = 8
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
PLANS = {
    "dataset_name": "Dataset001_Bench",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [1.5, 0.75, 0.75],
    "original_median_shape_after_transp": [200, 512, 512],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": {
            "max": 3000.0,
            "mean": 40.0,
            "median": 40.0,
            "min": -1000.0,
            "percentile_00_5": -200.0,
            "percentile_99_5": 300.0,
            "std": 100.0,
        }
    },
    "configurations": {
        "2d": {
            "data_identifier": "nnUNetPlans_2d",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 12,
            "patch_size": [512, 512],
            "median_image_size_in_voxels": [512.0, 512.0],
            "spacing": [0.75, 0.75],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": RESAMPLING,
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": STAGES,
                    "features_per_stage": [min(32 * 2**stage, 512) for stage in range(STAGES)],
                    "conv_op": "torch.nn.modules.conv.Conv2d",
                    "kernel_sizes": [[3, 3]] * STAGES,
                    "strides": [[1, 1], *[[2, 2]] * (STAGES - 1)],
                    "n_conv_per_stage": [2] * STAGES,
                    "n_conv_per_stage_decoder": [2] * (STAGES - 1),
                    "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
            "batch_dice": True,
        }
    },
}


def main(image: str, output: str, classes: int) -> None:
    """Segment one file."""
    torch.manual_seed(0)
    plans = PlansManager(PLANS)
    configuration = plans.get_configuration("2d")
    labels = {"background": 0, **{f"organ {value}": value for value in range(1, classes)}}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        classes,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), perform_everything_on_device=False
    )
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], dataset, "nnUNetTrainer", None
    )
    Path(output).mkdir(parents=True)
    predictor.predict_from_files(
        [[image]],
        [str(Path(output) / "case.nii.gz")],
        num_processes_preprocessing=1,
        num_processes_segmentation_export=1,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
