"""Struct-VRNN: keypoints found without labels, and a recurrent variational model of them."""
