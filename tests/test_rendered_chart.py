"""What Airflow's chart makes of the values, rendered by helm where both are at hand.

AIRFLOW_CHART names the chart: its folder, or the archive that `helm pull` fetches.
"""

import os
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.cluster import airflow
from tests.manifests import K8S, containers_of, contents, keep_rules_of_the_namespace, of_kind

CHART = os.environ.get("AIRFLOW_CHART")
pytestmark = [
    pytest.mark.skipif(shutil.which("helm") is None, reason="nothing renders the chart: helm isn't on the PATH"),
    pytest.mark.skipif(CHART is None, reason="there is no chart to render: AIRFLOW_CHART names none"),
    pytest.mark.parametrize("overlay", ["local", "gpu-cluster"]),
]
SERVERS = {"api-server", "dag-processor", "scheduler", "triggerer"}
MIGRATION = "run-airflow-migrations"


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    values = [f"--values={K8S}/{name}" for name in ("airflow/values.yaml", f"overlays/{overlay}/airflow.yaml")]
    command = ["helm", "template", "airflow", str(CHART), "--namespace=nucleus", *values]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return [content for content in yaml.safe_load_all(made.stdout) if content]


def names(overlay: str, kind: str) -> set[str]:
    """Of the chart's objects and of ours."""
    both = [*rendered(overlay), *contents(f"overlays/{overlay}")]
    return {content["metadata"]["name"] for content in both if content["kind"] == kind}


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """Pods of the chart, by what the chart calls their component."""
    templates = [content["spec"]["template"] for content in rendered(overlay) if "template" in content.get("spec", {})]
    return {template["metadata"]["labels"]["component"]: template for template in templates}


def selects(selector: dict[str, Any], pod: dict[str, Any]) -> bool:
    labels = pod["metadata"]["labels"]
    return "matchExpressions" not in selector and selector.get("matchLabels", {}).items() <= labels.items()


def test_the_chart_takes_the_values_and_makes_the_servers_and_a_migration(overlay: str) -> None:
    assert set(pods(overlay)) == SERVERS | {MIGRATION}
    assert {content["kind"] for content in rendered(overlay)} <= {
        *("ConfigMap", "Deployment", "Ingress", "Job", "Secret", "Service", "ServiceAccount"),
    }


def test_every_object_is_valid_for_the_current_kubernetes(overlay: str) -> None:
    for content in rendered(overlay):
        kubernetes_validate.validate(content, "1.37", strict=True)


def test_every_pod_keeps_the_rules_of_the_namespace(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        keep_rules_of_the_namespace(name, pod["spec"])


def test_no_claim_is_made_and_all_pods_mount_the_volume_that_is_there(overlay: str) -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods(overlay).values()
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"nucleus"}
    assert claims <= {content["metadata"]["name"] for content in of_kind("base", "PersistentVolumeClaim")}
    assert [content["kind"] for content in rendered(overlay) if "volumeClaimTemplates" in content.get("spec", {})] == []


def test_pods_that_ended_unseen_are_removed_beside_the_scheduler(overlay: str) -> None:
    containers = {container["name"]: container for container in pods(overlay)["scheduler"]["spec"]["containers"]}
    assert set(containers) == {"scheduler", "cleanup"}
    assert "airflow kubernetes cleanup-pods" in containers["cleanup"]["args"][0]


def test_pods_may_talk_as_the_network_policies_mean_it(overlay: str) -> None:
    policies = {
        policy["metadata"]["name"]: policy["spec"] for policy in of_kind(f"overlays/{overlay}", "NetworkPolicy")
    }
    of_pods = {
        name: {policy for policy, spec in policies.items() if selects(spec["podSelector"], pod)}
        for name, pod in pods(overlay).items()
    }
    of_all = {"deny-all", "all-ask-for-names", "airflow"}
    of_page = {"airflow-page"} | ({"ingress-controller-airflow"} if overlay == "gpu-cluster" else set())
    assert of_pods == {
        name: of_all | (of_page if name == "api-server" else set()) for name in (*sorted(SERVERS), MIGRATION)
    }
    admitted = [peer["podSelector"] for rule in policies["mlflow"]["ingress"] for peer in rule["from"]]
    reaching = {name for name, pod in pods(overlay).items() if any(selects(peer, pod) for peer in admitted)}
    assert reaching == {"api-server"}
    admitted = [peer["podSelector"] for rule in policies["postgresql"]["ingress"] for peer in rule["from"]]
    reaching = {name for name, pod in pods(overlay).items() if any(selects(peer, pod) for peer in admitted)}
    assert reaching == SERVERS | {MIGRATION}


def test_the_addresses_that_programs_and_browsers_use_lead_to_the_api_server(overlay: str) -> None:
    services = {content["metadata"]["name"]: content for content in rendered(overlay) if content["kind"] == "Service"}
    [settings] = [one["data"] for one in of_kind(f"overlays/{overlay}", "ConfigMap") if "NUCLEUS_STORE" in one["data"]]
    address = re.fullmatch(r"http://([\w-]+):(\d+)", settings["NUCLEUS_AIRFLOW"])
    assert address is not None
    service = services[address[1]]["spec"]
    found = [
        name for name, pod in pods(overlay).items() if service["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert found == ["api-server"]
    assert [port["port"] for port in service["ports"]] == [int(address[2])]
    backends = [
        path["backend"]["service"]["name"]
        for content in rendered(overlay)
        if content["kind"] == "Ingress"
        for rule in content["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert backends == ([address[1]] if overlay == "gpu-cluster" else [])


def test_every_container_runs_our_image_with_the_secret_of_its_registry(overlay: str) -> None:
    images = {container["image"] for pod in pods(overlay).values() for container in containers_of(pod["spec"])}
    pulled = [pod["spec"]["imagePullSecrets"] for pod in pods(overlay).values()]
    registry = "registry.example.org/" if overlay == "gpu-cluster" else ""
    assert images == {f"{registry}nucleus-airflow:dev"}
    assert all(secrets == ([{"name": "registry"}] if registry else []) for secrets in pulled)


def test_all_that_pods_name_is_there(overlay: str) -> None:
    made = set(re.findall(r"\| create ([\w-]+)", (K8S / "create-secrets.sh").read_text()))
    settings, accounts = names(overlay, "ConfigMap"), names(overlay, "ServiceAccount")
    for name, pod in pods(overlay).items():
        assert pod["spec"]["serviceAccountName"] in accounts, name
        for volume in pod["spec"]["volumes"]:
            assert volume.get("configMap", {}).get("name", "airflow-settings") in settings, name
            secret = volume.get("secret", {"optional": True})
            assert secret.get("optional") or secret["secretName"] in made, name
        for container in containers_of(pod["spec"]):
            sources = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
            assert {one["secretKeyRef"]["name"] for one in sources if "secretKeyRef" in one} <= made, name
            assert all(one["configMapRef"]["name"] in settings for one in container.get("envFrom", [])), name
        assert pod["spec"].get("priorityClassName", "nucleus-servers") in names(overlay, "PriorityClass"), name


def test_no_account_is_left_without_a_pod_and_only_the_scheduler_may_talk_to_kubernetes(overlay: str) -> None:
    accounts = {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] == "ServiceAccount"}
    used = {name: pod["spec"]["serviceAccountName"] for name, pod in pods(overlay).items()}
    assert set(accounts) == set(used.values()) - {"airflow"}
    assert [one for one in accounts.values() if one["automountServiceAccountToken"]] == []
    assert [name for name, account in used.items() if account == "airflow"] == ["scheduler"]


def test_servers_say_what_they_need_and_are_started_again_when_they_hang(overlay: str) -> None:
    for name in SERVERS:
        for container in pods(overlay)[name]["spec"]["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
        server = pods(overlay)[name]["spec"]["containers"][0]
        assert server["name"] == name
        assert "livenessProbe" in server
    assert "readinessProbe" in pods(overlay)["api-server"]["spec"]["containers"][0]


def test_what_says_no_need_of_its_own_gets_that_of_the_namespace(overlay: str) -> None:
    """The quota refuses pods without."""
    [limits] = of_kind(f"overlays/{overlay}", "LimitRange")
    [of_container] = limits["spec"]["limits"]
    assert {"cpu", "memory"} <= set(of_container["defaultRequest"])
    assert "memory" in of_container["default"]
    silent = {
        container["name"]
        for pod in pods(overlay).values()
        for container in containers_of(pod["spec"])
        if not container.get("resources")
    }
    assert silent == {MIGRATION, "pools"}


def test_the_database_is_migrated_before_any_server_starts(overlay: str) -> None:
    for name in SERVERS:
        first = pods(overlay)[name]["spec"]["initContainers"][0]
        assert first["args"][:3] == ["airflow", "db", "check-migrations"]


def test_people_log_in_by_their_accounts_whatever_the_chart_writes_into_its_settings(overlay: str) -> None:
    for pod in pods(overlay).values():
        for container in pod["spec"]["containers"]:
            if container["name"] == "cleanup":
                continue
            environment = {variable["name"]: variable.get("value") for variable in container["env"]}
            assert environment["AIRFLOW__CORE__AUTH_MANAGER"] == "nucleus_dags.access.auth_manager.AccountsAuthManager"


def test_the_servers_of_the_tests_with_a_cluster_are_those_that_the_chart_makes(overlay: str) -> None:
    deployment, service = airflow.manifests()
    ours = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["containers"]}
    [of_chart] = [
        one
        for one in rendered(overlay)
        if one["metadata"]["name"] == service["metadata"]["name"] and one["kind"] == "Service"
    ]
    assert of_chart["spec"]["ports"] == service["spec"]["ports"]
    # These two stand in the chart's airflow.cfg, and only servers that make or check tokens have the key of these.
    by_file = {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"}
    for name in SERVERS:
        server = pods(overlay)[name]["spec"]["containers"][0]
        own = {variable["name"]: variable for variable in ours[name]["env"] if variable["name"] not in by_file}
        theirs = {variable["name"]: variable for variable in server["env"]}
        if name in ("dag-processor", "triggerer"):
            own.pop("AIRFLOW__API_AUTH__JWT_SECRET")
        assert {key: theirs[key] for key in own} == own
        assert set(theirs) - set(own) == {"AIRFLOW_HOME", "AIRFLOW_CONN_AIRFLOW_DB"}
        assert server["envFrom"] == ours[name]["envFrom"]
        mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
        assert [mounts[mount["mountPath"]] for mount in ours[name]["volumeMounts"]] == ours[name]["volumeMounts"]
        assert server["securityContext"] == ours[name]["securityContext"]
    [settings] = [one["data"] for one in rendered(overlay) if one["kind"] == "ConfigMap"]
    text = settings["airflow.cfg"]
    values = {variable["name"]: variable.get("value") for variable in ours["scheduler"]["env"]}
    assert f"executor = {values['AIRFLOW__CORE__EXECUTOR']}\n" in text
    assert f"execution_api_server_url = {values['AIRFLOW__CORE__EXECUTION_API_SERVER_URL']}\n" in text
