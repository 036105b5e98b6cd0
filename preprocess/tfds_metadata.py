"""The files that make `tfds.builder_from_directory(folder)` read a dataset folder.

Their layout is that which TFDS 4.9 writes itself; a test holds the two together. `label.labels.txt` is what gives
labels their names there.
"""

import json

from common.dataset.manifest import DATASET_VERSION, Manifest
from common.dataset.records import IMAGE_SIDE

_FEATURES_MODULE = "tensorflow_datasets.core.features"


def files(manifest: Manifest) -> dict[str, bytes]:
    """The content of each metadata file, by file name."""
    return {
        "features.json": _json(_features(len(manifest.class_names))),
        "dataset_info.json": _json(_dataset_info(manifest)),
        "label.labels.txt": "".join(f"{name}\n" for name in manifest.class_names).encode(),
    }


def _features(num_classes: int) -> dict:
    image = {
        "pythonClassName": f"{_FEATURES_MODULE}.tensor_feature.Tensor",
        "tensor": {"shape": {"dimensions": [IMAGE_SIDE, IMAGE_SIDE, 1]}, "dtype": "uint8", "encoding": "bytes"},
    }
    label = {
        "pythonClassName": f"{_FEATURES_MODULE}.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": str(num_classes)},
    }
    return {
        "pythonClassName": f"{_FEATURES_MODULE}.features_dict.FeaturesDict",
        "featuresDict": {"features": {"image": image, "label": label}},
    }


def _dataset_info(manifest: Manifest) -> dict:
    return {
        "name": manifest.request.dataset.split("/")[0],
        "configName": manifest.request.dataset.split("/")[1],
        "version": DATASET_VERSION,
        "description": f"Handwritten characters, 28×28, upright: {manifest.request.dataset}.",
        "fileFormat": "tfrecord",
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(sum(shard.size_bytes for shard in split.shards)),
                "shardLengths": [str(shard.num_examples) for shard in split.shards],
            }
            for name, split in manifest.splits.items()
        ],
    }


def _json(data: dict) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
