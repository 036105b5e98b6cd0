"""Metadata files with which `tfds.builder_from_directory(folder)` reads a dataset folder.

Their layout is that of TFDS 4.9; a test compares the two. `label.labels.txt` gives the labels their names.
"""

import json

from common.dataset.manifest import DATASET_VERSION, Manifest
from common.dataset.schema import LABEL, Feature, Schema

_FEATURES_MODULE = "tensorflow_datasets.core.features"


def files(manifest: Manifest) -> dict[str, bytes]:
    """The content of each metadata file, by file name."""
    described = {
        "features.json": _json(_features(manifest.schema)),
        "dataset_info.json": _json(_dataset_info(manifest)),
    }
    if _is_labelled(manifest.schema):
        described["label.labels.txt"] = "".join(f"{name}\n" for name in manifest.class_names).encode()
    return described


def _is_labelled(schema: Schema) -> bool:
    return any(feature.name == LABEL for feature in schema.features)


def _features(schema: Schema) -> dict:
    return {
        "pythonClassName": f"{_FEATURES_MODULE}.features_dict.FeaturesDict",
        "featuresDict": {"features": {feature.name: _feature(feature) for feature in schema.features}},
    }


def _feature(feature: Feature) -> dict:
    if feature.name == LABEL:
        return {
            "pythonClassName": f"{_FEATURES_MODULE}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": str(feature.bound)},
        }
    encoding = "bytes" if feature.dtype == "uint8" else "none"
    tensor = {"shape": {"dimensions": list(feature.shape)}, "dtype": feature.dtype, "encoding": encoding}
    return {"pythonClassName": f"{_FEATURES_MODULE}.tensor_feature.Tensor", "tensor": tensor}


def _dataset_info(manifest: Manifest) -> dict:
    height, width, _ = manifest.schema.image_shape
    return {
        "name": manifest.request.dataset.split("/")[0],
        "configName": manifest.request.dataset.split("/")[1],
        "version": DATASET_VERSION,
        "description": f"Handwritten {manifest.schema.task}, {height}×{width}, upright: {manifest.request.dataset}.",
        "fileFormat": "tfrecord",
        "supervisedKeys": {
            "tuple": {
                "items": [
                    {"featureKey": "image"},
                    {"featureKey": "label" if _is_labelled(manifest.schema) else "text"},
                ]
            }
        },
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
