"""The weights that Mask R-CNN and what is built on its backbone begin from."""

from tasks.methods.method import InitialWeights

COCO = InitialWeights(
    "coco",
    "all layers but the outputs",
    file="mask_rcnn_coco.h5",
    origin="the project Mask_RCNN by Matterport",
)
