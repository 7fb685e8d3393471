"""The image sets that studies and rankings were made on, told apart by their fingerprint."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from flatselect.store.tables import DatasetRow
from flatselect.store.upserts import make_upsert


def insert_dataset(connection: Connection, data: Mapping[str, Any]) -> None:
    """Enters a set of images; one that is there already stays as it is, and one without a fingerprint is left out.

    Args:
        connection: In a transaction.
        data: What is known of it: fingerprint, name, n_images, class_names, input_shape.
    """
    if "fingerprint" not in data:
        return
    values = {
        "fingerprint": data["fingerprint"],
        "name": data.get("name"),
        "n_images": data.get("n_images"),
        "n_classes": len(data.get("class_names", ())) or None,
        "details": {key: data[key] for key in ("class_names", "input_shape", "mean", "std") if key in data},
    }
    table = DatasetRow.metadata.tables[DatasetRow.__tablename__]
    connection.execute(make_upsert(table, connection.dialect.name, (), ()), values)
