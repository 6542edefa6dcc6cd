"""Mask R-CNN (He et al. 2017): boxes are proposed, then each is classified, refined and given a mask.

The layers have the names and shapes of Matterport's implementation, so that weights trained with it load. Data pass
the files in this order: anchors, boxes, backbone, proposals, targets, roi_align, heads, losses, detections; network
puts them together.
"""
