"""docker/kuberay.yaml: all that is Kubernetes' own against its schema, and that it fits the image.

KubeRay's own fields are not validated here: no package brings its schema. `kubectl apply --dry-run=server` does it
where the operator is installed.
"""

import copy
import tomllib
from pathlib import Path

import pytest
import yaml

from flatselect.study_file import check_study

FOLDER = Path(__file__).parents[2] / "docker"
KUBERNETES = "1.33"


@pytest.fixture
def manifest():
    return {document["kind"]: document for document in yaml.safe_load_all((FOLDER / "kuberay.yaml").read_text())}


@pytest.fixture
def cluster(manifest):
    return manifest["RayJob"]["spec"]["rayClusterSpec"]


def list_pod_templates(cluster):
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def validate(document):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def validate_pod_template(template):
    validate({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template})


def test_kubernetes_own_objects_are_of_its_schema(manifest, cluster):
    validate(manifest["ConfigMap"])
    validate(manifest["PersistentVolumeClaim"])
    for template in list_pod_templates(cluster):
        validate_pod_template(template)


def test_a_misspelt_key_is_not(cluster):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    template = copy.deepcopy(cluster["headGroupSpec"]["template"])
    template["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        validate_pod_template(template)


def test_all_nodes_run_one_ray(cluster):
    images = {container["image"] for pod in list_pod_templates(cluster) for container in pod["spec"]["containers"]}
    assert images == {"flatselect:cluster"}
    assert f"ray=={cluster['rayVersion']}" in (FOLDER / "requirements.txt").read_text().splitlines()


def test_checkpoints_are_one_folder_for_all_nodes_and_the_password_is_on_the_head_only(manifest, cluster):
    assert manifest["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    head, *workers = ({volume["name"] for volume in pod["spec"]["volumes"]} for pod in list_pod_templates(cluster))
    assert all("checkpoints" in volumes for volumes in (head, *workers))
    assert "postgresql" in head
    assert not any("postgresql" in volumes for volumes in workers)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "no trial runs where the password is"
    assert "Secret" not in manifest, "secrets are made outside the file"


def test_its_study_is_a_study(manifest):
    study = check_study(tomllib.loads(manifest["ConfigMap"]["data"]["study.toml"]), "docker/kuberay.yaml")
    mounts = list_pod_templates(manifest["RayJob"]["spec"]["rayClusterSpec"])[0]["spec"]["containers"][0][
        "volumeMounts"
    ]
    assert study.study.checkpoints in {mount["mountPath"] for mount in mounts}
