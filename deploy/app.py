"""MONAI Deploy application: a DICOM study in, masks and DICOM SEG out, by the bundle's own inference."""

from pathlib import Path
from typing import Any

from monai.bundle import create_workflow
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Operator


class SegmentStudyOperator(Operator):
    """Runs the bundle's inference over the input folder; has no ports: files in, files out.

    The SDK's own chain (series selector, volume, bundle inference, SEG writer) would pass by the strict reading,
    the fitness rules, the manifest and the SEG of this bundle.

    Args:
        fragment: the application.
        app_context: says where input, output and the bundle (as the model) are.
    """

    def __init__(self, fragment: Application, *args: Any, app_context: AppContext, **kwargs: Any) -> None:
        self.app_context = app_context
        super().__init__(fragment, *args, **kwargs)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment every case.

        Raises:
            SystemExit: the input cannot be read, or a case has no mask.
        """
        workflow = create_workflow(
            config_file=str(bundle_config(Path(self.app_context.model_path))),
            workflow_type="inference",
            dataset_dir=str(self.app_context.input_path),
            output_dir=str(self.app_context.output_path),
        )
        workflow.run()


class SegmentStudyApp(Application):
    """The application, run as ``python deploy/app.py -i STUDY -o RESULTS -m bundle``."""

    def compose(self) -> None:
        """One operator, once."""
        context = Application.init_app_context(self.argv)
        self.add_operator(
            SegmentStudyOperator(self, CountCondition(self, 1), app_context=context, name="segment_study")
        )


def bundle_config(model_path: Path) -> Path:
    """The inference configuration of the bundle that lies at, or as one folder in, the model path.

    Raises:
        SystemExit: there is none, or more than one.
    """
    found = [*model_path.glob("configs/inference.json"), *model_path.glob("*/configs/inference.json")]
    if len(found) != 1:
        raise SystemExit(
            f"expected one bundle at {str(model_path)!r}, found {len(found)}: give its folder by --model"
        )
    return found[0]


if __name__ == "__main__":
    SegmentStudyApp().run()
