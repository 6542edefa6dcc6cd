"""The manifests under k8s/: valid for a current Kubernetes, bound to one another by the right names, strict."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from nucleus_dags.launchers.kinds import KINDS
from nucleus_dags.manifest import manifest
from nucleus_dags.plates.named_results import NAMED_RESULTS
from nucleus_mlflow_login import OPEN_PATHS
from tests.cluster import airflow
from tests.manifests import K8S, containers_of, contents, keep_rules_of_the_namespace, of_kind, pod_template
from tests.repository import REPOSITORY

KUSTOMIZATIONS = ("base", "overlays/local", "overlays/gpu-cluster")


def pods(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod of everything of ours that makes pods in the namespace."""
    for content in contents(folder):
        if content["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield content["metadata"]["name"], content["spec"]["template"]
        elif content["kind"] == "PodTemplate":
            yield content["metadata"]["name"], content["template"]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_every_object_is_valid_for_the_current_kubernetes(folder: str) -> None:
    assert len(contents(folder)) > 20
    for content in contents(folder):
        kubernetes_validate.validate(content, "1.37", strict=True)


def test_what_the_tests_make_of_airflows_values_is_valid_too() -> None:
    for content in airflow.manifests():
        kubernetes_validate.validate(content, "1.37", strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    [mlflow] = of_kind("base", "Deployment")
    mlflow = mlflow | {"spec": mlflow["spec"] | {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(mlflow, "1.37", strict=True)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_every_pod_keeps_the_rules_of_the_namespace(folder: str) -> None:
    [namespace] = of_kind(folder, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    found = dict(pods(folder))
    assert set(found) == {"cpu", "gpu", "mlflow", "postgresql", "install-base-model"}
    for name, pod in found.items():
        keep_rules_of_the_namespace(name, pod["spec"])
        assert not pod["spec"]["automountServiceAccountToken"], name


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_servers_say_what_they_need_and_when_they_are_ready(folder: str) -> None:
    for content in of_kind(folder, "Deployment") + of_kind(folder, "StatefulSet"):
        for container in content["spec"]["template"]["spec"]["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= set(container)
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_all_that_is_referred_to_is_there(folder: str) -> None:
    claims = {content["metadata"]["name"] for content in of_kind(folder, "PersistentVolumeClaim")}
    config_maps = {content["metadata"]["name"] for content in of_kind(folder, "ConfigMap")}
    priorities = {content["metadata"]["name"] for content in of_kind(folder, "PriorityClass")}
    made = set(re.findall(r"\| create ([\w-]+)", (K8S / "create-secrets.sh").read_text()))
    for name, pod in pods(folder):
        for volume in pod["spec"]["volumes"]:
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "nucleus") in claims, name
            assert volume.get("configMap", {}).get("name", "airflow-settings") in config_maps, name
            assert volume.get("secret", {}).get("secretName", "database-passwords") in made, name
        for container in pod["spec"]["containers"]:
            needed = [source["secretRef"] for source in container.get("envFrom", [])]
            assert {secret["name"] for secret in needed if not secret.get("optional")} <= made, name
        assert pod["spec"].get("priorityClassName", "nucleus-servers") in priorities, name
    assert {kind.priority for kind in KINDS.values()} <= priorities
    templates = {content["metadata"]["name"] for content in of_kind(folder, "PodTemplate")}
    assert {task["resources"]["container_image"] for task in manifest()["tasks"].values()} == templates


def test_the_pods_of_both_images_differ_only_in_what_a_gpu_needs() -> None:
    cpu, gpu = (pod_template(name)["template"] for name in ("cpu", "gpu"))
    assert gpu["spec"].pop("nodeSelector") == {"nvidia.com/gpu.present": "true"}
    assert gpu["spec"].pop("tolerations") == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert gpu["spec"]["containers"][0].pop("image") == "nucleus-gpu:dev"
    assert cpu["spec"]["containers"][0].pop("image") == "nucleus-cpu:dev"
    assert cpu == gpu


def test_processing_comes_before_training_and_servers_before_both() -> None:
    values = {content["metadata"]["name"]: content["value"] for content in of_kind("base", "PriorityClass")}
    assert values["nucleus-servers"] > values["nucleus-processing"] > values["nucleus-training"]


@pytest.mark.parametrize("folder", ["base", "overlays/gpu-cluster"])
def test_no_pod_pre_empts_those_of_other_tenants(folder: str) -> None:
    policies = {
        content["metadata"]["name"]: content.get("preemptionPolicy") for content in of_kind(folder, "PriorityClass")
    }
    assert set(policies.values()) == {"Never"}


def test_on_a_machine_of_ones_own_processing_takes_the_place_of_a_training() -> None:
    policies = {
        content["metadata"]["name"]: content["preemptionPolicy"]
        for content in of_kind("overlays/local", "PriorityClass")
    }
    assert policies["nucleus-processing"] == "PreemptLowerPriority"
    assert policies["nucleus-training"] == "Never"


def test_images_of_a_registry_are_pulled_with_its_secret() -> None:
    for name, pod in pods("overlays/gpu-cluster"):
        for container in pod["spec"]["containers"]:
            if container["image"].startswith("registry.example.org/"):
                assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}], name
    assert yaml.safe_load((K8S / "overlays/gpu-cluster/airflow.yaml").read_text())["imagePullSecrets"] == ["registry"]


def test_airflow_may_do_nothing_but_launch_pods() -> None:
    assert not of_kind("base", "ClusterRole")
    assert not of_kind("base", "ClusterRoleBinding")
    [role] = of_kind("base", "Role")
    rights = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    verbs = ("create", "get", "list", "watch", "patch", "delete")
    named = {("pods/log", "get"), ("podtemplates", "get"), ("events", "list")}
    assert rights == {("pods", verb) for verb in verbs} | named


def test_nothing_may_talk_to_anything_but_for_what_is_named() -> None:
    policies = {content["metadata"]["name"]: content["spec"] for content in of_kind("base", "NetworkPolicy")}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    components = {name: pod["metadata"]["labels"].get("app.kubernetes.io/component") for name, pod in pods("base")}
    assert {name for name, component in components.items() if component == "task"} == {"cpu", "gpu"}
    # Nothing that looks for the pods of tasks finds that of the installation.
    assert {name for name, component in components.items() if component == "installation"} == {"install-base-model"}
    [allowed] = policies["tasks"]["podSelector"]["matchExpressions"]
    assert set(allowed["values"]) == {"task", "installation"}
    page = policies["airflow-page"]["podSelector"]
    # As the chart labels its pods: of these, the server of Airflow's pages alone.
    assert page == {"matchLabels": {"tier": "airflow", "component": "api-server"}}
    [to_mlflow] = policies["mlflow"]["ingress"]
    assert to_mlflow["from"] == [{"podSelector": {"matchExpressions": [allowed]}}, {"podSelector": page}]
    mlflow = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "mlflow"}}}
    to_it = {
        name: [rule for rule in spec.get("egress", []) if mlflow in rule.get("to", [])]
        for name, spec in policies.items()
    }
    reaching = {name for name, rules in to_it.items() if rules}
    assert reaching == {"tasks", "airflow-page"}
    for name in reaching:
        assert policies[name]["egress"] == [{"to": [mlflow], "ports": to_mlflow["ports"]}]


def test_names_are_asked_for_at_the_clusters_own_name_servers_alone() -> None:
    policies = {content["metadata"]["name"]: content["spec"] for content in of_kind("base", "NetworkPolicy")}
    [names] = policies["all-ask-for-names"]["egress"]
    of_cluster, of_node = names["to"]
    assert of_cluster["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    assert of_cluster["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert of_node == {"ipBlock": {"cidr": "169.254.20.10/32"}}


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.169.253", "169.254.170.2", "168.63.129.16"])
def test_no_pod_may_reach_what_a_cloud_tells_or_resolves_on_its_nodes(folder: str, address: str) -> None:
    for policy in of_kind(folder, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            blocks = [ip_network(to["ipBlock"]["cidr"]) for to in rule.get("to", []) if "ipBlock" in to]
            assert [block for block in blocks if ip_address(address) in block] == [], policy["metadata"]["name"]
            # Without a place, a rule admits all places.
            assert "to" in rule or {port["port"] for port in rule["ports"]}.isdisjoint({53, 80})


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_mlflow_has_no_ingress_unless_somebody_asks_for_one(folder: str) -> None:
    assert of_kind(folder, "Ingress") == []
    policies = {content["metadata"]["name"]: content["spec"] for content in of_kind(folder, "NetworkPolicy")}
    assert "ingress-controller" not in policies


def test_the_ingress_of_mlflow_is_valid_too() -> None:
    for content in yaml.safe_load_all((K8S / "overlays/gpu-cluster/mlflow-ingress.yaml").read_text()):
        kubernetes_validate.validate(content, "1.37", strict=True)


def test_no_secret_is_in_the_repository() -> None:
    for folder in KUSTOMIZATIONS:
        assert of_kind(folder, "Secret") == []


def test_no_command_of_the_cluster_has_a_secret_among_its_arguments() -> None:
    for folder in KUSTOMIZATIONS:
        for name, pod in pods(folder):
            for container in containers_of(pod["spec"]):
                secret = [env["name"] for env in container.get("env", []) if "secretKeyRef" in env.get("valueFrom", {})]
                words = " ".join([*container.get("command", []), *container.get("args", [])])
                assert [one for one in secret if f"$({one})" in words] == [], name
    assert "password=" not in (K8S / "base/databases.sh").read_text()


def test_a_new_cluster_gets_the_base_model_as_the_pods_of_tasks_find_store_and_mlflow() -> None:
    [job] = of_kind("base", "Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    [of_tasks] = pod_template("cpu")["template"]["spec"]["containers"]
    module, store = container["args"][1], container["args"][3]
    assert (REPOSITORY / f"{module.replace('.', '/')}.py").exists()
    assert store == of_kind("base", "ConfigMap")[0]["data"]["NUCLEUS_STORE"]
    mounts = {mount["mountPath"]: mount for mount in of_tasks["volumeMounts"]}
    assert all(mounts[mount["mountPath"]] == mount for mount in container["volumeMounts"])
    assert (container["image"], container["envFrom"]) == (of_tasks["image"], of_tasks["envFrom"])
    assert container["env"][0] in of_tasks["env"]


def test_mlflow_asks_for_a_login_of_all_but_its_probes() -> None:
    [mlflow] = of_kind("base", "Deployment")
    [server] = mlflow["spec"]["template"]["spec"]["containers"]
    [volume] = [volume for volume in mlflow["spec"]["template"]["spec"]["volumes"] if "secret" in volume]
    [mount] = [mount for mount in server["volumeMounts"] if mount["name"] == volume["name"]]
    [file] = [env["value"] for env in server["env"] if env["name"] == "NUCLEUS_MLFLOW_ACCOUNTS"]
    assert (volume["secret"]["secretName"], file) == ("accounts", f"{mount['mountPath']}/accounts.json")
    # It stands in the image, so that no server of it runs without.
    dockerfile = (REPOSITORY / "images/Dockerfile").read_text()
    assert 'ENTRYPOINT ["mlflow", "server", "--app-name=nucleus-login",' in dockerfile
    assert "command" not in server
    for probe in ("readinessProbe", "livenessProbe"):
        asked = re.findall(r"http://127\.0\.0\.1:5000(/\w+)", server[probe]["exec"]["command"][-1])
        assert asked
        assert set(asked) <= set(OPEN_PATHS)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_what_logs_to_mlflow_has_its_login_from_the_environment_and_nothing_else_has(folder: str) -> None:
    with_login = {
        name
        for name, pod in pods(folder)
        if {"secretRef": {"name": "mlflow-login"}} in pod["spec"]["containers"][0].get("envFrom", [])
    }
    assert with_login == {"cpu", "gpu", "install-base-model"}
    # What a laboratory sets itself goes before, so it comes last.
    for name, pod in pods(folder):
        if name in with_login:
            assert pod["spec"]["containers"][0]["envFrom"][-1] == {
                "secretRef": {"name": "task-secrets", "optional": True}
            }


def test_mlflows_database_is_migrated_before_its_server_starts_by_the_same_image_at_the_same_address() -> None:
    [mlflow] = of_kind("base", "Deployment")
    [server] = mlflow["spec"]["template"]["spec"]["containers"]
    [migration] = mlflow["spec"]["template"]["spec"]["initContainers"]
    assert migration["image"] == server["image"]
    assert all(variable in server["env"] for variable in migration["env"])


def test_a_small_machine_needs_no_gpu_and_a_cluster_pulls_its_images() -> None:
    local, cluster = (dict(pods(f"overlays/{name}")) for name in ("local", "gpu-cluster"))
    assert local["gpu"]["spec"]["containers"][0]["image"] == "nucleus-cpu:dev"
    assert "nodeSelector" not in local["gpu"]["spec"]
    for name in ("cpu", "gpu", "mlflow"):
        assert cluster[name]["spec"]["containers"][0]["image"].startswith(f"registry.example.org/nucleus-{name}:")
    assert cluster["gpu"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    settings = {folder: of_kind(f"overlays/{folder}", "ConfigMap")[0]["data"] for folder in ("local", "gpu-cluster")}
    assert (settings["local"]["NUCLEUS_GPUS"], settings["gpu-cluster"]["NUCLEUS_GPUS"]) == ("0", "4")


def test_airflow_sees_each_folder_that_its_settings_name_and_may_write_where_it_must() -> None:
    settings = of_kind("base", "ConfigMap")[0]["data"]
    values = yaml.safe_load((K8S / "airflow/values.yaml").read_text())
    mounts = {mount["mountPath"]: mount for mount in values["volumeMounts"] if mount["name"] == "nucleus"}
    folders = {path: name for name, path in settings.items() if path.startswith("/nucleus/")}
    read_only = {name for path, name in folders.items() if mounts[path].get("readOnly")}
    assert set(folders.values()) == {"NUCLEUS_STORE", "NUCLEUS_INBOX", "NUCLEUS_EXPERIMENTS", "NUCLEUS_FOLDERS"}
    assert read_only == {"NUCLEUS_EXPERIMENTS", "NUCLEUS_FOLDERS"}
    assert not mounts[f"{Path(settings['NUCLEUS_STORE']).parent}/{NAMED_RESULTS}"].get("readOnly")
    # Where the kubelet makes one itself, it belongs to root.
    made = re.search(r"/srv/nucleus/data/\{(.*?)\}", (K8S / "README.md").read_text())
    assert made is not None
    assert {mount["subPath"] for mount in mounts.values()} <= set(made[1].split(","))


def test_airflows_values_name_what_is_there() -> None:
    values = yaml.safe_load((K8S / "airflow/values.yaml").read_text())
    [claim] = of_kind("base", "PersistentVolumeClaim")
    assert values["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert yaml.safe_load(values["extraEnvFrom"]) == [{"configMapRef": {"name": "airflow-settings"}}]
    accounts = {content["metadata"]["name"] for content in of_kind("base", "ServiceAccount")}
    assert values["scheduler"]["serviceAccount"]["name"] in accounts
    script = (K8S / "create-secrets.sh").read_text()
    for secret in (
        values["data"]["metadataSecretName"],
        values["fernetKeySecretName"],
        values["apiSecretKeySecretName"],
        values["jwtSecretName"],
        values["apiServer"]["extraVolumes"][0]["secret"]["secretName"],
    ):
        assert f"| create {secret} " in script
