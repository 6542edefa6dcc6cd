"""The networks. Importing this package sets up TensorFlow: Keras 2, which segmentation-models needs, GPUs and cores."""

import os

from tasks.cores import cores

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["SM_FRAMEWORK"] = "tf.keras"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Else the first process takes the whole memory of a GPU, and what it needs can't be seen.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# Else it starts a thread for each core of a node, whatever a pod may use.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(cores()))
os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(cores()))
